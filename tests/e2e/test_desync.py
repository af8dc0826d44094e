"""A coordinator whose participants stand behind a proxy that gets out of step: an answer that is not the one to its
question is no answer. No order is confirmed without all four effects, nothing ends in a heuristic outcome, and when
the proxy behaves again, so do orders."""
import os
import random
import sys
import threading
import time
import unittest

import stack as harness
from load import Client, Load, Memory, Mix, Modes, Shop, drive, place, send
from one_try import OneTryLoad
from servers import wait_until
from verdict import verify

sys.path.insert(0, os.path.join(harness.ROOT, "tests", "conformance"))
import proxy as wire  # noqa: E402  (found by the line above)

FLOW = 60  # orders that show that orders flow
# Shipping fails one PREPARE in ten, as a disk that is full would.
FAIL_SOME_PREPARES = ("""
  CREATE FUNCTION of_the_test() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN IF random() < 0.1 THEN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END IF; RETURN NULL; END $$""", """
  CREATE CONSTRAINT TRIGGER of_the_test AFTER INSERT ON shipments DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION of_the_test()""")
PREPARES_DO_NOT_FAIL = "DROP FUNCTION IF EXISTS of_the_test() CASCADE"


class Sometimes:
    """A fault on one answer in `one_in`."""

    def __init__(self, fault, one_in, seed):
        self.fault, self.one_in, self.random = fault, one_in, random.Random(seed)
        self.guard, self.met = threading.Lock(), 0

    def __call__(self, answer):
        with self.guard:
            hit = self.random.randrange(self.one_in) == 0
            self.met += hit
        return self.fault(answer) if hit else [answer.whole()]


class Desync(unittest.TestCase):
    def setUp(self):
        self.seed = harness.seed_of_this_run()
        self.stack = harness.Stack(apart=True)
        self.addCleanup(self.stack.close)

    def start(self, *names):
        """A coordinator with a proxy before each of these; the proxies."""
        proxies = {name: wire.Proxy(self.stack.services[name].port) for name in names}
        for proxy in proxies.values():
            self.addCleanup(proxy.close)
        self.coordinator = self.stack.coordinator("c1", {
            f"participants.{name}.url": f"http://127.0.0.1:{proxy.port}" for name, proxy in proxies.items()}).start()
        self.shop = Shop(self.coordinator.port)
        return [proxies[name] for name in names]

    def flows(self, load, more=FLOW, seconds=20):
        before, started = len(load.memory.of(outcome="confirmed")), time.monotonic()
        wait_until("orders flow", lambda: len(load.memory.of(outcome="confirmed")) >= before + more, seconds)
        return time.monotonic() - started

    def no_heuristics(self):
        self.assertEqual([], self.stack.databases["log"].query("SELECT * FROM heuristic_outcomes"))

    def open_branches(self, name):
        return self.stack.databases[name].query(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"
            " AND state = 'idle in transaction'", f"txcoord-{name}-branch")

    def under_load(self, faults, one_in):
        """Each fault in turn on shipping's answers, while some PREPAREs fail; then neither."""
        proxy, = self.start("shipping")
        shipping = self.stack.databases["shipping"]
        self.addCleanup(shipping.query, PREPARES_DO_NOT_FAIL)
        load = Load(self.coordinator.port, self.shop, 8, self.seed, Mix.PLAIN, modes=Modes.ALL)
        try:
            self.flows(load)
            usual = self.flows(load)
            for statement in FAIL_SOME_PREPARES:
                shipping.query(statement)
            for fault in faults:
                with self.subTest(fault=getattr(fault, "__name__", type(fault).__name__)):
                    some = Sometimes(fault, one_in, self.seed)
                    proxy.on_answer = some
                    wait_until("answers were changed", lambda: some.met >= 12, 30)
            proxy.on_answer = lambda answer: [answer.whole()]
            shipping.query(PREPARES_DO_NOT_FAIL)
            wait_until("orders flow as before", lambda: self.flows(load) < 3 * usual + 0.5, 20)
        finally:
            memory = load.stop(30)
        self.no_heuristics()
        verify(self.stack, self.coordinator, memory)

    # --- the coordinator's end ------------------------------------------------------------------------
    def test_interim_answers_split_packets_and_chunks_fail_no_request(self):
        proxies = self.start("order", "inventory", "payment", "shipping")
        load = OneTryLoad(self.coordinator.port, self.shop, clients=4, modes=Modes.ALL, seed=self.seed)
        try:
            for fault in (wire.interim, wire.split, wire.chunked):
                for proxy in proxies:
                    proxy.on_answer = fault
                self.flows(load, 20)
        finally:
            memory = load.stop(30)
        verify(self.stack, self.coordinator, memory)

    def test_answers_that_change_places_come_twice_or_late_confirm_nothing_that_was_not_done(self):
        self.under_load((wire.Swap(), wire.Delayed(), wire.twice, wire.another_identity), one_in=8)

    def test_answers_that_are_cut_off_or_have_more_behind_them_confirm_nothing_that_was_not_done(self):
        self.under_load((wire.surplus, wire.too_many_interim, wire.cut_off), one_in=12)

    def test_answers_of_another_form_confirm_nothing_that_was_not_done(self):
        self.under_load((wire.html, wire.html_as_ok, wire.created, wire.another_form), one_in=12)

    def test_a_vote_that_is_not_understood_keeps_no_row_locked(self):
        proxy, = self.start("inventory")
        client, memory = Client(self.coordinator.port), Memory()
        self.addCleanup(client.close)
        sku = sorted(self.shop.products)[:1]
        for fault in (wire.html, wire.created, wire.another_form, wire.cut_off):
            with self.subTest(fault=fault.__name__):
                self.assertEqual("confirmed", drive(client, memory, place(self.shop.order(sku))).outcome)
                met = []

                def once(answer, fault=fault, met=met):
                    if met or answer.call != "vote":
                        return [answer.whole()]
                    met.append(answer.call)
                    return fault(answer)
                proxy.on_answer = once
                refused = send(client, memory, place(self.shop.order(sku)))
                self.assertIn(refused.status, (503, 504), refused.json)
                self.assertEqual(["vote"], met)
                # Before the next vote would give up waiting for its lock, long before its own bound.
                wait_until("its branch is released", lambda: not self.open_branches("inventory"), 1)
                self.assertEqual("confirmed", drive(client, memory, place(self.shop.order(sku))).outcome)
        self.no_heuristics()

    def test_an_order_that_makes_answers_unreadable_costs_itself_alone(self):
        """As with a proxy that looks into bodies: whatever carries one of these orders is answered by another's word."""
        proxy, = self.start("shipping")
        spoilt = set()

        def look(request):
            if b"spoilt" in request.body:
                spoilt.add(request.document()["request_id"])
            return [request.whole()]

        def order(mode, accept):
            body = self.shop.order(sorted(self.shop.products)[:1])
            return place({**body, "shipping_address": {**body["shipping_address"], "line1": "spoilt"}}, mode=mode,
                         accept=accept)
        memory, client = Memory(), Client(self.coordinator.port)
        self.addCleanup(client.close)
        at_once, accepted = order("2pc", False), order("saga", True)
        load = Load(self.coordinator.port, self.shop, 8, self.seed, Mix.PLAIN, memory, modes=Modes.ALL)
        try:
            self.flows(load)
            proxy.on_request = look
            for fault in (wire.another_form, wire.html_as_ok):
                with self.subTest(fault=fault.__name__):
                    proxy.on_answer = lambda answer, fault=fault: (
                        fault(answer) if answer.document()["request_id"] in spoilt else [answer.whole()])
                    for _ in range(4):
                        self.assertEqual(503, send(client, memory, at_once).status)
                    send(client, memory, accepted)
                    self.flows(load, 200)
                    wait_until("no saga of others waits for it", lambda: not self.stack.databases["log"].query(
                        "SELECT saga_id FROM saga_instances WHERE ended_at IS NULL AND order_id <> %s"
                        " AND created_at < now() - interval '3 s'", accepted.accepted), 5)
            self.assertEqual(8, memory.statuses[503], str(memory))
            proxy.on_answer = lambda answer: [answer.whole()]
            self.assertEqual("confirmed", drive(client, memory, at_once).outcome)
        finally:
            load.stop(30)
        self.assertGreater(len(spoilt), 10)
        self.no_heuristics()
        verify(self.stack, self.coordinator, memory)

    def test_requests_that_are_split_or_sent_twice_happen_once(self):
        proxies = self.start("order", "inventory", "payment", "shipping")
        load = Load(self.coordinator.port, self.shop, 4, self.seed, modes=Modes.ALL)
        try:
            for fault in (wire.request_split, wire.request_twice):
                for proxy in proxies:
                    proxy.on_request = fault
                self.flows(load, 20)
        finally:
            memory = load.stop(30)
        self.no_heuristics()
        verify(self.stack, self.coordinator, memory)

    def test_a_participant_that_repeats_nothing_is_told_to_be_older_and_nothing_is_confirmed(self):
        proxy, = self.start("shipping")
        client, memory = Client(self.coordinator.port), Memory()
        self.addCleanup(client.close)
        self.assertEqual("confirmed", drive(client, memory, place(self.shop.order(list(self.shop.products)[:2]))).outcome)
        self.stack.settled()
        proxy.on_answer = wire.without_identity

        def told():
            send(client, memory, place(self.shop.order(list(self.shop.products)[:2])))
            _, body = self.coordinator.readyz()
            shipping = next(entry for entry in body["participants"] if entry["name"] == "shipping")
            return not shipping["reachable"] and "Upgrade participants first" in shipping["last_error"]
        wait_until("/readyz says what to do", told, 10)
        with open(self.coordinator.log_path, encoding="utf-8") as log:
            self.assertTrue(any("Upgrade participants first" in line for line in log))
        proxy.on_answer = lambda answer: [answer.whole()]
        for request in memory.open():
            self.assertEqual("confirmed", drive(client, memory, request).outcome)
        self.no_heuristics()
        verify(self.stack, self.coordinator, memory)


if __name__ == "__main__":
    harness.main()
