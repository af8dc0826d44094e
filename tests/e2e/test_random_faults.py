"""Two coordinators under load of both modes, and at random moments SIGKILL, SIGSTOP and SIGCONT (of either,
and, with TXC_SHAPE=apart, of the participants' services), and the log away. I1 to I11 hold, and no saga is
open 30 s after the faults have ended. TXC_FAULTS=200 TXC_CLIENTS=16 for the full run."""
import collections
import os
import random
import signal
import time
import unittest

import stack as harness
from load import Load, Modes, Shop
from servers import wait_until
from stack import LEASE_SECONDS, SHORT_LEASE
from verdict import verify

FAULTS = int(os.environ.get("TXC_FAULTS", "10"))
CLIENTS = int(os.environ.get("TXC_CLIENTS", "8"))
# What a fault is, in shares of a hundred.
KINDS = {"kill": 35, "stop": 40, "both": 10, "log": 15}
FENCED = 4  # the exit code of one that was taken over while it was stopped
SECONDS_TO_CONVERGE = 60  # every request, once the faults have ended
SECONDS_OPEN = 30         # every saga


class RandomFaults(unittest.TestCase):
    def setUp(self):
        self.stack = harness.Stack()
        self.addCleanup(self.stack.close)
        self.seed = harness.seed_of_this_run()
        self.choices = random.Random(self.seed)
        self.seen = collections.Counter()
        self.pair = [self.stack.coordinator(name, SHORT_LEASE).start() for name in ("c1", "c2")]

    def processes(self):
        return [*self.pair, *self.stack.services.values()]

    # --- the faults -------------------------------------------------------------------------------
    def kill(self):
        victim = self.choices.choice(self.processes())
        victim.kill()
        self.seen[f"killed {victim.identity}"] += 1
        # One in three comes back only after its lease has run out.
        time.sleep(self.choices.choice((0.0, 0.2, 1.5 * LEASE_SECONDS)))

    def stop(self):
        victim = self.choices.choice(self.processes())
        victim.signal(signal.SIGSTOP)
        self.seen[f"stopped {victim.identity}"] += 1
        time.sleep(self.choices.uniform(0.1, 2.5 * LEASE_SECONDS))
        victim.signal(signal.SIGCONT)

    def both(self):
        """One is stopped, and the other one dies meanwhile; then the first wakes up."""
        stopped, killed = self.choices.sample(self.pair, 2)
        stopped.signal(signal.SIGSTOP)
        time.sleep(self.choices.uniform(0.1, 1.5 * LEASE_SECONDS))
        killed.kill()
        killed.start(ready=False)
        time.sleep(self.choices.uniform(0.1, 1.5 * LEASE_SECONDS))
        stopped.signal(signal.SIGCONT)
        self.seen["stopped beside a killed one"] += 1

    def log(self):
        """The log crashes or falls silent; in half of the cases a coordinator is stopped meanwhile."""
        log, sleeper = self.stack.databases["log"], None
        if self.choices.random() < 0.5:
            sleeper = self.choices.choice(self.pair)
            sleeper.signal(signal.SIGSTOP)
        seconds = self.choices.uniform(0.2, 2 * LEASE_SECONDS)
        if self.choices.random() < 0.5:
            log.close()
            log.crash()
            time.sleep(seconds)
            log.start()
        else:
            log.freeze()
            time.sleep(seconds)
            log.thaw()
        if sleeper:
            sleeper.signal(signal.SIGCONT)
        self.seen["the log away" + (", one coordinator stopped" if sleeper else "")] += 1

    def bring_back(self):
        """What died comes back. A coordinator may have ended by itself for one reason alone: fenced."""
        for one in self.pair:
            if not one.alive():
                self.assertIn(one.process.returncode, (-signal.SIGKILL, FENCED),
                              f"{one.identity} exited:\n{one.log_tail()}")
                self.seen["fenced"] += one.process.returncode == FENCED
                one.start(ready=False)
        for service in self.stack.services.values():
            if not service.alive():
                self.assertEqual(-signal.SIGKILL, service.process.returncode, service.log_tail())
                service.start(ready=False)

    def test_two_coordinators_killed_stopped_and_without_their_log(self):
        load = Load([one.port for one in self.pair], Shop(self.pair[0].port), clients=CLIENTS, seed=self.seed,
                    modes=Modes.ALL)
        self.addCleanup(load.stop)
        for number in range(FAULTS):
            time.sleep(self.choices.uniform(0.1, 1.5))
            kind, = self.choices.choices(list(KINDS), list(KINDS.values()))
            getattr(self, kind)()
            self.bring_back()
            if number % 5 == 4:
                self.works_again(load, f"after fault {number + 1}, {kind}")
        ended = time.monotonic()
        self.works_again(load, "after the last fault")
        memory = load.stop(SECONDS_TO_CONVERGE)

        def all_ready():
            self.bring_back()
            return all(one.readyz()[0] == 200 for one in self.processes())
        wait_until("everybody is ready", all_ready, SECONDS_OPEN)
        verify(self.stack, self.pair[1], memory, sagas_end=max(1.0, ended + SECONDS_OPEN - time.monotonic()))
        print(f"{FAULTS} faults, {CLIENTS} clients: {dict(self.seen)}; {memory}", flush=True)

    def works_again(self, load, when):
        """Work is done between the faults: a run in which nothing is confirmed would prove nothing."""
        confirmed = len(load.memory.of(outcome="confirmed"))

        def flows():
            self.bring_back()  # who was fenced may notice it only now
            return len(load.memory.of(outcome="confirmed")) > confirmed + 10
        wait_until(f"orders are confirmed {when}", flows, SECONDS_OPEN)


if __name__ == "__main__":
    harness.main()
