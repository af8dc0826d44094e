"""The contract over the whole program: every answer, held against the rows in the four databases."""
import threading
import unittest

import stack as harness
from load import Client, Load, Memory, Request, Shop, cancel, drive, new_key, place, send
from servers import wait_until
from verdict import Rows, verify


def in_parallel(works):
    """Runs all at once; raises the first failure."""
    failures = []

    def guarded(work):
        try:
            work()
        except Exception as failure:  # raised below, in the test's own thread
            failures.append(failure)
    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if failures:
        raise failures[0]


class Happy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = harness.Stack()
        cls.first = cls.stack.coordinator("c1").start()
        cls.second = cls.stack.coordinator("c2").start()

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def setUp(self):
        self.memory = Memory()
        self.client = Client(self.first.port)
        self.addCleanup(self.client.close)
        self.shop = Shop(self.first.port)
        self.skus = sorted(self.shop.products)

    def tearDown(self):
        verify(self.stack, self.first, self.memory)

    def send(self, request, headers=None):
        return send(self.client, self.memory, request, headers)

    def confirmed(self, **order):
        request = place(self.shop.order(self.skus[:2], **order))
        answer = self.send(request, {"Prefer": "applied"})
        self.assertEqual(201, answer.status, answer.json)
        return request, answer

    def change_shipment(self, order_id, status):
        shipments = self.client.request("GET", f"/v1/shipments?order_id={order_id}").json["shipments"]
        self.assertEqual(1, len(shipments))
        kind = {"SHIPPED": "ship", "DELIVERED": "deliver"}[status]
        return Request(kind, new_key(kind), "PATCH", f"/v1/shipments/{shipments[0]['shipment_id']}",
                       {"status": status}, order_id=order_id)

    # --- placing --------------------------------------------------------------------------------
    def test_confirmed_order_is_in_all_four_databases(self):
        request, answer = self.confirmed(quantity=3)
        self.assertEqual("applied", answer.headers["Preference-Applied"])
        self.assertTrue(answer.json["applied"])
        self.assertEqual(("CONFIRMED", "2pc", "JPY"),
                         tuple(answer.json[name] for name in ("status", "mode", "currency")))
        self.assertEqual(list(harness.PARTICIPANTS),
                         Rows(self.stack).anywhere(answer.json["order_id"]))
        gid = answer.json["transaction_id"]
        self.assertEqual(set(harness.PARTICIPANTS),
                         {name for name, gids in self.stack.witnesses().items() if gid in gids})

    def test_every_refusal_leaves_no_row_and_is_repeated(self):
        plain = self.shop.order(self.skus[:1])
        cases = {
            "OUT_OF_STOCK": self.shop.order([self.skus[0], *self.shop.sold_out]),
            "INSUFFICIENT_FUNDS": self.shop.order(self.skus[:1], self.shop.poor),
            "CARD_DECLINED": self.shop.order(self.skus[:1], method="card", token="tok_declined"),
            "UNKNOWN_CUSTOMER": {**plain, "customer_id": "nobody"},
            "UNKNOWN_SKU": {**plain, "items": [{"sku": "nothing", "quantity": 1, "unit_price": 1}]},
            "PRICE_CHANGED": {**plain, "items": [{"sku": self.skus[0], "quantity": 1, "unit_price": 99}]},
        }
        for reason, body in cases.items():
            with self.subTest(reason):
                request = place(body)
                for again in (False, True):
                    answer = self.send(request)
                    self.assertEqual((409, reason), (answer.status, answer.reason), answer.json)
                    self.assertEqual("application/problem+json", answer.headers["Content-Type"])
                    self.assertIs(False, answer.json["retryable"])
                    self.assertEqual(again, answer.replayed)

    def test_respond_async_answers_202_and_the_location_tells(self):
        request = place(self.shop.order(self.skus[:1]))
        answer = self.send(request, {"Prefer": "respond-async"})
        self.assertEqual(202, answer.status, answer.json)
        location = answer.headers["Location"]
        wait_until("the order is confirmed",
                   lambda: self.client.request("GET", location).json.get("status") == "CONFIRMED", 5)
        drive(self.client, self.memory, request)
        self.assertEqual("confirmed", request.outcome)
        self.assertTrue(location.endswith(request.order_id))

    # --- keys (I5) ------------------------------------------------------------------------------
    def test_same_key_again_is_a_replay_word_for_word(self):
        request, first = self.confirmed()
        again = self.send(request)
        self.assertEqual(201, again.status)
        self.assertTrue(again.replayed)
        self.assertFalse(first.replayed)
        self.assertEqual(first.json["order_id"], again.json["order_id"])

    def test_same_key_with_another_body_is_422(self):
        request, _ = self.confirmed()
        answer = self.client.request("POST", "/v1/orders", self.shop.order(self.skus[2:4]), key=request.key)
        self.assertEqual((422, "KEY_REUSED"), (answer.status, answer.reason))

    def test_key_is_required(self):
        answer = self.client.request("POST", "/v1/orders", self.shop.order(self.skus[:1]))
        self.assertEqual((400, "KEY_MISSING"), (answer.status, answer.reason))

    def one_key_from(self, ports, body):
        """64 clients, one key: every final answer is the same."""
        key = new_key("once")
        requests = [place(body, key) for _ in range(64)]

        def work(request, port):
            client = Client(port, timeout=20)
            drive(client, Memory(), request, 20)
            client.close()
        in_parallel([lambda r=r, p=ports[i % len(ports)]: work(r, p) for i, r in enumerate(requests)])
        outcomes = {(r.outcome, r.reason, r.order_id) for r in requests}
        self.assertEqual(1, len(outcomes), outcomes)
        self.memory.sending(requests[0])
        return requests[0]

    def test_one_key_from_64_clients_at_once(self):
        request = self.one_key_from([self.first.port], self.shop.order(self.skus[:2]))
        self.assertEqual("confirmed", request.outcome)

    def test_one_key_from_64_clients_through_two_coordinators(self):
        ports = [self.first.port, self.second.port]
        self.assertEqual("confirmed", self.one_key_from(ports, self.shop.order(self.skus[:2])).outcome)

    def test_one_refusal_for_64_clients_through_two_coordinators(self):
        ports = [self.first.port, self.second.port]
        # Somebody who is refused on what may change: a second judgement could come out otherwise.
        refused = self.one_key_from(ports, self.shop.order([self.skus[0], *self.shop.sold_out]))
        self.assertEqual(("refused", "OUT_OF_STOCK"), (refused.outcome, refused.reason))

    def test_refusal_stands_after_its_cause_is_gone(self):
        sku, = self.shop.sold_out
        request = place(self.shop.order([sku]))
        self.assertEqual(409, self.send(request).status)
        self.client.request("PUT", f"/v1/inventory/{sku}", {"available": 10})
        again = self.send(request)
        self.assertEqual((409, "OUT_OF_STOCK", True), (again.status, again.reason, again.replayed))
        self.assertEqual(201, self.send(place(self.shop.order([sku]))).status)

    def test_last_pieces_are_sold_once_through_two_coordinators(self):
        sku = sorted(self.shop.scarce)[0]  # five pieces
        requests = [place(self.shop.order([sku])) for _ in range(20)]

        def work(request, port):
            client = Client(port, timeout=20)
            drive(client, self.memory, request, 20)
            client.close()
        in_parallel([lambda r=r, p=(self.first, self.second)[i % 2].port: work(r, p)
                     for i, r in enumerate(requests)])
        self.assertEqual(5, sum(r.outcome == "confirmed" for r in requests))
        self.assertEqual({"OUT_OF_STOCK"}, {r.reason for r in requests if r.outcome == "refused"})

    # --- what comes after -----------------------------------------------------------------------
    def test_cancel_gives_back_stock_and_money(self):
        def seen():
            stock = self.client.request("GET", f"/v1/inventory/{self.skus[0]}").json
            wallet = self.client.request("GET", f"/v1/wallets/{self.shop.customers[0]}").json
            return stock["available"], stock["reserved"], wallet["balance"]
        before = seen()
        request, _ = self.confirmed()
        self.assertNotEqual(before, seen())
        answer = self.send(cancel(request.order_id), {"Prefer": "applied"})
        self.assertEqual((200, "CANCELLED"), (answer.status, answer.json["status"]), answer.json)
        self.assertEqual(before, seen())
        self.assertEqual(409, self.send(cancel(request.order_id)).status)

    def test_cancel_of_a_card_payment(self):
        request, _ = self.confirmed(method="card", token="tok_ok")
        answer = self.send(cancel(request.order_id), {"Prefer": "applied"})
        self.assertEqual((200, "CANCELLED"), (answer.status, answer.json["status"]), answer.json)

    def test_shipped_and_delivered_over_all_services(self):
        request, _ = self.confirmed()
        for status in ("SHIPPED", "DELIVERED"):
            answer = self.send(self.change_shipment(request.order_id, status), {"Prefer": "applied"})
            self.assertEqual((200, status), (answer.status, (answer.json or {}).get("status")), answer.json)
            seen = self.client.request("GET", f"/v1/orders/{request.order_id}").json
            self.assertEqual(status, seen["status"])
        refused = self.send(cancel(request.order_id))
        self.assertEqual((409, "ILLEGAL_STATE"), (refused.status, refused.reason))

    def test_cancel_and_ship_at_once_have_one_winner(self):
        request, _ = self.confirmed()
        works = [cancel(request.order_id), self.change_shipment(request.order_id, "SHIPPED")]

        def work(change, port):
            client = Client(port, timeout=20)
            drive(client, self.memory, change, 20)
            client.close()
        in_parallel([lambda: work(works[0], self.first.port), lambda: work(works[1], self.second.port)])
        self.assertEqual({"confirmed", "refused"}, {change.outcome for change in works})

    def test_unknown_order_cannot_be_cancelled(self):
        answer = self.client.request("POST", "/v1/orders/018f0000-0000-7000-8000-000000000000/cancel", {},
                                     key=new_key())
        self.assertEqual(404, answer.status, answer.json)

    def test_two_coordinators_share_hot_rows(self):
        """Neither waits for the other in a cycle: everybody gets an answer, in time."""
        shop = Shop(self.first.port, products=2, customers=3)
        load = Load([self.first.port, self.second.port], shop, clients=8, seed=harness.seed_of_this_run())
        wait_until("orders flow", lambda: len(load.memory.of(outcome="confirmed")) > 200, 30)
        memory = load.stop()
        self.assertLess(max(memory.slowest.values()), 3.0, memory)
        verify(self.stack, self.first, memory)

    # --- one database only ----------------------------------------------------------------------
    def test_puts_and_restock(self):
        sku = self.skus[0] + "-put"
        made = self.client.request("PUT", f"/v1/inventory/{sku}",
                                   {"title": "a", "unit_price": 7, "available": 3})
        self.assertEqual((201, 3), (made.status, made.json["available"]))
        changed = self.client.request("PUT", f"/v1/inventory/{sku}", {"unit_price": 8})
        self.assertEqual(200, changed.status)
        expected = {"unit_price": 8, "available": 3, "title": "a"}
        self.assertEqual(expected, {name: changed.json[name] for name in expected})
        key = new_key("restock")
        for replayed in (False, True):
            answer = self.client.request("POST", f"/v1/inventory/{sku}/restock", {"quantity": 4}, key=key)
            self.assertEqual((200, 7, replayed), (answer.status, answer.json["available"], answer.replayed))
        other = self.client.request("POST", f"/v1/inventory/{sku}/restock", {"quantity": 5}, key=key)
        self.assertEqual((422, "KEY_REUSED"), (other.status, other.reason))
        wallet = self.client.request("PUT", f"/v1/wallets/{sku}", {"balance": 12})
        self.assertEqual((201, 12, "JPY"), (wallet.status, wallet.json["balance"], wallet.json["currency"]))

    def test_reads(self):
        request, _ = self.confirmed()
        order_id, get = request.order_id, lambda path: self.client.request("GET", path)
        view = get(f"/v1/orders/{order_id}").json
        self.assertTrue(view["applied"])
        self.assertEqual(set(harness.PARTICIPANTS), {entry["service"] for entry in view["timeline"]})
        self.assertEqual(2, len(get(f"/v1/reservations?order_id={order_id}").json["reservations"]))
        self.assertEqual("CAPTURED", get(f"/v1/payments?order_id={order_id}").json["payments"][0]["status"])
        transaction = get(f"/v1/transactions/{view['transaction_id']}")
        self.assertEqual(200, transaction.status)
        self.assertIn(order_id, transaction.json["order_ids"])
        more = [self.confirmed()[0].order_id for _ in range(2)]
        first_page = f"/v1/orders?customer_id={self.shop.customers[0]}&limit=2"
        page = get(first_page).json
        self.assertEqual(more[::-1], [order["order_id"] for order in page["orders"]])
        rest = get(f"{first_page}&cursor={page['next_cursor']}").json
        self.assertEqual([order_id], [order["order_id"] for order in rest["orders"]])
        self.assertEqual(404, get("/v1/orders/018f0000-0000-7000-8000-000000000000").status)


if __name__ == "__main__":
    harness.main()
