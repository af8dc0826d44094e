"""With trimming on, as shipped: whatever ends the process, no witness outlives its decision, and none is
left behind that nobody deletes."""
import signal
import unittest

import stack as harness
from load import Load, Mix, Shop
from servers import wait_until
from verdict import verify

KEEP_SECONDS = 2
SECONDS_TO_FORGET = KEEP_SECONDS + 3 * 5  # the interval of trimming is 5 s


class Witnesses(unittest.TestCase):
    def setUp(self):
        self.stack = harness.Stack()
        self.addCleanup(self.stack.close)
        self.coordinator = self.stack.coordinator("c1", {"engine.trim": True,
                                                         "engine.decisions_keep_s": KEEP_SECONDS}).start()
        self.shop = Shop(self.coordinator.port)
        self.seed = harness.seed_of_this_run()

    def standing(self):
        return {name: len(gids) for name, gids in self.stack.witnesses().items() if gids}

    def explained(self):
        """No witness is without a decision: as long as one stands, the log says why."""
        witnesses = self.stack.witnesses()  # first: a decision that comes later explains nothing here
        known = set(self.stack.decisions()) | set().union(*self.stack.prepared().values())
        after = self.stack.witnesses()
        for name, gids in witnesses.items():
            self.assertEqual(set(), (gids & after[name]) - known, f"witnesses without a decision at {name}")

    def ended_by(self, number):
        load = Load(self.coordinator.port, self.shop, clients=4, seed=self.seed, mix=Mix.PLAIN)
        wait_until("orders flow", lambda: len(load.memory.of(outcome="confirmed")) > 50, 20)
        self.coordinator.signal(number)
        self.coordinator.wait_exit(25)
        load.pause()
        left = self.standing()
        self.coordinator.start()
        load.resume()
        memory = load.stop(30)
        self.stack.settled()
        self.explained()
        took = wait_until(f"the witnesses of a coordinator ended by {number.name} go, {left} were left",
                          lambda: not self.standing(), SECONDS_TO_FORGET)
        print(f"{number.name} left {left}; gone {took:.1f} s after the load", flush=True)
        return left, memory

    def test_left_by_a_kill_go(self):
        _, memory = self.ended_by(signal.SIGKILL)
        verify(self.stack, self.coordinator, memory)

    def test_a_clean_stop_leaves_none(self):
        left, memory = self.ended_by(signal.SIGTERM)
        self.assertEqual({}, left)
        verify(self.stack, self.coordinator, memory)

    def test_left_while_a_participant_is_away_go_when_it_is_back(self):
        load = Load(self.coordinator.port, self.shop, clients=4, seed=self.seed, mix=Mix.PLAIN)
        wait_until("orders flow", lambda: len(load.memory.of(outcome="confirmed")) > 50, 20)
        shipping = self.stack.databases["shipping"]
        shipping.close()
        shipping.crash()
        load.pause()
        self.coordinator.kill()
        self.coordinator.start(ready=False)
        # Longer than decisions are kept: without their witnesses they would be gone by now.
        complete = "SELECT 1 FROM decisions WHERE completed_at < clock_timestamp() - interval '8 s'"
        wait_until("decisions are old", lambda: self.stack.databases["log"].query(complete), 20)
        shipping.start()
        self.coordinator.wait_ready()
        self.explained()
        wait_until("its witnesses go too", lambda: not self.standing(), SECONDS_TO_FORGET)
        load.resume()
        verify(self.stack, self.coordinator, load.stop(30))


if __name__ == "__main__":
    harness.main()
