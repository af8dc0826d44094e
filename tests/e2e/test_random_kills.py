"""SIGKILL at random moments, under load: of the only coordinator (two-phase commit alone; both modes,
accepted orders too, with faults at two participants), and of one of two (take-over, and the fence
against one that was only silent). With TXC_SHAPE=apart, of the participants' services too.
TXC_KILLS=200 TXC_CLIENTS=32 for the full run."""
import os
import random
import signal
import time
import unittest

import stack as harness
from load import Load, Mix, Modes, Shop
from servers import wait_until
from stack import LEASE_SECONDS, PARTICIPANTS, SECONDS_TO_SETTLE, SHORT_LEASE
from verdict import Rows, verify

KILLS = int(os.environ.get("TXC_KILLS", "20"))
KILLS_WITH_FAULTS = int(os.environ.get("TXC_KILLS", "8"))
CLIENTS = int(os.environ.get("TXC_CLIENTS", "16"))

FAULT = {"failure_rate": 0.3, "delay_ms": 500}
SECONDS_TO_CONVERGE = 60  # every order, once the faults have ended


class RandomKills(unittest.TestCase):
    def setUp(self):
        self.stack = harness.Stack()
        self.addCleanup(self.stack.close)
        self.seed = harness.seed_of_this_run()
        self.choices = random.Random(self.seed)

    def test_one_coordinator_killed_again_and_again(self):
        coordinator = self.stack.coordinator().start()
        load = Load(coordinator.port, Shop(coordinator.port), clients=CLIENTS, seed=self.seed)
        worst = 0.0
        for _ in range(KILLS):
            # One in five dies before it is ready: while it recovers from the death before.
            time.sleep(self.choices.uniform(0.0, 0.6))
            self.kill_a_service()
            coordinator.kill()
            left = self.standing_prepared()
            started = time.monotonic()
            coordinator.start(ready=False)
            if self.choices.random() < 0.2:
                continue
            coordinator.wait_ready()
            wait_until("what the dead left prepared is resolved (I7)",
                       lambda left=left: not left & self.standing_prepared(), SECONDS_TO_SETTLE)
            worst = max(worst, time.monotonic() - started)
        if not coordinator.alive():
            coordinator.start()
        coordinator.wait_ready()
        memory = load.stop(30)
        verify(self.stack, coordinator, memory)
        print(f"{KILLS} kills, {CLIENTS} clients: {memory}; recovered within {worst:.2f} s", flush=True)

    def test_both_modes_killed_again_and_again_while_two_participants_fail(self):
        """D4: every order ends, whatever fails while its coordinator dies and comes back."""
        coordinator = self.stack.coordinator().start()
        load = Load(coordinator.port, Shop(coordinator.port), clients=CLIENTS, seed=self.seed, modes=Modes.ALL)
        for _ in range(KILLS_WITH_FAULTS):
            # A fault dies with its coordinator: one life in four has none, and gets work done.
            if self.choices.random() < 0.75:
                for name in self.choices.sample(PARTICIPANTS, 2):
                    coordinator.set_fault(name, mode=self.choices.choice(("error", "lost_answer")), **FAULT)
            # What is killed has been at work for long enough to meet a fault.
            time.sleep(self.choices.uniform(0.1, 2.0))
            self.kill_a_service()
            coordinator.kill()
            coordinator.start()
        coordinator.clear_faults()
        memory = load.stop(SECONDS_TO_CONVERGE)
        self.stack.sagas_ended(SECONDS_TO_CONVERGE)
        statuses = {order[0] for order in Rows(self.stack).orders.values()}
        self.assertLessEqual(statuses, {"CONFIRMED", "FAILED", "CANCELLED"})
        verify(self.stack, coordinator, memory)
        print(f"{KILLS_WITH_FAULTS} kills with faults, {CLIENTS} clients: {memory}", flush=True)

    def kill_a_service(self):
        """In the other shape, one time in three, a participant's process too; the next start brings it back."""
        if self.stack.services and self.choices.random() < 0.33:
            self.stack.services[self.choices.choice(PARTICIPANTS)].kill()

    def two(self, crash_at=None):
        first = self.stack.coordinator("c1", SHORT_LEASE)
        second = self.stack.coordinator("c2", SHORT_LEASE)
        first.start(crash_at)
        second.start()
        return first, second

    def test_killed_for_good_is_taken_over(self):
        first, second = self.two(crash_at="decide.after:40")
        load = Load([first.port, second.port], Shop(second.port), clients=8, seed=self.seed)
        wait_until("c1 dies with a decision that nobody applied", lambda: not first.alive(), 20)
        self.assertTrue(self.of("c1"), "c1 left nothing behind")
        wait_until("c2 finishes what c1 left", lambda: not self.of("c1"), LEASE_SECONDS + SECONDS_TO_SETTLE)
        self.assertGreaterEqual(second.metric("txcoord_recovery_actions_total", '{action="takeover"}'), 1)
        verify(self.stack, second, load.stop())

    def test_silent_coordinator_is_fenced_when_it_speaks_again(self):
        """It finds requests at its door, and its session for the lease is mute: only the fence in the
        decision itself is left to stop it."""
        log = self.stack.databases["log"]
        first = self.stack.coordinator("c1", SHORT_LEASE).start()
        leases = log.backends("txcoord-log-lease")
        second = self.stack.coordinator("c2", SHORT_LEASE).start()
        shop = Shop(second.port)
        load = Load([first.port], shop, clients=8, seed=self.seed)
        wait_until("orders flow", lambda: len(load.memory.of(outcome="confirmed")) > 50, 10)
        self.freeze_with_work(first)
        load.pause()
        late = Load([first.port], shop, clients=4, seed=self.seed + 1, mix=Mix.PLAIN, memory=load.memory)
        wait_until("c2 resolves what c1 prepared", lambda: not self.of("c1"),
                   LEASE_SECONDS + SECONDS_TO_SETTLE)
        before = self.commits_of("c1")
        log.silence(leases)
        first.signal(signal.SIGCONT)
        self.assertEqual(4, first.wait_exit(15), "exit code of a fenced coordinator")
        log.thaw()
        self.assertEqual(before, self.commits_of("c1"), "I11: a fenced coordinator decided")
        # Its clients come back with their keys to a new c1, whose epoch is above the fence.
        first.start()
        load.resume()
        late.stop(30)
        verify(self.stack, second, load.stop(30))

    def test_silent_coordinator_while_another_serves_the_same_rows(self):
        first, second = self.two()
        shop = Shop(second.port)
        load = Load([second.port], shop, clients=8, seed=self.seed)
        other = Load([first.port], shop, clients=4, seed=self.seed + 1, memory=load.memory)
        wait_until("orders flow", lambda: len(load.memory.of(outcome="confirmed")) > 50, 10)
        self.freeze_with_work(first)
        confirmed = len(load.memory.of(outcome="confirmed"))
        wait_until("c2 confirms orders again beside a silent c1",
                   lambda: len(load.memory.of(outcome="confirmed")) > confirmed + 50, 15)
        # Orders that do not meet c1's rows go on before the take-over; it is fenced by that alone.
        wait_until("c2 finishes what c1 left", lambda: not self.of("c1"), LEASE_SECONDS + SECONDS_TO_SETTLE)
        first.signal(signal.SIGCONT)
        first.wait_exit(15)
        first.start()
        other.stop(30)
        verify(self.stack, second, load.stop(30))

    def freeze_with_work(self, coordinator):
        """SIGSTOP at a moment at which it has branches prepared and undecided."""
        for _ in range(200):
            time.sleep(self.choices.uniform(0.005, 0.05))
            coordinator.signal(signal.SIGSTOP)
            if self.of(coordinator.identity):
                return
            coordinator.signal(signal.SIGCONT)
        self.fail("never caught it with work under way")

    def standing_prepared(self):
        return set().union(*self.stack.prepared().values())

    def of(self, identity):
        """Gids of this coordinator that stand prepared, or decided and incomplete."""
        prepared = self.standing_prepared()
        incomplete = {gid for gid, decision in self.stack.decisions().items()
                      if decision[0] == "commit" and not decision[3]}
        return {gid for gid in prepared | incomplete if gid.split("_")[2] == identity}

    def commits_of(self, identity):
        return {gid for gid, decision in self.stack.decisions().items()
                if decision[0] == "commit" and gid.split("_")[2] == identity}


if __name__ == "__main__":
    harness.main()
