"""Degraded modes as two coordinators keep them: switched at one, worked by at both, there after a crash."""
import unittest

import stack as harness
from servers import wait_until

LEASE_MS = 2000
SECONDS_TO_SEE = 5.0  # a renewal of the lease, on a busy machine


class DegradedSwitch(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = harness.Stack()
        cls.addClassCleanup(cls.stack.close)
        cls.one, cls.two = (cls.stack.coordinator(name, {"engine.lease_ms": LEASE_MS}).start()
                            for name in ("c1", "c2"))

    def is_ready(self, coordinator):
        return coordinator.readyz()[0] == 200

    def mode_of(self, coordinator, participant):
        shown = {each["name"]: each.get("mode") for each in coordinator.readyz()[1]["participants"]}
        return shown[participant]

    def switch(self, coordinator, participant, mode):
        answer = coordinator.admin("PUT", f"/admin/v1/modes/{participant}", {"mode": mode})
        self.assertEqual((200, {"participant": participant, "mode": mode}), (answer.status, answer.json))

    def test_shipping_away_and_switched_at_one_coordinator_both_stay_ready_through_a_crash(self):
        self.stack.databases["shipping"].stop()
        self.addCleanup(self.stack.databases["shipping"].start)
        for coordinator in (self.one, self.two):
            wait_until("shipping is missed", lambda c=coordinator: not self.is_ready(c), 10)

        self.switch(self.one, "shipping", "ship_by_hand")
        self.assertTrue(self.is_ready(self.one))
        wait_until("the other one sees the mode", lambda: self.is_ready(self.two), SECONDS_TO_SEE)
        self.assertEqual("ship_by_hand", self.mode_of(self.two, "shipping"))
        self.assertIsNone(self.mode_of(self.two, "payment"))
        self.assertEqual(1, self.two.metric("txcoord_degraded_mode", '{participant="shipping"}'))

        self.two.kill()
        self.two.start(ready=False)
        wait_until("it is ready again without shipping", lambda: self.is_ready(self.two), 20)

        self.assertEqual(204, self.two.admin("DELETE", "/admin/v1/modes/shipping").status)
        self.assertFalse(self.is_ready(self.two))
        wait_until("the first one sees it too", lambda: not self.is_ready(self.one), SECONDS_TO_SEE)
        self.assertEqual(0, self.one.metric("txcoord_degraded_mode", '{participant="shipping"}'))

    def test_log_away_refuses_the_switch_and_the_last_mode_counts(self):
        self.one.wait_ready(20)
        self.switch(self.one, "payment", "pay_later")
        self.addCleanup(lambda: self.switch(self.one, "payment", "normal"))
        self.stack.databases["log"].stop()
        try:
            wait_until("the log is missed", lambda: not self.is_ready(self.one), 10)
            self.assertEqual(503, self.one.admin("DELETE", "/admin/v1/modes/payment").status)
            self.assertEqual("pay_later", self.mode_of(self.one, "payment"))
        finally:
            self.stack.databases["log"].start()
        self.one.wait_ready(20)
        self.assertEqual("pay_later", self.mode_of(self.one, "payment"))


if __name__ == "__main__":
    harness.main()
