"""A load for the door: orders in both modes from clients at once, at a rate of the caller's and not of
the server's. Times run from the moment an order was due: one that had to wait for a client that was
busy shows it (no coordinated omission).

  load.py URL      settings in the environment: TXC_LOAD_CLIENTS, TXC_LOAD_PER_MINUTE, TXC_LOAD_SECONDS,
                   TXC_LOAD_BURST (so many are due in one moment)

An order without a final answer is sent again with its key, after what Retry-After says. The report is
one JSON object; the exit code is 0 when every order has a final answer.
"""
import collections
import http.client
import json
import os
import queue
import random
import sys
import threading
import time
import urllib.parse

ADDRESS = {"name": "Test Person", "postal_code": "100-0001", "prefecture": "Tokyo", "city": "Chiyoda",
           "line1": "1-1"}
PRODUCTS = {f"load-{i:03}": 100 + i for i in range(100)}
CUSTOMERS = [f"load-{i:03}" for i in range(100)]
PATIENCE_SECONDS = 60.0


class Client:
    """One kept-alive connection, made again when it breaks."""

    def __init__(self, url, timeout=20.0):
        parts = urllib.parse.urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout)

    def request(self, method, path, body=None, key=None):
        """(status, headers, JSON); status 0 when the connection broke."""
        headers = {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
        try:
            self._connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = self._connection.getresponse()
            text = answer.read()
            return answer.status, answer.headers, json.loads(text) if text else None
        except (OSError, http.client.HTTPException, ValueError):
            self._connection.close()
            return 0, {}, None

    def close(self):
        self._connection.close()


class Load:
    def __init__(self, url, clients, per_minute, seconds, burst=1):
        self.url, self.clients, self.burst = url, clients, burst
        self.count = int(per_minute * seconds / 60)
        self.pause = 60.0 / per_minute
        self.due = queue.Queue()
        self.lock = threading.Lock()
        self.answers = collections.Counter()
        self.sent = 0
        self.times = []
        self.confirmed = []
        self.refused = collections.Counter()
        self.unanswered = []
        self.stopping = threading.Event()

    def open_shop(self):
        client = Client(self.url)
        puts = [(f"/v1/inventory/{sku}", {"title": sku, "unit_price": price, "available": 1_000_000})
                for sku, price in PRODUCTS.items()]
        puts += [(f"/v1/wallets/{customer}", {"balance": 1_000_000_000}) for customer in CUSTOMERS]
        deadline = time.monotonic() + PATIENCE_SECONDS
        for path, body in puts:
            # A PUT sets what it says, however often it comes.
            while (answer := client.request("PUT", path, body))[0] not in (200, 201):
                if answer[0] not in (0, 429, 503, 504) or time.monotonic() > deadline:
                    raise SystemExit(f"load: PUT {path}: {answer[0]} {answer[2]}")
                time.sleep(0.2)
        client.close()

    def order(self, chance):
        items = [{"sku": sku, "quantity": chance.randint(1, 3), "unit_price": PRODUCTS[sku]}
                 for sku in chance.sample(sorted(PRODUCTS), chance.randint(1, 3))]
        return {"customer_id": chance.choice(CUSTOMERS), "items": items, "shipping_address": ADDRESS,
                "payment_method": "wallet", "mode": chance.choice(("2pc", "saga"))}

    def run(self):
        """At the rate, until all are sent and answered; stop() ends the sending."""
        workers = [threading.Thread(target=self._work, daemon=True) for _ in range(self.clients)]
        for worker in workers:
            worker.start()
        chance, began = random.Random(), time.monotonic()
        for i in range(self.count):
            at = began + i // self.burst * self.burst * self.pause
            if self.stopping.wait(max(0.0, at - time.monotonic())):
                break
            self.sent += 1
            self.due.put((at, self.order(chance), f"load-{chance.getrandbits(64):016x}"))
        for _ in workers:
            self.due.put(None)
        for worker in workers:
            worker.join()
        # The rate is held against the time that was offered, not against when the last one was due.
        self.seconds = max(time.monotonic() - began, self.sent * self.pause)

    def stop(self):
        self.stopping.set()

    def _work(self):
        client = Client(self.url)
        while (job := self.due.get()) is not None:
            self._place(client, *job)
        client.close()

    def _place(self, client, at, body, key):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            status, headers, answer = client.request("POST", "/v1/orders", body, key)
            with self.lock:
                self.answers[status] += 1
            reason = (answer or {}).get("reason")
            if status in (200, 201) or status in (409, 422) and reason != "REQUEST_IN_FLIGHT":
                with self.lock:
                    self.times.append(time.monotonic() - at)
                    if status in (200, 201):
                        self.confirmed.append(answer["order_id"])
                    else:
                        self.refused[reason] += 1
                return
            time.sleep(min(2.0, float(headers.get("Retry-After", 0.2))))
        with self.lock:
            self.unanswered.append(key)

    def report(self):
        times = sorted(self.times)

        def percentile(share):
            return round(1000 * times[min(len(times) - 1, int(share * len(times)))], 1) if times else None
        return {"orders": self.sent, "clients": self.clients, "offered_per_minute": round(60 / self.pause),
                "answered_per_minute": round(60 * len(times) / self.seconds), "confirmed": len(self.confirmed),
                "refused": dict(self.refused), "unanswered": len(self.unanswered),
                "answers": {str(status): n for status, n in sorted(self.answers.items())},
                "p50_ms": percentile(0.5), "p95_ms": percentile(0.95), "p99_ms": percentile(0.99),
                "slowest_ms": percentile(1.0)}


def main():
    def setting(name, default):
        return int(os.environ.get(f"TXC_LOAD_{name}") or default)
    load = Load(sys.argv[1], setting("CLIENTS", 50), setting("PER_MINUTE", 600), setting("SECONDS", 60),
                setting("BURST", 1))
    load.open_shop()
    load.run()
    print(json.dumps(load.report()), flush=True)
    sys.exit(1 if load.unanswered else 0)


if __name__ == "__main__":
    main()
