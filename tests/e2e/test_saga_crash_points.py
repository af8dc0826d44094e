"""The coordinator dies at each crash point of a saga, under a load of sagas, cancels and accepted orders,
and comes back. Every order ends CONFIRMED or FAILED, and nothing stays PENDING (I8, A8)."""
import unittest

import stack as harness
from load import Client, Load, Mix, Modes, Shop, drive
from servers import wait_until
from stack import LEASE_SECONDS, SECONDS_TO_END, SHORT_LEASE
from test_crash_points import crash_points
from verdict import Rows, verify

# Not before the third time, so that other sagas are under way.
NTH = 3


class SagaCrashPoints(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = harness.Stack()
        cls.coordinator = cls.stack.coordinator()
        cls.seed = harness.seed_of_this_run()
        cls.coordinator.start()
        cls.shop = Shop(cls.coordinator.port, scarce=6)
        cls.coordinator.kill()

    @classmethod
    def tearDownClass(cls):
        try:
            verify(cls.stack, cls.coordinator)
        finally:
            cls.stack.close()

    def tearDown(self):
        self.coordinator.kill()

    def die(self, point, nth=NTH, mix=None, modes=None):
        """Load until it dies there: the paused load."""
        self.coordinator.start(crash_at=f"{point}:{nth}")
        load = Load(self.coordinator.port, self.shop, mix=mix or Mix.UNDONE, modes=modes or Modes.ALL,
                    seed=self.seed)
        self.wait_death(point)
        load.pause()
        self.stack.sessions_ended()
        return load

    def wait_death(self, point):
        wait_until(f"death at {point}", lambda: not self.coordinator.alive(), 15)
        self.assertTrue(self.coordinator.died_at_crash_point(), self.coordinator.log_tail())

    def come_back(self, load):
        self.coordinator.start()
        # Before the clients come back with their keys: whoever adopts them needs no client.
        self.stack.sagas_ended(SECONDS_TO_END)
        load.resume()
        verify(self.stack, self.coordinator, load.stop(), auditors=harness.THOROUGH)

    def run_point(self, point):
        if point == "saga.adopt.after":
            load = self.die("saga.inventory.reserve.after")
            self.coordinator.start(crash_at="saga.adopt.after", ready=False)
            self.wait_death(point)
            return self.come_back(load)
        if point.startswith("saga.order.revoke"):
            return self.run_revoked(point)
        return self.come_back(self.die(point))

    def run_revoked(self, point):
        """Orders are confirmed while their payment is put off, and then some cannot be paid."""
        self.coordinator.start(crash_at=f"{point}:{NTH}")
        self.pay_later("PUT", {"mode": "pay_later"})
        load = Load(self.coordinator.port, self.shop, mix={"plain": 50, "poor": 50}, modes=Modes.SAGA, seed=self.seed)
        self.wait_death(point)
        load.pause()
        self.stack.sessions_ended()
        self.coordinator.start()
        self.stack.sagas_ended(SECONDS_TO_END)
        load.resume()
        load.stop()
        self.stack.sagas_ended(SECONDS_TO_END)
        self.pay_later("DELETE")
        ended = self.stack.databases["order"].query("SELECT DISTINCT status, reason FROM orders"
                                                    " WHERE customer_id = %s AND mode = 'saga'"
                                                    " AND status <> 'FAILED'", self.shop.poor)
        self.assertEqual([("CANCELLED", "INSUFFICIENT_FUNDS")], ended)
        # Not what its clients remember: "confirmed, and the payment is due" is all they were told.
        verify(self.stack, self.coordinator)

    def pay_later(self, method, body=None):
        answer = self.coordinator.admin(method, "/admin/v1/modes/payment", body)
        self.assertIn(answer.status, (200, 204), answer.json)

    # --- the failure points that requirement A8 names -------------------------------------------
    def open_at(self, step):
        """Orders of open sagas that have this step before them."""
        return {order for order, in self.stack.databases["log"].query(
            "SELECT order_id::text FROM saga_instances WHERE ended_at IS NULL AND current_step = %s"
            " AND status <> 'COMPENSATION_STARTED'", step)}

    def ends_whole(self, load, orders):
        """CONFIRMED with everything, or FAILED with nothing; found by asking for it."""
        self.assertTrue(orders, "nothing was caught at this point")
        self.come_back(load)
        rows = Rows(self.stack)
        for order in orders:
            status = rows.orders[order][0]
            self.assertIn(status, ("CONFIRMED", "CANCELLED", "FAILED"), order)
            if status == "CONFIRMED":
                self.assertEqual(list(harness.PARTICIPANTS), rows.anywhere(order))

    def test_a8_a_stock_reserved_and_the_coordinator_died(self):
        load = self.die("saga.inventory.reserve.after", mix=Mix.PLAIN, modes=Modes.SAGA)
        reserved = {order for order in self.open_at("inventory.reserve") if Rows(self.stack).reservations[order]}
        self.ends_whole(load, reserved)

    def test_a8_b_charged_and_shipping_failed_and_the_coordinator_died(self):
        self.coordinator.configure({"faults.shipping.mode": "refuse", "faults.shipping.failure_percent": 100})
        self.addCleanup(self.coordinator.configure, {})
        load = self.die("saga.payment.refund.before", nth=1, mix=Mix.PLAIN, modes=Modes.SAGA)
        rows = Rows(self.stack)
        charged = {order for order, in self.stack.databases["log"].query(
            "SELECT order_id::text FROM saga_instances WHERE status = 'COMPENSATION_STARTED'")
            if rows.payments[order]}
        self.assertEqual({"CAPTURED"}, {rows.payments[order][0][3] for order in charged})
        self.ends_whole(load, charged)
        self.assertEqual({"REFUNDED"}, {Rows(self.stack).payments[order][0][3] for order in charged})

    def test_a8_c_all_done_and_the_coordinator_died_before_the_order_knew(self):
        load = self.die("saga.order.confirm.before", mix=Mix.PLAIN, modes=Modes.SAGA)
        rows = Rows(self.stack)
        # Beside them are those that were confirmed, which was not recorded.
        done = {order for order in self.open_at("order.confirm") if rows.orders[order][0] == "PENDING"}
        self.assertEqual({4}, {len(rows.anywhere(order)) for order in done})
        self.ends_whole(load, done)
        self.assertEqual({"CONFIRMED"}, {Rows(self.stack).orders[order][0] for order in done})


class TakenOver(unittest.TestCase):
    def test_sagas_of_a_coordinator_that_never_comes_back_are_adopted(self):
        stack = harness.Stack()
        self.addCleanup(stack.close)
        first, second = (stack.coordinator(name, SHORT_LEASE) for name in ("c1", "c2"))
        second.start()
        shop = Shop(second.port)
        first.start(crash_at=f"saga.payment.charge.after:{NTH}")
        load = Load([first.port], shop, modes=Modes.ALL, seed=harness.seed_of_this_run())
        wait_until("c1 dies", lambda: not first.alive(), 15)
        load.pause()
        self.assertTrue(stack.open_sagas(), "c1 left nothing behind")
        stack.sagas_ended(LEASE_SECONDS + SECONDS_TO_END)
        owners = stack.databases["log"].query("SELECT DISTINCT coordinator FROM saga_instances")
        self.assertIn(("c2",), owners)
        # Its clients come back with their keys, to whoever is there.
        for request in load.memory.open():
            drive_at(second, load.memory, request)
        first.start()
        load.resume()
        verify(stack, second, load.stop())


def drive_at(coordinator, memory, request):
    client = Client(coordinator.port)
    try:
        drive(client, memory, request)
    finally:
        client.close()


def add_tests():
    for point in crash_points():
        if not point.startswith("saga."):
            continue
        name = "test_" + point.removeprefix("saga.").replace(".", "_")
        setattr(SagaCrashPoints, name, lambda self, point=point: self.run_point(point))


if __name__ == "__main__":
    if "TXC_TEST_PGROOT" in harness.os.environ:
        add_tests()
    harness.main()
