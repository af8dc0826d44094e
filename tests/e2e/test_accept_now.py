"""Accept now and converge (D1, D3, D4, D6), reservations that expire (A5), and compensations that cannot
be done (E7)."""
import threading
import unittest

import stack as harness
from load import Client, ConnectionLost, Memory, Shop, drive, place, send
from servers import wait_until
from stack import SECONDS_TO_END, SECONDS_TO_SETTLE
from verdict import Rows, audit, verify


class AcceptNow(unittest.TestCase):
    settings = {}

    @classmethod
    def setUpClass(cls):
        cls.stack = harness.Stack()
        cls.coordinator = cls.stack.coordinator(settings=cls.settings).start()

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def setUp(self):
        self.shop = Shop(self.coordinator.port)
        self.skus = sorted(self.shop.products)
        self.memory = Memory()
        self.client = Client(self.coordinator.port)
        self.addCleanup(self.client.close)
        self.addCleanup(self.coordinator.clear_faults)

    def come_back(self, settings=None, ready=True):
        """After a kill; `settings` over the class's."""
        self.coordinator.kill()
        self.coordinator.configure({**self.settings, **(settings or {})})
        self.coordinator.start(ready=ready)
        self.client.close()  # it was the dead one's

    def accepted(self, mode, **order):
        request = place(self.shop.order(self.skus[:2], **order), mode=mode, accept=True)
        answer = send(self.client, self.memory, request)
        self.assertEqual((202, "PENDING"), (answer.status, answer.json["status"]), answer.json)
        self.assertEqual("/v1/orders/" + answer.json["order_id"], answer.headers["Location"])
        return request

    def seen(self, request):
        return self.client.request("GET", f"/v1/orders/{request.accepted}").json

    def wait_status(self, request, status, seconds=SECONDS_TO_END):
        wait_until(f"the order is {status}", lambda: self.seen(request).get("status") == status, seconds)

    def stock(self):
        answer = self.client.request("GET", f"/v1/inventory/{self.skus[0]}").json
        return answer["available"], answer["reserved"]

    def saga_of(self, request):
        (saga_id,), = self.stack.databases["log"].query(
            "SELECT saga_id::text FROM saga_instances WHERE order_id = %s", request.accepted)
        return self.client.request("GET", f"/v1/sagas/{saga_id}").json

    def verify(self):
        verify(self.stack, self.coordinator, self.memory)


class Converging(AcceptNow):
    settings = {"saga.retry_ms_max": 1000}

    def test_accepted_while_inventory_is_away_and_confirmed_when_it_is_back(self):
        """D1, D3, D6: the synchronous 2PC order is refused meanwhile, consistency first."""
        self.stack.databases["inventory"].stop()
        wait_until("the coordinator misses inventory", lambda: self.coordinator.readyz()[0] == 503, 10)
        requests = [self.accepted(mode) for mode in ("2pc", "saga")]
        refused = place(self.shop.order(self.skus[:2]))
        self.assertEqual(503, send(self.client, self.memory, refused).status)
        for request in requests:
            wait_until("its tries are seen", lambda r=request: self.seen(r).get("attempts", 0) >= 2, 10)
            seen = self.seen(request)
            self.assertEqual("PENDING", seen["status"])
            self.assertTrue(seen["next_retry_at"])
            self.assertTrue(seen["last_error"])
            self.assertEqual(202, send(self.client, self.memory, request).status)
        self.stack.databases["inventory"].start()
        for request in requests:
            self.wait_status(request, "CONFIRMED", 15)
        for request in (*requests, refused):
            drive(self.client, self.memory, request)
            self.assertEqual("confirmed", request.outcome)
        self.verify()

    def test_pauses_double_up_to_their_bound(self):
        """D3: 200 ms to 10 s with jitter, as the record of the saga shows them."""
        self.coordinator.set_fault("payment", mode="error", failure_rate=1.0)
        request = self.accepted("saga")
        pauses = {}

        def collect():
            rows = self.stack.databases["log"].query(
                "SELECT attempts, last_error, extract(epoch FROM next_retry_at - now())::float8 * 1000"
                " FROM saga_instances WHERE ended_at IS NULL AND attempts > 0 AND next_retry_at > now()")
            for attempt, error, left in rows:
                self.assertIn("payment.charge", error)
                pauses[attempt] = max(left, pauses.get(attempt, 0))
            return max(pauses, default=0) >= 5
        wait_until("five tries", collect, 15)
        for attempt, longest in pauses.items():
            self.assertLessEqual(longest, min(200 * 2 ** (attempt - 1), 1000) * 1.25 + 50, pauses)
        self.assertGreater(pauses[4], 500)
        self.coordinator.clear_faults()
        self.wait_status(request, "CONFIRMED")
        drive(self.client, self.memory, request)
        self.verify()

    def test_killed_right_after_its_202(self):
        """D1: the outbox is durable before the answer."""
        for mode in ("2pc", "saga"):
            with self.subTest(mode):
                request = self.accepted(mode)
                self.come_back()
                self.wait_status(request, "CONFIRMED")
                drive(self.client, self.memory, request)
                self.assertEqual(("confirmed", request.accepted), (request.outcome, request.order_id))
        self.verify()

    def test_accepted_and_refused_later_ends_failed_with_its_reason(self):
        for mode in ("2pc", "saga"):
            with self.subTest(mode):
                request = self.accepted(mode, customer=self.shop.poor)
                self.wait_status(request, "FAILED")
                self.assertEqual("INSUFFICIENT_FUNDS", self.seen(request)["reason"])
                drive(self.client, self.memory, request)
                self.assertEqual(("refused", "INSUFFICIENT_FUNDS"), (request.outcome, request.reason))
        self.verify()

    def test_faults_are_seen_and_everything_converges(self):
        """D4: at two participants, while running."""
        faulty = ("inventory", "shipping")
        for name in faulty:
            self.coordinator.set_fault(name, mode="lost_answer", failure_rate=0.3, delay_ms=100)
            self.assertEqual(1, self.coordinator.metric("txcoord_faults_active", f'{{participant="{name}"}}'))
        self.assertIn("lost_answer", str(self.coordinator.readyz()[1]))
        requests = [self.accepted(mode) for mode in ("2pc", "saga") * 8]
        for request in requests:
            self.wait_status(request, "CONFIRMED", 30)
        self.coordinator.clear_faults()
        for name in faulty:
            self.assertEqual(0, self.coordinator.metric("txcoord_faults_active", f'{{participant="{name}"}}'))
        for request in requests:
            drive(self.client, self.memory, request)
        self.verify()


class Expiry(AcceptNow):
    settings = {"saga.reservation_ttl_s": 1}

    def test_reservation_expires_and_the_order_fails(self):
        """A5: payment fails for longer than the reservation holds."""
        before, counted = self.stock(), self.coordinator.metric("txcoord_reservations_expired_total")
        self.coordinator.set_fault("payment", mode="error", failure_rate=1.0)
        request = self.accepted("saga")
        wait_until("stock is reserved", lambda: self.stock() != before, 5)
        self.wait_status(request, "FAILED")
        self.assertEqual("RESERVATION_EXPIRED", self.seen(request)["reason"])
        wait_until("the stock is free", lambda: self.stock() == before, 5)
        self.coordinator.clear_faults()
        drive(self.client, self.memory, request)
        self.assertEqual(("refused", "RESERVATION_EXPIRED"), (request.outcome, request.reason))
        self.assertEqual(counted + 1, self.coordinator.metric("txcoord_reservations_expired_total"))
        self.verify()

    def test_expires_while_its_coordinator_is_dead_and_for_good(self):
        """Whoever comes back fails the order; the saga's own confirmation loses."""
        before = self.stock()
        self.coordinator.set_fault("shipping", mode="error", failure_rate=1.0)
        request = self.accepted("saga")
        wait_until("it is charged", lambda: Rows(self.stack).payments[request.accepted], 5)
        self.coordinator.kill()
        # By the database's clock, and nobody is there to see it.
        wait_until("the reservation has expired", lambda: self.stack.databases["inventory"].query(
            "SELECT 1 FROM reservations WHERE expires_at < clock_timestamp()"), 5)
        self.come_back({"faults.shipping.mode": "down"}, ready=False)
        self.addCleanup(self.coordinator.configure, self.settings)
        wait_until("the order failed", lambda: Rows(self.stack).orders[request.accepted][0] == "FAILED", 10)
        wait_until("somebody answers", lambda: self.coordinator.readyz()[0] != 0, 5)
        self.coordinator.clear_faults()
        self.coordinator.wait_ready()
        drive(self.client, self.memory, request)
        self.assertEqual(("refused", "RESERVATION_EXPIRED"), (request.outcome, request.reason))
        self.assertEqual(before, self.stock())
        self.verify()

    def test_confirmed_in_time_holds_for_good(self):
        request = place(self.shop.order(self.skus[:2]), mode="saga")
        self.assertEqual(201, send(self.client, self.memory, request).status)
        held = self.stock()
        wait_until("its expiry is cleared", lambda: not self.stack.databases["inventory"].query(
            "SELECT 1 FROM reservations WHERE expires_at IS NOT NULL"), 5)
        self.assertEqual(held, self.stock())
        self.assertEqual({"RESERVED"}, {row[2] for row in Rows(self.stack).reservations[request.order_id]})
        self.verify()


class Stuck(AcceptNow):
    settings = {"saga.stuck_after": 3, "saga.retry_ms_max": 300}

    def test_a_compensation_that_cannot_be_done_is_shown_and_done_at_last(self):
        """E7: the carrier refuses, and payment is away on the way back."""
        self.coordinator.set_fault("shipping", mode="refuse", failure_rate=1.0, delay_ms=300)
        request = self.accepted("saga")
        wait_until("it is charged", lambda: Rows(self.stack).payments[request.accepted], 5)
        self.coordinator.set_fault("payment", mode="down")
        wait_until("it is shown as stuck", lambda: self.saga_of(request).get("stuck_since"), 15)
        saga = self.saga_of(request)
        self.assertEqual(("COMPENSATION_STARTED", "payment.charge", "CARRIER_UNAVAILABLE"),
                         (saga["status"], saga["current_step"], saga["reason"]))
        self.assertIn("payment.refund", saga["last_error"])
        listed = self.client.request("GET", "/v1/sagas?state=stuck").json["sagas"]
        self.assertEqual([saga["saga_id"]], [each["saga_id"] for each in listed])
        self.assertEqual(1, self.coordinator.metric("txcoord_sagas_stuck"))
        report = audit(self.stack, self.coordinator)
        self.assertEqual((True, [saga["saga_id"]]), (report["clean"], report["sagas_stuck"]))
        # It stays known to a coordinator that comes back.
        self.coordinator.kill()
        self.assertEqual([saga["saga_id"]], audit(self.stack, self.coordinator)["sagas_stuck"])
        self.come_back()
        self.wait_status(request, "FAILED")
        drive(self.client, self.memory, request)
        self.assertEqual(("refused", "CARRIER_UNAVAILABLE"), (request.outcome, request.reason))
        self.stack.sagas_ended(SECONDS_TO_SETTLE)
        self.assertEqual(0, self.coordinator.metric("txcoord_sagas_stuck"))
        self.verify()

    def test_stuck_ends_when_the_fault_is_cleared(self):
        self.coordinator.set_fault("shipping", mode="refuse", failure_rate=1.0, delay_ms=300)
        request = self.accepted("saga")
        wait_until("it is charged", lambda: Rows(self.stack).payments[request.accepted], 5)
        self.coordinator.set_fault("payment", mode="error", failure_rate=1.0)
        wait_until("it is shown as stuck", lambda: self.saga_of(request).get("stuck_since"), 15)
        self.coordinator.clear_faults()
        self.wait_status(request, "FAILED")
        wait_until("it has ended", lambda: self.saga_of(request)["status"] == "FAILED", 5)
        self.assertNotIn("stuck_since", self.saga_of(request))
        drive(self.client, self.memory, request)
        self.verify()

    def charged(self):
        return {order for order, in self.stack.databases["payment"].query("SELECT order_id FROM payments")}

    def test_a_client_that_waits_is_answered_while_it_is_stuck(self):
        """The synchronous saga: 202 and a Location, and the same key gets the end of it."""
        self.coordinator.set_fault("shipping", mode="refuse", failure_rate=1.0, delay_ms=500)
        request = place(self.shop.order(self.skus[:2]), mode="saga")
        answers = []
        client = Client(self.coordinator.port)
        self.addCleanup(client.close)
        waiting = threading.Thread(target=lambda: answers.append(
            send(client, self.memory, request, {"Prefer": "wait=2"})))
        known = self.charged()
        waiting.start()
        wait_until("it is charged", lambda: self.charged() - known, 5)
        self.coordinator.set_fault("payment", mode="down")
        waiting.join(10)
        self.assertEqual([202], [answer.status for answer in answers])
        order_id = answers[0].headers["Location"].rpartition("/")[2]
        self.assertEqual("PENDING", self.client.request("GET", f"/v1/orders/{order_id}").json["status"])
        self.coordinator.clear_faults()
        drive(self.client, self.memory, request)
        self.assertEqual(("refused", "CARRIER_UNAVAILABLE"), (request.outcome, request.reason))
        self.verify()


class Partition(AcceptNow):
    def test_accepting_needs_the_log_alone(self):
        """D6: with all four services away an order is taken; with the log away none is."""
        for name in harness.PARTICIPANTS:
            self.coordinator.set_fault(name, mode="down")
        request = self.accepted("saga")
        self.coordinator.clear_faults()
        self.wait_status(request, "CONFIRMED", 15)
        self.stack.databases["log"].stop()
        wait_until("the coordinator misses the log", lambda: self.coordinator.readyz()[0] == 503, 10)
        refused = place(self.shop.order(self.skus[:2]), mode="saga", accept=True)
        try:
            self.assertEqual(503, send(self.client, self.memory, refused).status)
        except ConnectionLost:
            self.fail("no answer")
        self.stack.databases["log"].start()
        wait_until("the log is back", lambda: self.coordinator.readyz()[0] == 200, 15)
        for each in (request, refused):
            drive(self.client, self.memory, each)
            self.assertEqual("confirmed", each.outcome)
        self.verify()


if __name__ == "__main__":
    harness.main()
