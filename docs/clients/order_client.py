#!/usr/bin/env python3
"""Places one order and waits until it is final, whatever happens on the way: ./run serve, then

    python3 docs/clients/order_client.py [http://127.0.0.1:8080]
"""
import json
import random
import sys
import time
import urllib.error
import urllib.request
import uuid

SECONDS_IN_ALL, PAUSE_MAX = 60, 5.0


def call(method, url, body=None, key=None):
    """(status, headers, document); status 0: no answer, so nobody knows whether it was seen."""
    headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
    data = json.dumps(body).encode() if body is not None else None
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=15) as answer:
            return answer.status, answer.headers, json.load(answer)
    except urllib.error.HTTPError as problem:
        with problem:
            return problem.code, problem.headers, json.load(problem)
    except OSError:  # refused, reset, silent for too long
        return 0, {}, {}


def place(base, order):
    """(confirmed, the order or the problem). One key for all tries: the order is placed at most once."""
    key, place_again, url, deadline, attempt = str(uuid.uuid4()), True, None, time.monotonic() + SECONDS_IN_ALL, 0
    while time.monotonic() < deadline:
        status, headers, document = (call("POST", f"{base}/v1/orders", order, key) if place_again
                                     else call("GET", url))
        if status == 202:  # accepted, not decided: look at Location from now on
            place_again, url, attempt = False, base + headers["Location"], 0
        elif status in (200, 201) and document["status"] != "PENDING":
            return document["status"] != "FAILED", document
        elif status == 404 and not place_again:  # it came to nothing: the key tells why
            place_again = True
        elif status not in (0, 200, 503, 504) and document.get("reason") != "REQUEST_IN_FLIGHT":
            return False, document  # a refusal is an answer: for ever under this key
        wait = min(PAUSE_MAX, max(float(headers.get("Retry-After", 0)), 0.1 * 2 ** min(attempt, 6)))
        attempt += 1
        time.sleep(wait * random.uniform(0.5, 1.5))  # not all at once, who were turned away together
    raise TimeoutError(f"not final after {SECONDS_IN_ALL} s; ask again with Idempotency-Key {key}")


if __name__ == "__main__":
    address = {"name": "田中太郎", "postal_code": "100-0001", "prefecture": "東京都", "city": "千代田区", "line1": "千代田1-1"}
    wanted = {"customer_id": "customer-001", "items": [{"sku": "book-123", "quantity": 1, "unit_price": 3500}],
              "shipping_address": address, "payment_method": "wallet"}
    confirmed, answer = place(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080", wanted)
    print("confirmed" if confirmed else "refused", answer.get("order_id", ""), answer.get("reason", ""))
