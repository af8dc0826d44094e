"""The participants' own REST, on real databases: the coordinator's documents, one effect for a key at both, and
between a decision and its COMMIT PREPARED what is committed, which is the state before."""
import unittest

import stack as harness
from load import Client, ConnectionLost, Memory, Shop, drive, new_key, place, send
from servers import wait_until
from stack import PARTICIPANTS
from verdict import verify

APPLIED = {"Prefer": "applied"}


class ParticipantRest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = harness.Stack(apart=True)
        cls.coordinator = cls.stack.coordinator()
        cls.coordinator.start()
        cls.shop = Shop(cls.coordinator.port)

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def setUp(self):
        self.clients = {name: self.client(self.stack.services[name].port) for name in PARTICIPANTS}
        self.whole = self.client(self.coordinator.port)

    def client(self, port):
        made = Client(port)
        self.addCleanup(made.close)
        return made

    def both(self, name, path):
        """The document that the participant and the coordinator answer with."""
        alone, whole = self.clients[name].request("GET", path), self.whole.request("GET", path)
        self.assertEqual((alone.status, alone.json), (whole.status, whole.json), path)
        self.assertEqual(alone.status, 200, path)
        return alone.json

    def test_what_one_service_knows_it_answers_as_the_coordinator_does(self):
        memory = Memory()
        sku, customer = next(iter(self.shop.products)), self.shop.customers[1]
        placed = place(self.shop.order([sku], customer))
        placed.headers.update(APPLIED)
        drive(self.whole, memory, placed)
        of_order = f"?order_id={placed.order_id}"
        self.both("inventory", f"/v1/inventory/{sku}")
        self.both("inventory", "/v1/inventory?limit=5")
        (reservation,) = self.both("inventory", "/v1/reservations" + of_order)["reservations"]
        self.both("inventory", f"/v1/reservations/{reservation['reservation_id']}")
        self.both("payment", f"/v1/wallets/{customer}")
        (payment,) = self.both("payment", "/v1/payments" + of_order)["payments"]
        self.both("payment", f"/v1/payments/{payment['payment_id']}")
        self.both("payment", f"/v1/payments?customer_id={customer}")
        (shipment,) = self.both("shipping", "/v1/shipments" + of_order)["shipments"]
        self.both("shipping", f"/v1/shipments/{shipment['shipment_id']}")
        row = self.clients["order"].request("GET", f"/v1/order-rows/{placed.order_id}").json
        order = self.whole.request("GET", f"/v1/orders/{placed.order_id}").json
        shared = row.keys() & order.keys() - {"items"}
        self.assertGreater(len(shared), 8)
        self.assertEqual({name: row[name] for name in shared}, {name: order[name] for name in shared})
        verify(self.stack, self.coordinator, memory)

    def test_a_restock_has_one_effect_wherever_its_key_is_sent(self):
        path, key = f"/v1/inventory/{list(self.shop.products)[2]}", new_key("restock")
        before = self.both("inventory", path)["available"]
        answers = [client.request("POST", path + "/restock", {"quantity": 3}, key)
                   for client in (self.clients["inventory"], self.whole, self.clients["inventory"])]
        self.assertEqual([answer.json["available"] for answer in answers], [before + 3] * 3)
        self.assertEqual([answer.headers["Idempotency-Replayed"] for answer in answers], [None, "true", "true"])
        self.assertEqual(self.both("inventory", path)["available"], before + 3)
        verify(self.stack, self.coordinator)

    def test_between_the_decision_and_commit_prepared_a_participant_shows_the_state_before(self):
        memory, payment = Memory(), self.clients["payment"]
        customer = self.shop.customers[2]
        balance = self.both("payment", f"/v1/wallets/{customer}")["balance"]
        self.coordinator.kill()
        self.coordinator.start(crash_at="decide.after:1")
        placed = place(self.shop.order(list(self.shop.products)[:1], customer))
        with self.assertRaises(ConnectionLost):
            send(self.client(self.coordinator.port), memory, placed)
        wait_until("it died", self.coordinator.died_at_crash_point, 5)
        self.assertEqual([len(gids) for gids in self.stack.prepared().values()], [1] * 4)
        self.assertEqual(payment.request("GET", f"/v1/payments?customer_id={customer}").json, {"payments": []})
        self.assertEqual(payment.request("GET", f"/v1/wallets/{customer}").json["balance"], balance)
        # The row is locked until COMMIT PREPARED: a change waits, and says so when its time is over.
        changed = payment.request("PUT", f"/v1/wallets/{customer}", {"balance": 1})
        self.assertEqual((changed.status, changed.json["reason"]), (503, "PARTICIPANT_UNAVAILABLE"))
        self.coordinator.start()
        self.stack.settled()
        drive(self.client(self.coordinator.port), memory, placed)
        (paid,) = payment.request("GET", f"/v1/payments?customer_id={customer}").json["payments"]
        self.assertEqual(paid["order_id"], placed.order_id)
        self.assertEqual(payment.request("GET", f"/v1/wallets/{customer}").json["balance"], balance - paid["amount"])
        verify(self.stack, self.coordinator, memory)


if __name__ == "__main__":
    harness.main()
