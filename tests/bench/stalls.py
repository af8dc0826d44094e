#!/usr/bin/env python3
"""./run bench --stalls: what one locked row, or one coordinator that is stopped, costs everybody else.

Clients order other products from other wallets, one order after the other. Twice for each: a row is locked
from outside for 8 s (a wallet and a product, while one client wants them), and one of two coordinators is stopped
(SIGSTOP) for 20 s while it works on rows of its own. In both modes, in one process and apart. Reported: the
rate of the others from 2 s after the collision on, as a share of the rate before it. Prints a table, and
<state>/stalls.json. Exit 1 when a share is below --least.
"""
import argparse
import signal
import statistics
import sys
import threading
import time

import psycopg

from many_orders import harness, write_report
from load import Client, ConnectionLost, Shop  # noqa: E402 (harness sets the path)

SECONDS_BEFORE, SECONDS_LEFT_OUT = 4, 2
LOCKED_SECONDS, STOPPED_SECONDS = 8, 20
OTHERS = 12


def arguments():
    parser = argparse.ArgumentParser(prog="./run bench --stalls", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=3, help="medians over so many rounds (3)")
    parser.add_argument("--least", type=float, default=0.8, help="share of the rate that must be kept (0.8)")
    parser.add_argument("--check", action="store_true", help="say whether this can be measured, and end")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("rounds is 1 or more")
    return options


class Counting:
    """Clients, each with a wallet and a product of its own; the moments of their confirmed orders."""

    def __init__(self, shop, mode):
        self.shop, self.mode, self.skus = shop, mode, sorted(shop.products)
        self.stop, self.done, self.guard = threading.Event(), [], threading.Lock()
        self.threads, self.failures = [], []

    def run(self, *work):
        try:
            self.client(*work)
        except Exception as failure:  # shown by finish(), in the main thread
            self.failures.append(failure)

    def client(self, port, wallet, sku, counted):
        body = {**self.shop.order([self.skus[sku]], customer=self.shop.customers[wallet]), "mode": self.mode}
        client, number = Client(port, timeout=25), 0
        while not self.stop.is_set():
            number += 1
            key = f"{self.mode}-{port}-{wallet}-{sku}-{time.monotonic_ns()}-{number}"
            try:
                status = client.request("POST", "/v1/orders", body, key).status
            except ConnectionLost:
                continue
            if counted and status == 201:
                with self.guard:
                    self.done.append(time.monotonic())
        client.close()

    def start(self, port, wallet, sku, counted=True):
        thread = threading.Thread(target=self.run, args=(port, wallet, sku, counted), daemon=True)
        self.threads.append(thread)
        thread.start()

    def share(self, collision, end):
        """The rate from a moment after the collision to the end, over the rate before it."""
        def rate(since, until):
            return sum(since <= moment < until for moment in self.done) / (until - since)
        return rate(collision + SECONDS_LEFT_OUT, end) / rate(collision - SECONDS_BEFORE + 1, collision)

    def finish(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(40)
            if thread.is_alive():
                raise SystemExit("bench: a client did not end")
        if self.failures:
            raise SystemExit(f"bench: a client failed: {self.failures[0]!r}")


def locked_row(coordinators, stack, mode):
    counting = Counting(Shop(coordinators[0].port, customers=OTHERS + 2), mode)
    for n in range(OTHERS):
        counting.start(coordinators[0].port, n + 2, n % 6 + 2)
    time.sleep(SECONDS_BEFORE)
    locks = [psycopg.connect(stack.databases[name].dsn) for name in ("payment", "inventory")]
    locks[0].execute("SELECT FROM wallets WHERE customer_id = %s FOR UPDATE", (counting.shop.customers[0],))
    locks[1].execute("SELECT FROM inventory WHERE sku = %s FOR UPDATE", (counting.skus[1],))
    for wallet, sku in ((0, 0), (1, 1)):  # the first wants the wallet, the second the product
        counting.start(coordinators[0].port, wallet, sku, counted=False)
    collision = time.monotonic()
    time.sleep(LOCKED_SECONDS)
    end = time.monotonic()
    for lock in locks:
        lock.close()
    counting.finish()
    return counting.share(collision, end)


def stopped_coordinator(coordinators, _, mode):
    counting = Counting(Shop(coordinators[0].port, customers=OTHERS + 2), mode)
    for n in range(OTHERS):
        counting.start(coordinators[0].port, n + 2, n % 6 + 2)
    for n in range(4):  # the other coordinator's orders want a product that nobody else wants ...
        counting.start(coordinators[1].port, n % 2, 0, counted=False)
    counting.start(coordinators[0].port, 0, 0, counted=False)  # ... but for one
    time.sleep(SECONDS_BEFORE)
    coordinators[1].signal(signal.SIGSTOP)
    collision = time.monotonic()
    time.sleep(STOPPED_SECONDS)
    end = time.monotonic()
    coordinators[1].signal(signal.SIGCONT)
    counting.finish()
    return counting.share(collision, end)


STALLS = {"one wallet and one product locked for 8 s": (locked_row, 1),
          "one coordinator of two stopped for 20 s": (stopped_coordinator, 2)}


def measure(stall, count, apart, mode):
    stack = harness.Stack(apart=apart)
    try:
        coordinators = [stack.coordinator(name, {"engine.trim": True}) for name in ("c1", "c2")[:count]]
        for coordinator in coordinators:
            coordinator.start()
        return stall(coordinators, stack, mode)
    finally:
        stack.close()


def main():
    options = arguments()
    if options.check:
        return 0
    found = {}
    for number in range(options.rounds):
        print(f"bench: round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
        for name, (stall, count) in STALLS.items():
            for apart in (False, True):
                for mode in ("2pc", "saga"):
                    share = measure(stall, count, apart, mode)
                    found.setdefault((name, apart, mode), []).append(share)
    print("| what the others keep of their rate | 2PC | saga | 2PC, apart | saga, apart |")
    print("|---|---|---|---|---|")
    medians = {key: statistics.median(shares) for key, shares in found.items()}
    for name in STALLS:
        print(f"| {name} | " + " | ".join(f"{medians[name, apart, mode]:.2f}" for apart in (False, True)
                                          for mode in ("2pc", "saga")) + " |")
    write_report(options, shares=[{"stall": name, "apart": apart, "mode": mode, "shares": shares}
                                  for (name, apart, mode), shares in found.items()])
    return 0 if min(medians.values()) >= options.least else 1


if __name__ == "__main__":
    sys.exit(main())
