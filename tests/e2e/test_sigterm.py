"""SIGTERM: no new work, what is under way is finished, exit 0, and the next start finds nothing to do."""
import signal
import unittest

import stack as harness
from load import Load, Shop
from servers import wait_until
from verdict import verify


class Sigterm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = harness.Stack()
        cls.coordinator = cls.stack.coordinator()

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def setUp(self):
        self.coordinator.start()
        self.shop = Shop(self.coordinator.port)
        self.load = Load(self.coordinator.port, self.shop, seed=harness.seed_of_this_run())
        wait_until("orders flow", lambda: len(self.load.memory.of(outcome="confirmed")) > 20, 10)

    def tearDown(self):
        self.coordinator.kill()

    def test_under_load_finishes_and_leaves_nothing(self):
        self.coordinator.signal(signal.SIGTERM)
        self.assertEqual(0, self.coordinator.wait_exit(10), self.coordinator.log_tail())
        self.load.pause()
        # No waiting here: a clean end leaves nothing to recover.
        self.assertEqual([], self.stack.unsettled())
        lease = self.stack.databases["log"].query(
            "SELECT expires_at <= clock_timestamp() FROM coordinator_lease WHERE id = 'c1'")
        self.assertEqual([(True,)], lease, "the lease is given up")
        self.coordinator.start()
        self.load.resume()
        verify(self.stack, self.coordinator, self.load.stop())

    def test_while_it_drains_readyz_says_so_and_new_orders_get_503(self):
        shipping = self.stack.databases["shipping"]
        shipping.freeze()  # so that something stays under way
        try:
            self.coordinator.signal(signal.SIGTERM)
            wait_until("readyz is 503", lambda: self.coordinator.readyz()[0] in (0, 503), 2)
            status, body = self.coordinator.readyz()
            if status:  # it may have closed its door already: then there is nothing more to say
                self.assertEqual((503, "draining"), (status, body["status"]))
        finally:
            shipping.thaw()
        self.assertEqual(0, self.coordinator.wait_exit(15), self.coordinator.log_tail())
        self.coordinator.start()
        verify(self.stack, self.coordinator, self.load.stop())

    def test_second_signal_does_not_wait(self):
        shipping = self.stack.databases["shipping"]
        shipping.freeze()
        try:
            self.coordinator.signal(signal.SIGTERM)
            wait_until("it drains", lambda: self.coordinator.readyz()[0] != 200, 2)
            if self.coordinator.alive():
                self.coordinator.signal(signal.SIGTERM)
            self.coordinator.wait_exit(2)
        finally:
            shipping.thaw()
        self.coordinator.start()
        verify(self.stack, self.coordinator, self.load.stop())


if __name__ == "__main__":
    harness.main()
