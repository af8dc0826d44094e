"""The coordinator dies at each of its named crash points, under load, and comes back. What was
decided is rolled forward, what was not is rolled back, within the time that I7 gives."""
import subprocess
import unittest

import stack as harness
from load import Load, Mix, Shop
from servers import wait_until
from stack import PARTICIPANTS
from verdict import verify

# Not before the third time, so that other groups are under way; recovery's points come by a start.
NTH = 3
SILENT = {"hold": "shipping", "mix": Mix.PLAIN, "nth": 1,
          "settings": {"engine.vote_ms_max": 400, "engine.prepare_ms_max": 400}}

# What a dead coordinator must have left behind at these points, or the point is not where it says.
LEAVES_UNDECIDED = {"prepare.after", "decide.before", *(f"prepare.{name}.after" for name in PARTICIPANTS)}
LEAVES_DECIDED = {"decide.after", "commit.after", "complete.before",
                  *(f"commit.{name}.{when}" for name in PARTICIPANTS for when in ("before", "after"))}


def crash_points():
    done = subprocess.run([harness.BINARY, "crash-points"], capture_output=True, text=True, timeout=10,
                          check=True)
    return [line.split()[0] for line in done.stdout.splitlines() if line]


class Left:
    """What stands in the databases while nobody runs."""

    def __init__(self, stack):
        self._stack = stack
        stack.sessions_ended()
        self.prepared = stack.prepared()
        decisions = stack.decisions()
        decided = {gid for gid, decision in decisions.items() if decision[0] == "commit"}
        self.undecided = set().union(*self.prepared.values()) - decided
        self.open = {gid for gid in decided if not decisions[gid][3]}

    def check_recovered(self, test):
        """Before the decision: rolled back everywhere. After it: committed everywhere (I1)."""
        decisions, witnesses = self._stack.decisions(), self._stack.witnesses()

        def committed_in(gid):
            return {name for name in PARTICIPANTS if gid in witnesses[name]}
        for gid in self.undecided:
            test.assertEqual(set(), committed_in(gid), f"{gid} was not decided")
            test.assertEqual("abort", decisions.get(gid, ("nothing",))[0], f"{gid} has no tombstone")
        for gid in self.open:
            test.assertEqual(set(decisions[gid][1]), committed_in(gid), f"{gid} was decided")


class CrashPoints(unittest.TestCase):
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
        self.coordinator.configure({})
        for database in self.stack.databases.values():
            database.thaw()

    def die(self, point, nth=NTH, mix=None, hold=None, settings=None):
        """Load until it dies there; (the paused load, what is left). `hold`: a database that falls silent."""
        self.coordinator.configure(settings or {})
        self.coordinator.start(crash_at=f"{point}:{nth}")
        load = Load(self.coordinator.port, self.shop, mix=mix, seed=self.seed)
        try:
            if hold:
                wait_until("orders flow", lambda: load.memory.of(outcome="confirmed"), 10)
                # With no group under way: the next one meets the silent database in its PREPARE. One
                # caught in its COMMIT PREPARED would have the database marked away before that.
                load.pause()
                self.stack.settled()
                self.stack.databases[hold].freeze()
                load.resume()
            wait_until(f"death at {point}", lambda: not self.coordinator.alive(), 15)
        finally:
            load.pause()
            if hold:
                self.stack.databases[hold].thaw()
        self.assertTrue(self.coordinator.died_at_crash_point(), self.coordinator.log_tail())
        return load, Left(self.stack)

    def come_back(self, load, left):
        self.coordinator.configure({})
        self.coordinator.start()
        self.stack.settled()
        left.check_recovered(self)
        load.resume()
        verify(self.stack, self.coordinator, load.stop(), auditors=harness.THOROUGH)

    def run_point(self, point):
        if point.startswith("recovery."):
            return self.dies_again("prepare.after", point)
        recipe = {
            "judge.before": {"mix": Mix.DISPUTED, "nth": 1},
            "refuse.before": {"mix": Mix.REFUSALS},
            "refuse.after": {"mix": Mix.REFUSALS},
            # New orders need no lock of shipping's: it is asked first for its PREPARE, and the others
            # have prepared by then.
            "abort.before": SILENT,
            "rollback.after": {**SILENT, "nth": 2},
            "settle.before": SILENT,
            "settle.after": SILENT,
        }.get(point, {})
        load, left = self.die(point, **recipe)
        if point in LEAVES_UNDECIDED:
            self.assertTrue(left.undecided, "nothing was left undecided")
        if point in LEAVES_DECIDED:
            self.assertTrue(left.open, "nothing was left decided and not complete")
        self.come_back(load, left)

    def dies_again(self, first, second):
        """Dies, and dies again while it recovers from that."""
        load, left = self.die(first)
        self.coordinator.start(crash_at=second, ready=False)
        wait_until(f"death at {second}", lambda: not self.coordinator.alive(), 15)
        self.assertTrue(self.coordinator.died_at_crash_point(), self.coordinator.log_tail())
        self.stack.sessions_ended()
        self.come_back(load, left)

    def test_recovery_dies_while_it_rolls_forward(self):
        for point in ("recovery.planned", "recovery.finish.after"):
            with self.subTest(point):
                self.dies_again("decide.after", point)
                self.coordinator.kill()

    def test_unknown_crash_point_is_refused_at_start(self):
        self.coordinator.start(crash_at="no.such.point", ready=False)
        self.assertNotEqual(0, self.coordinator.wait_exit(10))


class Forgetting(unittest.TestCase):
    """With trimming on, in databases of its own: witnesses go, and with them some evidence."""

    def test_forget_after(self):
        stack = harness.Stack()
        self.addCleanup(stack.close)
        coordinator = stack.coordinator(settings={"engine.trim": True})
        coordinator.start(crash_at="forget.after:2")
        load = Load(coordinator.port, Shop(coordinator.port))
        wait_until("death at forget.after", lambda: not coordinator.alive(), 15)
        load.pause()
        self.assertTrue(coordinator.died_at_crash_point(), coordinator.log_tail())
        coordinator.start()
        stack.settled()
        load.resume()
        verify(stack, coordinator, load.stop())


def add_tests():
    for point in crash_points():
        # Sagas have a file of their own.
        if point == "forget.after" or point.startswith("saga."):
            continue
        name = "test_" + point.replace(".", "_")
        setattr(CrashPoints, name, lambda self, point=point: self.run_point(point))


if __name__ == "__main__":
    if "TXC_TEST_PGROOT" in harness.os.environ:
        add_tests()
    harness.main()
