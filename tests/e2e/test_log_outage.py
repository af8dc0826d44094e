"""The log is away, frozen or read-only for longer than a lease, under load with two coordinators: neither
is fenced by that, nothing is lost, and one that is really dead is taken over all the same
(docs/adr/0017-leases-are-watched.md). TXC_OUTAGES=40 for the full run with the shipped settings."""
import os
import random
import signal
import time
import unittest

import stack as harness
from load import Load, Mix, Modes, Shop
from servers import wait_until
from stack import LEASE_SECONDS, SECONDS_TO_SETTLE, SHORT_LEASE
from verdict import verify

OUTAGES = int(os.environ.get("TXC_OUTAGES", "2"))
CLIENTS = int(os.environ.get("TXC_CLIENTS", "8"))

SHIPPED = {"engine.trim": True}  # what the tests otherwise change: everything else is as shipped
SHIPPED_LEASE_SECONDS = 5.0
SECONDS_TO_CONVERGE = 60


def seconds_to_take_over(lease):
    """Until its work is at rest: a lease watched, the rounds and the pass around it, and the work itself."""
    return lease * 1.25 + 1.5 + SECONDS_TO_SETTLE


class LogOutage(unittest.TestCase):
    def setUp(self):
        self.stack = harness.Stack()
        self.addCleanup(self.stack.close)
        self.seed = harness.seed_of_this_run()
        self.choices = random.Random(self.seed)
        self.log = self.stack.databases["log"]

    def two(self, settings):
        self.pair = [self.stack.coordinator(name, settings).start() for name in ("c1", "c2")]
        self.shop = Shop(self.pair[0].port)
        return self.pair

    def load(self, **how):
        load = Load([one.port for one in self.pair], self.shop, clients=CLIENTS, seed=self.seed,
                    modes=Modes.ALL, patience=0.02, **how)
        self.flowing(load)
        return load

    def flowing(self, load):
        confirmed = len(load.memory.of(outcome="confirmed"))
        wait_until("orders flow", lambda: len(load.memory.of(outcome="confirmed")) > confirmed + 20, 30)

    # --- what befalls the log ---------------------------------------------------------------------
    def crashed(self, seconds):
        self.log.close()
        self.log.crash()
        time.sleep(seconds)
        self.log.start()

    def frozen(self, seconds):
        self.log.freeze()
        time.sleep(seconds)
        self.log.thaw()

    def read_only(self, seconds):
        self.log.as_superuser("ALTER SYSTEM SET default_transaction_read_only = on", "postgres")
        self.log.as_superuser("SELECT pg_reload_conf()", "postgres")
        time.sleep(seconds)
        self.log.as_superuser("ALTER SYSTEM RESET default_transaction_read_only", "postgres")
        self.log.as_superuser("SELECT pg_reload_conf()", "postgres")

    # --- what must hold ---------------------------------------------------------------------------
    def epochs(self):
        return dict(self.log.query("SELECT id, epoch FROM coordinator_epoch"))

    def nobody_is_fenced(self, before, what):
        ended = {one.identity: one.process.returncode for one in self.pair if not one.alive()}
        self.assertEqual({}, ended, f"{what}: these exited")
        self.assertEqual(before, self.epochs(), f"{what}: an epoch was raised")

    def befall(self, what, seconds, load):
        before = self.epochs()
        what(seconds)
        for one in self.pair:
            wait_until(f"{one.identity} is ready", lambda one=one: not one.alive() or one.readyz()[0] == 200, 30)
        self.flowing(load)
        self.nobody_is_fenced(before, f"{what.__name__} for {seconds:.1f} s")

    def test_two_leases_long_in_each_way(self):
        self.two(SHORT_LEASE)
        load = self.load()
        for what in (self.crashed, self.frozen, self.read_only):
            self.befall(what, 2 * LEASE_SECONDS, load)
        # Whoever was wrongly judged by what came before the outages would be fenced within a lease.
        before = self.epochs()
        time.sleep(2 * LEASE_SECONDS)
        self.nobody_is_fenced(before, "a lease after them")
        memory = load.stop(SECONDS_TO_CONVERGE)
        verify(self.stack, self.pair[1], memory, sagas_end=SECONDS_TO_CONVERGE)
        print(f"crashed, frozen, read-only: {memory}", flush=True)

    def test_outages_longer_than_the_shipped_lease(self):
        self.two(SHIPPED)
        load = self.load()
        ways = [self.crashed, self.crashed, self.frozen, self.read_only]
        for number in range(OUTAGES):
            what = self.choices.choice(ways)
            seconds = self.choices.uniform(6.0, 8.0)
            print(f"outage {number + 1}: {what.__name__} for {seconds:.1f} s", flush=True)
            self.befall(what, seconds, load)
        memory = load.stop(SECONDS_TO_CONVERGE)
        verify(self.stack, self.pair[1], memory, sagas_end=SECONDS_TO_CONVERGE)
        print(f"{OUTAGES} outages of 6 to 8 s, {CLIENTS} clients: {memory}", flush=True)

    def test_both_idle_with_work_of_the_other_in_the_log(self):
        """Each has something that the other would like to take over, and nothing else to do."""
        self.two(SHORT_LEASE)
        for name in ("c1", "c2"):
            self.log.query("INSERT INTO decisions (gid, coordinator, epoch, outcome, participants)"
                           " SELECT 'txc_' || installation || '_' || %s || '_1_deadbeef_9', %s, 1, 'commit',"
                           " '{shipping}' FROM txc_installation", name, name)
        before = self.epochs()
        for what in (self.crashed, self.read_only, self.frozen):
            what(2 * LEASE_SECONDS)
            time.sleep(2 * LEASE_SECONDS)  # whoever were judged silent would be taken over by then
            self.nobody_is_fenced(before, what.__name__)

    def prepared_by(self, name):
        return [gid for gids in self.stack.prepared().values() for gid in gids if gid.split("_")[2] == name]

    def leave_work(self, settings):
        """c1 dies with a decision that nobody applied; c2 is there."""
        first = self.stack.coordinator("c1", settings)
        second = self.stack.coordinator("c2", settings)
        first.start("decide.after:40")
        second.start()
        self.pair = [first, second]
        self.shop = Shop(second.port)
        load = Load([first.port, second.port], self.shop, clients=CLIENTS, seed=self.seed, mix=Mix.PLAIN)
        wait_until("c1 dies with a decision that nobody applied", lambda: not first.alive(), 30)
        self.assertEqual(-signal.SIGKILL, first.process.returncode)
        self.assertTrue(self.prepared_by("c1"), "c1 left nothing behind")
        return second, load

    def taken_over(self, second, lease):
        took = wait_until("c2 finishes what c1 left", lambda: not self.prepared_by("c1"),
                          seconds_to_take_over(lease))
        self.assertGreaterEqual(second.metric("txcoord_recovery_actions_total", '{action="takeover"}'), 1)
        return took

    def test_a_dead_coordinator_is_taken_over_with_the_shipped_lease(self):
        second, load = self.leave_work(SHIPPED)
        took = self.taken_over(second, SHIPPED_LEASE_SECONDS)
        verify(self.stack, second, load.stop(30))
        print(f"taken over {took:.1f} s after its death, lease {SHIPPED_LEASE_SECONDS:.0f} s", flush=True)

    def test_a_coordinator_that_is_dead_when_the_log_comes_back_is_taken_over(self):
        second, load = self.leave_work(SHORT_LEASE)
        load.pause()
        self.crashed(2 * LEASE_SECONDS)
        took = self.taken_over(second, LEASE_SECONDS)
        load.resume()
        verify(self.stack, second, load.stop(30))
        print(f"taken over {took:.1f} s after the log came back, lease {LEASE_SECONDS} s", flush=True)


if __name__ == "__main__":
    harness.main()
