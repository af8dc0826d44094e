"""Two coordinators behind the door. Restarted one after the other under load: no request fails. Killed one
after the other: nothing is lost. What a coordinator leaves at a clean stop, the other takes up at once,
however long the lease is."""
import concurrent.futures
import signal
import time
import unittest

import door as doors
import stack as harness
from load import Client, Load, Memory, Mix, Modes, Shop, place, send
from one_try import OneTryLoad
from servers import wait_until
from stack import PARTICIPANTS, SHORT_LEASE
from verdict import verify

ROUNDS = 2
LONG_LEASE = {"engine.lease_ms": 60_000}
# It stops at once, and what is under way may take its time.
NO_LAME_DUCK = {"http.lame_duck_ms": 0, "http.request_wait_ms_max": 30_000,
                "engine.vote_ms_max": 6000, "engine.prepare_ms_max": 6000,
                **{f"{name}.idle_in_transaction_ms_max": 20_000
                   for name in ("log", *(f"participants.{participant}" for participant in PARTICIPANTS))}}
SECONDS_TO_HAND_OVER = 5.0  # I7, from the end of the process; the lease is a minute


class BehindTheDoor(unittest.TestCase):
    settings = {}

    def setUp(self):
        self.stack = harness.Stack()
        self.addCleanup(self.stack.close)
        self.pair = [self.stack.coordinator(name, self.settings).start() for name in ("c1", "c2")]
        self.door = doors.Door(self.stack, [coordinator.port for coordinator in self.pair])
        self.addCleanup(self.door.close)
        self.door.wait_servers(2)
        self.seed = harness.seed_of_this_run()

    @staticmethod
    def flows(load, more=40):
        before = len(load.memory.requests)
        wait_until("requests are answered", lambda: len(load.memory.requests) > before + more, 60)

    def stop(self, coordinator):
        coordinator.signal(signal.SIGTERM)
        self.assertEqual(0, coordinator.wait_exit(20), coordinator.log_tail())


class Rolling(BehindTheDoor):
    def test_restarted_one_after_the_other_no_request_fails(self):
        load = OneTryLoad(self.door.port, Shop(self.door.port), clients=12, seed=self.seed, modes=Modes.ALL)
        try:
            for coordinator in self.pair * ROUNDS:
                self.flows(load)
                self.stop(coordinator)
                self.flows(load)
                coordinator.start()
                self.door.wait_servers(2)
            self.flows(load)
        finally:
            memory = load.stop()
        self.assertEqual(0, memory.lost)
        verify(self.stack, self.pair[0], memory)
        print(f"{len(self.pair) * ROUNDS} restarts: {memory}, {load.reads} reads", flush=True)

    def test_without_a_lame_duck_time_requests_are_refused(self):
        """What that time is for: a coordinator that is stopping, and a door that does not know yet."""
        first = self.pair[0]
        self.stop(first)
        first.configure(NO_LAME_DUCK)
        first.start()
        slow = doors.Door(self.stack, [coordinator.port for coordinator in self.pair],
                          adjust=[("inter 250ms fastinter 100ms", "inter 5s fastinter 5s")])
        self.addCleanup(slow.close)
        slow.wait_servers(2)
        shop, memory = Shop(slow.port), Memory()
        client, direct = Client(slow.port), Client(first.port)
        self.addCleanup(client.close)
        self.addCleanup(direct.close)
        first.set_fault("shipping", delay_ms=1500)  # so that it stays for a while with what is under way
        mine, others = (shop.order([sku], customer) for sku, customer in zip(shop.products, shop.customers[:2]))
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            under_way = pool.submit(send, direct, memory, place(mine))
            wait_until("it is under way", lambda: first.readyz()[0] and self.active(first), 5)
            first.signal(signal.SIGTERM)
            wait_until("it is stopping", lambda: first.readyz()[0] == 503, 2, pause=0.005)
            answers = [send(client, memory, place(others)) for _ in range(6)]
            self.assertEqual(201, under_way.result().status, "what was under way is finished")
        refused = [answer for answer in answers if answer.status != 201]
        self.assertEqual({503}, {answer.status for answer in refused})
        self.assertIn("this coordinator is stopping", refused[0].json["detail"])

    @staticmethod
    def active(coordinator):
        return coordinator.admin("GET", "/admin/v1/transactions").json["transactions"]


class Killed(BehindTheDoor):
    settings = SHORT_LEASE

    def test_killed_one_after_the_other_loses_nothing(self):
        """Clients may see 503, 504 and REQUEST_IN_FLIGHT, and come again with their key; no broken
        connection, and never a wrong answer."""
        load = Load(self.door.port, Shop(self.door.port), clients=12, seed=self.seed, modes=Modes.ALL)
        try:
            for coordinator in self.pair * ROUNDS:
                self.flows(load)
                coordinator.kill()
                self.flows(load)
                coordinator.start()
                self.door.wait_servers(2)
        finally:
            memory = load.stop(30)
        self.assertEqual(0, memory.lost, "the door answers also when a coordinator broke off")
        verify(self.stack, self.pair[0], memory)
        print(f"{len(self.pair) * ROUNDS} kills: {memory}", flush=True)


class HandOver(BehindTheDoor):
    settings = LONG_LEASE

    def hand_over(self, settled):
        """Stops the first; how long after its end everything is at rest."""
        self.stop(self.pair[0])
        ended = time.monotonic()
        settled()
        return time.monotonic() - ended

    def test_open_sagas_and_accepted_orders_go_on_at_once(self):
        first, second = self.pair
        shop, memory = Shop(first.port), Memory()
        first.set_fault("payment", failure_rate=1.0, mode="error")
        client = Client(first.port)
        self.addCleanup(client.close)
        requests = [place(shop.order(list(shop.products)[:2]), mode=mode, accept=True)
                    for mode in ("saga", "2pc") for _ in range(10)]
        for request in requests:
            self.assertEqual(202, send(client, memory, request).status)
        wait_until("they are tried", lambda: any(saga[3] for saga in self.stack.open_sagas()), 5)
        self.assertEqual(20, len(self.stack.open_sagas()))
        took = self.hand_over(lambda: self.stack.sagas_ended(SECONDS_TO_HAND_OVER))
        heir = Client(second.port)
        self.addCleanup(heir.close)
        for request in requests:
            send(heir, memory, request)
        self.assertEqual({"confirmed"}, {request.outcome for request in requests})
        verify(self.stack, second, memory)
        print(f"20 open sagas ended {took:.2f} s after their coordinator's end, lease 60 s", flush=True)

    def test_branches_left_prepared_are_finished_at_once(self):
        first, second = self.pair
        self.stop(first)
        first.configure({**LONG_LEASE, "http.drain_ms_max": 300})
        first.start()
        load = Load(first.port, Shop(first.port), clients=8, seed=self.seed, mix=Mix.PLAIN)
        self.addCleanup(load.stop)
        self.leave_something_prepared(first)
        load.pause()
        self.assertTrue(self.owed())
        took = self.hand_over(lambda: self.stack.settled(SECONDS_TO_HAND_OVER))
        self.assertGreater(second.metric("txcoord_recovery_actions_total", '{action="commit"}'), 0)
        first.configure(LONG_LEASE)
        first.start()
        load.resume()
        verify(self.stack, second, load.stop())
        print(f"prepared branches finished {took:.2f} s after their coordinator's end, lease 60 s", flush=True)

    def owed(self):
        """What is prepared at shipping, and decided."""
        return self.stack.prepared()["shipping"] & set(self.stack.decisions())

    def leave_something_prepared(self, coordinator):
        """Shipping is away for this coordinator alone, at a moment when it owes it a COMMIT PREPARED."""
        # COMMIT PREPARED is tried several times: time enough to see one, and to go away for good.
        coordinator.set_fault("shipping", failure_rate=0.6, mode="error")
        wait_until("it owes a commit", self.owed, 10, pause=0)
        coordinator.set_fault("shipping", mode="down")


if __name__ == "__main__":
    harness.need(doors.HAPROXY, "HAProxy")
    harness.main()
