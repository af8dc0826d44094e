"""Breaks one thing after another: a fault at one participant, as one coordinator sees it, for some
seconds; then the next. Through the admin ports: no engine's socket, no right over anybody's process.

  chaos.py ADMIN_URL…      TXC_CHAOS_SEED repeats a run's choices
"""
import json
import os
import random
import signal
import sys
import threading
import time
import urllib.error
import urllib.request

FAULTS = ({"mode": "down"}, {"mode": "error", "failure_rate": 0.3}, {"mode": "lost_answer", "failure_rate": 0.2},
          {"delay_ms": 300}, {"mode": "refuse", "failure_rate": 0.2})
PARTICIPANTS = ("order", "inventory", "payment", "shipping")


def call(method, url, body=None):
    """True when it was done: a coordinator may be away, and that is part of it."""
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), method=method,
                                     headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status in (200, 204)
    except urllib.error.HTTPError as refused:
        raise SystemExit(f"chaos: {method} {url}: {refused.code} {refused.read(500)!r}") from None
    except OSError:
        return False


def main():
    coordinators = sys.argv[1:]
    seed = int(os.environ.get("TXC_CHAOS_SEED") or random.SystemRandom().randrange(1 << 32))
    chance = random.Random(seed)
    print(json.dumps({"seed": seed}), flush=True)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    while not stopping.wait(chance.uniform(1, 5)):
        coordinator, participant = chance.choice(coordinators), chance.choice(PARTICIPANTS)
        url, fault = f"{coordinator}/admin/v1/faults/{participant}", chance.choice(FAULTS)
        done = call("PUT", url, fault)
        print(json.dumps({"at": round(time.time()), "coordinator": coordinator, "participant": participant,
                          "fault": fault, "done": done}), flush=True)
        stopping.wait(chance.uniform(2, 8))
        # A fault is left by nobody; a coordinator that died meanwhile has none any more.
        while not call("DELETE", url) and not stopping.wait(0.5):
            pass


if __name__ == "__main__":
    main()
