"""Saga mode over the whole program: the same contract as two-phase commit, the same rows, and a history
that shows the steps and their reverse (F2, B1, B2, B5, A1, A7, A9, E1)."""
import unittest

import stack as harness
from load import Client, Load, Memory, Mix, Modes, Request, Shop, cancel, drive, new_key, place, send
from servers import wait_until
from test_happy import in_parallel
from verdict import Rows, verify

FORWARD = [("STARTED", "order.create"), ("ORDER_CREATED", "inventory.reserve"),
           ("STOCK_RESERVED", "payment.charge"), ("PAYMENT_COMPLETED", "shipping.arrange"),
           ("PAYMENT_COMPLETED", "order.confirm"), ("COMPLETED", "")]
# From the step that was refused, back to the first.
BACK = [("COMPENSATION_STARTED", step) for step in ("payment.charge", "inventory.reserve", "order.create")]
FAILED = ("FAILED", "")


class Sagas(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = harness.Stack()
        cls.first = cls.stack.coordinator("c1").start()
        cls.second = cls.stack.coordinator("c2", {"default_mode": "saga"}).start()

    @classmethod
    def tearDownClass(cls):
        try:
            verify(cls.stack, cls.first)
        finally:
            cls.stack.close()

    def setUp(self):
        self.memory = Memory()
        self.client = Client(self.first.port)
        self.addCleanup(self.client.close)
        self.shop = Shop(self.first.port)
        self.skus = sorted(self.shop.products)

    def tearDown(self):
        self.first.clear_faults()
        verify(self.stack, self.first, self.memory, auditors=harness.THOROUGH)

    def send(self, request, headers=None):
        return send(self.client, self.memory, request, headers)

    def get(self, path):
        return self.client.request("GET", path).json

    def confirmed(self, mode="saga", **order):
        request = place(self.shop.order(self.skus[:2], **order), mode=mode)
        answer = self.send(request, {"Prefer": "applied"})
        self.assertEqual((201, "applied"), (answer.status, answer.headers["Preference-Applied"]), answer.json)
        self.assertLess(answer.seconds, 3.0, "it waits for what has happened")
        return request, answer

    def saga_of(self, order_id):
        """The newest, with its history."""
        (saga_id,), *_ = self.stack.databases["log"].query(
            "SELECT saga_id::text FROM saga_instances WHERE order_id = %s ORDER BY saga_id DESC", order_id)
        return self.get(f"/v1/sagas/{saga_id}")

    def steps(self, order_id):
        return [(entry["status"], entry["step"]) for entry in self.saga_of(order_id)["history"]]

    def events(self, order_id):
        """In the order of their times, over all four services."""
        rows = []
        for name in harness.PARTICIPANTS:
            rows += self.stack.databases[name].query("SELECT at, type FROM events WHERE order_id = %s", order_id)
        return [event for _, event in sorted(rows)]

    def failed(self, request, reason):
        """Refused, and its order is there, FAILED, with nothing held; its id."""
        for again in (False, True):
            answer = self.send(request)
            self.assertEqual((409, reason, again), (answer.status, answer.reason, answer.replayed), answer.json)
        (order_id,) = Rows(self.stack).by_correlation[request.key]
        seen = self.get(f"/v1/orders/{order_id}")
        self.assertEqual(("FAILED", reason, "saga"), (seen["status"], seen["reason"], seen["mode"]))
        return order_id

    def money_and_stock(self):
        stock = self.get(f"/v1/inventory/{self.skus[0]}")
        wallet = self.get(f"/v1/wallets/{self.shop.customers[0]}")
        return stock["available"], stock["reserved"], wallet["balance"]

    # --- placing --------------------------------------------------------------------------------
    def test_completed_saga_leaves_the_rows_that_2pc_leaves(self):
        request, answer = self.confirmed()
        order_id = request.order_id
        self.assertEqual(("CONFIRMED", "saga", True),
                         tuple(answer.json[name] for name in ("status", "mode", "applied")))
        self.assertEqual(list(harness.PARTICIPANTS), Rows(self.stack).anywhere(order_id))
        saga = self.saga_of(order_id)
        self.assertEqual((answer.json["transaction_id"], "COMPLETED"), (saga["saga_id"], saga["status"]))
        self.assertEqual(FORWARD, self.steps(order_id))
        self.assertEqual(["OrderCreated", "StockReserved", "PaymentCaptured", "ShippingArranged",
                          "OrderConfirmed"], self.events(order_id))
        self.assertFalse(self.stack.witnesses()["order"] & {saga["saga_id"]})

    def test_out_of_stock_undoes_the_order_alone(self):
        request = place(self.shop.order([self.skus[0], *self.shop.sold_out]), mode="saga")
        order_id = self.failed(request, "OUT_OF_STOCK")
        self.assertEqual(FORWARD[:2] + BACK[2:] + [FAILED], self.steps(order_id))
        self.assertEqual(["OrderCreated", "OrderFailed"], self.events(order_id))

    def test_card_declined_releases_the_stock(self):
        before = self.money_and_stock()
        request = place(self.shop.order(self.skus[:2], method="card", token="tok_declined"), mode="saga")
        order_id = self.failed(request, "CARD_DECLINED")
        self.assertEqual(FORWARD[:3] + BACK[1:] + [FAILED], self.steps(order_id))
        self.assertEqual(["OrderCreated", "StockReserved", "StockReleased", "OrderFailed"],
                         self.events(order_id))
        self.assertEqual(before, self.money_and_stock())

    def test_carrier_down_is_undone_in_exact_reverse(self):
        """B2: refund, release, cancel; by wallet and by card."""
        self.first.set_fault("shipping", mode="refuse", failure_rate=1.0)
        before = self.money_and_stock()
        for method, token, taken, given_back in (("wallet", None, "PaymentCaptured", "PaymentRefunded"),
                                                 ("card", "tok_ok", "PaymentAuthorized", "PaymentVoided")):
            with self.subTest(method):
                request = place(self.shop.order(self.skus[:2], method=method, token=token), mode="saga")
                order_id = self.failed(request, "CARRIER_UNAVAILABLE")
                self.assertEqual(FORWARD[:4] + BACK + [FAILED], self.steps(order_id))
                if method == "card":  # the provider is told from the outbox, at any time later
                    wait_until("the card is reversed", lambda: "CardReversed" in self.events(order_id), 5)
                events = [event for event in self.events(order_id) if event != "CardReversed"]
                if "PaymentCaptured" in events and method == "card":  # captured before it was given back
                    taken, given_back = "PaymentAuthorized PaymentCaptured", "PaymentRefunded"
                elif events[-1] == "PaymentRefunded" and method == "card":
                    # Captured at the processor before it heard of the void: the payment says what it answered.
                    self.assertEqual("REFUNDED", Rows(self.stack).payments[order_id][0][3])
                    events.pop()
                self.assertEqual(f"OrderCreated StockReserved {taken} {given_back} StockReleased OrderFailed",
                                 " ".join(events))
        self.assertEqual(before, self.money_and_stock())

    def test_a_step_is_tried_three_times_and_then_undone(self):
        """B5: an answer that is lost each time: the money was taken, and comes back."""
        before = self.money_and_stock()
        self.first.set_fault("payment", mode="lost_answer", failure_rate=1.0)
        retries = self.first.metric("txcoord_retries_total", '{cause="timeout"}')
        request = place(self.shop.order(self.skus[:2]), mode="saga")
        # Its compensation answers nothing either, until the fault is cleared.
        answer = self.send(request, {"Prefer": "wait=2"})
        self.assertEqual(202, answer.status, answer.json)
        order_id = answer.headers["Location"].rpartition("/")[2]
        wait_until("it is being undone", lambda: self.saga_of(order_id)["status"] == "COMPENSATION_STARTED", 5)
        self.assertGreaterEqual(self.first.metric("txcoord_retries_total", '{cause="timeout"}'), retries + 3)
        self.assertEqual({1}, {len(rows) for rows in [Rows(self.stack).payments[order_id]]})
        self.first.clear_faults()
        drive(self.client, self.memory, request)
        self.assertEqual(("refused", "PARTICIPANT_UNAVAILABLE"), (request.outcome, request.reason))
        self.assertEqual("REFUNDED", Rows(self.stack).payments[order_id][0][3])
        self.assertEqual(before, self.money_and_stock())

    def test_the_servers_default_mode(self):
        client, memory = Client(self.second.port), Memory()
        self.addCleanup(client.close)
        for mode, expected in ((None, "saga"), ("2pc", "2pc")):
            request = place(self.shop.order(self.skus[:2]), mode=mode)
            answer = send(client, memory, request)
            self.assertEqual((201, expected), (answer.status, answer.json["mode"]), answer.json)
        verify(self.stack, self.second, memory, auditors=False)

    # --- keys (A7, D2) --------------------------------------------------------------------------
    def one_key_from(self, ports, body):
        key = new_key("once")
        requests = [place(body, key, mode="saga") for _ in range(64)]

        def work(request, port):
            client = Client(port, timeout=20)
            drive(client, Memory(), request, 20)
            client.close()
        in_parallel([lambda r=r, p=ports[i % len(ports)]: work(r, p) for i, r in enumerate(requests)])
        outcomes = {(r.outcome, r.reason, r.order_id) for r in requests}
        self.assertEqual(1, len(outcomes), outcomes)
        self.memory.sending(requests[0])
        self.assertEqual(1, len(Rows(self.stack).by_correlation[key]))
        return requests[0]

    def test_one_key_from_64_clients_at_once(self):
        self.assertEqual("confirmed",
                         self.one_key_from([self.first.port], self.shop.order(self.skus[:2])).outcome)

    def test_one_key_from_64_clients_through_two_coordinators(self):
        ports = [self.first.port, self.second.port]
        self.assertEqual("confirmed", self.one_key_from(ports, self.shop.order(self.skus[:2])).outcome)
        refused = self.one_key_from(ports, self.shop.order([self.skus[0], *self.shop.sold_out]))
        self.assertEqual(("refused", "OUT_OF_STOCK"), (refused.outcome, refused.reason))

    def test_another_mode_under_the_same_key_is_another_request(self):
        request, _ = self.confirmed()
        answer = self.client.request("POST", "/v1/orders", {**request.body, "mode": "2pc"}, key=request.key)
        self.assertEqual((422, "KEY_REUSED"), (answer.status, answer.reason))

    def test_last_pieces_are_sold_once_in_both_modes_through_two_coordinators(self):
        """A4: sagas and groups meet at the same row."""
        sku = sorted(self.shop.scarce)[0]  # five pieces
        requests = [place(self.shop.order([sku]), mode=("saga", "2pc")[i % 2]) for i in range(20)]

        def work(request, port):
            client = Client(port, timeout=20)
            drive(client, self.memory, request, 20)
            client.close()
        ports = (self.first.port, self.second.port)
        in_parallel([lambda r=r, p=ports[i // 2 % 2]: work(r, p) for i, r in enumerate(requests)])
        self.assertEqual(5, sum(r.outcome == "confirmed" for r in requests))
        self.assertEqual({"OUT_OF_STOCK"}, {r.reason for r in requests if r.outcome == "refused"})

    # --- what comes after -----------------------------------------------------------------------
    def test_cancel_in_both_modes_of_orders_of_both_modes(self):
        before = self.money_and_stock()
        for placed in ("2pc", "saga"):
            for cancelled in ("2pc", "saga"):
                with self.subTest(placed=placed, cancelled=cancelled):
                    request, _ = self.confirmed(placed)
                    change = cancel(request.order_id, mode=cancelled)
                    answer = self.send(change, {"Prefer": "applied"})
                    self.assertEqual((200, "CANCELLED"), (answer.status, answer.json["status"]), answer.json)
                    self.assertEqual("CANCELLED", self.get(f"/v1/orders/{request.order_id}")["status"])
                    again = self.send(cancel(request.order_id, mode=cancelled))
                    self.assertEqual((409, "ILLEGAL_STATE"), (again.status, again.reason))
        self.assertEqual(before, self.money_and_stock())

    def change_shipment(self, order_id, status):
        (shipment,) = self.get(f"/v1/shipments?order_id={order_id}")["shipments"]
        kind = {"SHIPPED": "ship", "DELIVERED": "deliver"}[status]
        return Request(kind, new_key(kind), "PATCH", f"/v1/shipments/{shipment['shipment_id']}",
                       {"status": status}, order_id=order_id)

    def test_shipped_and_delivered_after_a_saga_and_not_cancelled_then(self):
        """E1: only legal moves, whoever asks for them."""
        request, _ = self.confirmed()
        order_id = request.order_id
        for status in ("SHIPPED", "DELIVERED"):
            answer = self.send(self.change_shipment(order_id, status), {"Prefer": "applied"})
            self.assertEqual((200, status), (answer.status, (answer.json or {}).get("status")), answer.json)
            self.assertEqual(status, self.get(f"/v1/orders/{order_id}")["status"])
            for mode in ("2pc", "saga"):
                refused = self.send(cancel(order_id, mode=mode))
                self.assertEqual((409, "ILLEGAL_STATE"), (refused.status, refused.reason))
        self.assertEqual({"SHIPPED"}, {row[2] for row in Rows(self.stack).reservations[order_id]})

    def test_cancel_by_saga_and_ship_at_once_have_one_winner(self):
        request, _ = self.confirmed()
        works = [cancel(request.order_id, mode="saga"), self.change_shipment(request.order_id, "SHIPPED")]

        def work(change, port):
            client = Client(port, timeout=20)
            drive(client, self.memory, change, 20)
            client.close()
        in_parallel([lambda: work(works[0], self.first.port), lambda: work(works[1], self.second.port)])
        self.assertEqual({"confirmed", "refused"}, {change.outcome for change in works})

    # --- where is this order (A9) ---------------------------------------------------------------
    def test_timeline_tells_what_happened_in_all_services(self):
        request, _ = self.confirmed()
        seen = self.get(f"/v1/orders/{request.order_id}")
        self.assertEqual({*harness.PARTICIPANTS, "coordinator"}, {entry["service"] for entry in seen["timeline"]})
        self.assertEqual(sorted(entry["at"] for entry in seen["timeline"]),
                         [entry["at"] for entry in seen["timeline"]])
        self.assertEqual({request.key}, {entry["correlation_id"] for entry in seen["timeline"]})

    def test_a_pending_order_tells_what_it_waits_for(self):
        self.first.set_fault("payment", mode="error", failure_rate=1.0)
        request = place(self.shop.order(self.skus[:2]), mode="saga", accept=True)
        self.assertEqual(202, self.send(request).status)
        path = f"/v1/orders/{request.accepted}"
        wait_until("its tries are seen", lambda: self.get(path).get("attempts", 0) >= 1, 5)
        seen = self.get(path)
        self.assertEqual(("PENDING", ["payment"]), (seen["status"], seen["waiting_for"]))
        self.assertIn("payment.charge", seen["last_error"])
        by_status = self.get("/v1/orders?status=PENDING")["orders"]
        self.assertIn(request.accepted, [order["order_id"] for order in by_status])
        running = self.get("/v1/sagas?state=running")["sagas"]
        self.assertEqual([request.accepted], [saga["order_id"] for saga in running])
        self.first.clear_faults()
        drive(self.client, self.memory, request)
        self.assertEqual("confirmed", request.outcome)

    def test_found_by_correlation_id(self):
        request, _ = self.confirmed()
        found = self.get(f"/v1/orders?correlation_id={request.key}")["orders"]
        self.assertEqual([(request.order_id, "CONFIRMED")],
                         [(order["order_id"], order["status"]) for order in found])
        self.assertEqual([], self.get("/v1/orders?correlation_id=nobody")["orders"])

    def test_listed_by_status_newest_first_with_a_cursor(self):
        made = [self.failed(place(self.shop.order(self.skus[:1], self.shop.poor), mode="saga"),
                            "INSUFFICIENT_FUNDS") for _ in range(3)]
        path = f"/v1/orders?status=FAILED&customer_id={self.shop.poor}&limit=2"
        page = self.get(path)
        self.assertEqual(made[:0:-1], [order["order_id"] for order in page["orders"]])
        rest = self.get(f"{path}&cursor={page['next_cursor']}")
        self.assertEqual(made[:1], [order["order_id"] for order in rest["orders"]])
        self.assertEqual({"INSUFFICIENT_FUNDS"}, {order["reason"] for order in page["orders"]})

    def test_both_modes_share_hot_rows_through_two_coordinators(self):
        shop = Shop(self.first.port, products=2, customers=3)
        load = Load([self.first.port, self.second.port], shop, clients=8, modes=Modes.ALL, mix=Mix.ORDINARY,
                    seed=harness.seed_of_this_run())
        wait_until("orders flow", lambda: len(load.memory.of(outcome="confirmed")) > 100, 30)
        memory = load.stop()
        self.assertLess(max(memory.slowest.values()), 3.0, memory)
        verify(self.stack, self.first, memory, auditors=False)


if __name__ == "__main__":
    harness.main()
