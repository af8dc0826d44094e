"""Degraded modes that an operator switches on (C8): orders are confirmed while payment or shipping is away,
paid and shipped when it is back, and cancelled if that is refused; under load, with the coordinator killed."""
import unittest

import stack as harness
from load import Client, Load, Memory, Mix, Shop, cancel, drive, place, send
from servers import wait_until
from verdict import Rows, verify

BOTH_MODES = {("2pc", False): 50, ("saga", False): 50}


class DegradedModes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = harness.Stack()
        cls.first = cls.stack.coordinator("c1", harness.SHORT_LEASE).start()
        cls.second = cls.stack.coordinator("c2", harness.SHORT_LEASE).start()
        cls.seed = harness.seed_of_this_run()
        cls.shop = Shop(cls.first.port)
        cls.skus = sorted(cls.shop.products)

    @classmethod
    def tearDownClass(cls):
        try:
            verify(cls.stack, cls.first)
        finally:
            cls.stack.close()

    def setUp(self):
        self.memory, self.client = Memory(), Client(self.first.port)
        self.addCleanup(self.client.close)
        self.stopped = set()

    def tearDown(self):
        for name in sorted(self.stopped):
            self.back(name)
        if not self.first.alive():
            self.first.start()
        self.first.clear_faults()
        for participant in ("payment", "shipping"):
            self.switch(participant, None)
        for coordinator in (self.first, self.second):
            wait_until("ready again", lambda: coordinator.readyz()[0] == 200, 10)
        verify(self.stack, self.first, self.memory, auditors=harness.THOROUGH)

    def switch(self, participant, mode):
        """By the first coordinator; the second has seen it when this returns."""
        path = f"/admin/v1/modes/{participant}"
        answer = (self.first.admin("PUT", path, {"mode": mode}) if mode else self.first.admin("DELETE", path))
        self.assertIn(answer.status, (200, 204), answer.json)
        wanted = mode or "normal"
        for coordinator in (self.first, self.second):
            wait_until("it is seen", lambda: {"participant": participant, "mode": wanted} in
                       coordinator.admin("GET", "/admin/v1/modes").json["modes"], 5)

    def away(self, name):
        """Stopped, and both coordinators know."""
        self.stack.databases[name].stop()
        self.stopped.add(name)

        def known(coordinator):
            _, body = coordinator.readyz()
            return not next(entry for entry in body["participants"] if entry["name"] == name)["reachable"]
        for coordinator in (self.first, self.second):
            client = Client(coordinator.port)
            send(client, Memory(), place(self.order()))  # the first to find out
            client.close()
            wait_until("it is known", lambda: known(coordinator), 10)

    def back(self, name):
        self.stack.databases[name].start()
        self.stopped.remove(name)

    def order(self, **more):
        return self.shop.order(self.skus[:2], **more)

    def get(self, order_id):
        client = Client(self.first.port)  # the coordinator may have been another process before
        try:
            return client.request("GET", f"/v1/orders/{order_id}").json
        finally:
            client.close()

    def ends(self, order_id, **wanted):
        def seen():
            order = self.get(order_id)
            return all(order.get(name) == value for name, value in wanted.items())
        wait_until(f"{order_id} is {wanted}", seen, 15)
        return self.get(order_id)

    def test_payment_away_pay_later_under_load_with_a_coordinator_killed(self):
        self.away("payment")
        unpaid = send(self.client, Memory(), place(self.order()))
        self.assertEqual(503, unpaid.status, unpaid.json)
        self.switch("payment", "pay_later")
        for coordinator in (self.first, self.second):
            wait_until("a door sends orders", lambda: coordinator.readyz()[0] == 200, 5)

        request = place(self.order(), mode="2pc")
        answer = send(self.client, self.memory, request)
        self.assertEqual((201, "CONFIRMED", "saga", False, "DUE"),
                         (answer.status, *(answer.json[name] for name in ("status", "mode", "applied")),
                          answer.json["payment"]["status"]))
        seen = self.get(request.order_id)
        self.assertEqual((["payment"], False), (seen["waiting_for"], seen["applied"]))
        refused = send(self.client, self.memory, cancel(request.order_id))
        self.assertEqual((503, "PARTICIPANT_UNAVAILABLE"), (refused.status, refused.reason))

        load = Load([self.first.port, self.second.port], self.shop, 8, self.seed, Mix.PLAIN, self.memory,
                    modes=BOTH_MODES)
        confirmed = lambda: len(self.memory.of("place", "confirmed"))  # noqa: E731
        wait_until("orders flow", lambda: confirmed() > 60, 20)
        self.first.kill()
        harness.Process.start(self.first)  # alone: payment's service is not to be waited for
        before = confirmed()
        wait_until("orders flow again", lambda: confirmed() > before + 60, 20)
        self.back("payment")
        before = confirmed()
        wait_until("orders flow on", lambda: confirmed() > before + 60, 20)
        self.switch("payment", None)
        load.stop()
        self.stack.sagas_ended(30)
        self.ends(request.order_id, status="CONFIRMED", applied=True)
        self.assertEqual("CAPTURED", Rows(self.stack).payments[request.order_id][0][3])
        again = place(self.order(), mode="2pc")
        client = Client(self.first.port)
        self.addCleanup(client.close)
        drive(client, self.memory, again)
        self.assertEqual("2pc", self.get(again.order_id)["mode"])

    def test_a_payment_that_is_refused_later_cancels_the_order_and_gives_everything_back(self):
        self.switch("payment", "pay_later")
        before = self.client.request("GET", f"/v1/inventory/{self.skus[0]}").json
        for more, reason in (({"customer": self.shop.poor}, "INSUFFICIENT_FUNDS"),
                             ({"method": "card", "token": "tok_declined"}, "CARD_DECLINED")):
            with self.subTest(reason):
                memory = Memory()  # its order does not stay as it was promised: that is the price
                request = place(self.order(**more))
                answer = send(self.client, memory, request)
                self.assertEqual((201, "DUE"), (answer.status, answer.json["payment"]["status"]))
                order = self.ends(request.order_id, status="CANCELLED", applied=True)
                self.assertEqual(reason, order["reason"])
                replay = send(self.client, memory, request)
                self.assertEqual((201, True), (replay.status, replay.replayed))  # I10
                self.stack.sagas_ended()
                self.assertEqual(409, send(self.client, memory, cancel(request.order_id)).status)
        after = self.client.request("GET", f"/v1/inventory/{self.skus[0]}").json
        self.assertEqual([before[name] for name in ("available", "reserved")],
                         [after[name] for name in ("available", "reserved")])

    def test_the_carrier_is_down_and_people_ship_by_hand(self):
        self.first.set_fault("shipping", mode="refuse", failure_rate=1.0)
        answer = send(self.client, self.memory, place(self.order()))
        self.assertEqual((409, "CARRIER_UNAVAILABLE"), (answer.status, answer.reason))
        self.switch("shipping", "ship_by_hand")
        request = place(self.order())
        self.assertEqual(201, send(self.client, self.memory, request, {"Prefer": "applied"}).status)
        order = self.ends(request.order_id, status="CONFIRMED", applied=True)
        self.assertEqual(("ARRANGED", "by hand"), (order["shipment"]["status"], order["shipment"]["carrier"]))

    def test_the_log_is_away_and_the_last_mode_counts(self):
        self.switch("payment", "pay_later")
        self.stack.databases["log"].stop()
        self.stopped.add("log")
        wait_until("the log is missed", lambda: self.first.readyz()[0] != 200, 10)
        self.assertEqual(503, self.first.admin("DELETE", "/admin/v1/modes/payment").status)
        self.assertIn({"participant": "payment", "mode": "pay_later"},
                      [{"participant": each["name"], "mode": each.get("mode")}
                       for each in self.first.readyz()[1]["participants"]])
        self.back("log")
        wait_until("the log is back", lambda: self.first.readyz()[0] == 200, 10)
        self.switch("payment", None)

    def test_both_are_away_and_both_come_back(self):
        for name, mode in (("payment", "pay_later"), ("shipping", "ship_by_hand")):
            self.away(name)
            self.switch(name, mode)
        requests = [place(self.order(customer=customer)) for customer in self.shop.customers]
        for request in requests:
            self.assertEqual(201, send(self.client, self.memory, request).status)
        for participant in ("payment", "shipping"):
            wait_until("what is due is counted", lambda: self.first.metric(
                "txcoord_orders_due", f'{{participant="{participant}"}}') == len(requests), 5)
        for name in ("shipping", "payment"):
            self.back(name)
        for request in requests:
            self.ends(request.order_id, status="CONFIRMED", applied=True)


if __name__ == "__main__":
    harness.main()
