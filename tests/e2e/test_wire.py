"""Orders over a wire that is watched and broken: I4 read from a trace, and one fault at each message
of an order's life: lost, executed with its answer lost, or delivered after everybody gave up."""
import re
import unittest

import stack as harness
from load import Client, Load, Memory, Shop, drive, place, send
from servers import wait_until
from stack import PARTICIPANTS
from verdict import verify
from wire import DELIVER_LATE, LOSE, LOSE_ANSWER, PASS, Tap

# Short deadlines, so that what is held back is given up soon.
SOON = {"engine.vote_ms_max": 500, "engine.prepare_ms_max": 500, "engine.decide_ms_max": 500,
        "engine.commit_ms_max": 500}
# The sessions that an order uses. Over those that finish branches recovery talks too, all the time: of them
# an order's own are the COMMIT PREPAREDs alone.
APPLICATIONS = {"txcoord-log",
                *(f"txcoord-{name}-{use}" for name in PARTICIPANTS for use in ("branch", "finish"))}
DECISION = re.compile(r"INSERT INTO decisions \(.*?\) VALUES \('(txc_[^']+)'.*COMMIT$", re.DOTALL)
COMMIT_PREPARED = re.compile(r"COMMIT PREPARED '(txc_\w+)_[a-z]+'")
PREPARE = re.compile(r"PREPARE TRANSACTION '(txc_\w+)_[a-z]+'")


def of_an_order(turn):
    if turn.application not in APPLICATIONS or turn.text.startswith("parse "):
        return False
    return not turn.application.endswith("-finish") or bool(COMMIT_PREPARED.search(turn.text))


class Wire(unittest.TestCase):
    def setUp(self):
        self.stack = harness.Stack()
        self.addCleanup(self.stack.close)
        direct = self.stack.coordinator()  # migrates
        self.tap = Tap(self.stack)
        self.addCleanup(self.tap.close)
        direct.configure({**self.tap.settings(), **SOON})
        self.coordinator = direct.start()
        self.shop = Shop(self.coordinator.port)
        self.memory = Memory()
        self.client = Client(self.coordinator.port)
        self.addCleanup(self.client.close)

    def order(self):
        return place(self.shop.order(sorted(self.shop.products)[:2]))

    def test_no_commit_prepared_before_its_decision_is_durable(self):
        """I4, on the trace; and no PREPARE is sent twice, none after its decision."""
        load = Load(self.coordinator.port, self.shop, clients=4, seed=harness.seed_of_this_run())
        wait_until("orders flow", lambda: len(load.memory.of(outcome="confirmed")) > 150, 20)
        memory = load.stop()
        self.stack.settled()
        turns = self.tap.turns()
        decided = {DECISION.search(turn.text).group(1): turn for turn in turns if DECISION.search(turn.text)}
        commits = [(COMMIT_PREPARED.search(turn.text).group(1), turn) for turn in turns
                   if COMMIT_PREPARED.search(turn.text)]
        self.assertGreater(len(commits), 4)
        for gid, turn in commits:
            self.assertIn(gid, decided)
            self.assertFalse(decided[gid].error)
            self.assertLess(decided[gid].answered, turn.sent, f"I4: {turn.label}")
        prepares = [PREPARE.search(turn.text).group(0) for turn in turns if PREPARE.search(turn.text)]
        self.assertEqual(len(prepares), len(set(prepares)), "a branch was prepared twice")
        for turn in turns:
            if PREPARE.search(turn.text) and PREPARE.search(turn.text).group(1) in decided:
                self.assertLess(turn.answered, decided[PREPARE.search(turn.text).group(1)].sent)
        verify(self.stack, self.coordinator, memory)

    def labels_of_one_order(self):
        for _ in range(2):  # the first one opens sessions and parses statements
            first = len(self.tap.turns())
            drive(self.client, self.memory, self.order())
            self.stack.settled()
        labels = []
        for turn in self.tap.turns()[first:]:
            if of_an_order(turn) and turn.label not in labels:
                labels.append(turn.label)
        return labels

    def break_one(self, label, fault):
        """One order during which the first turn of this kind meets the fault."""
        met = []

        def rule(turn):
            if met or turn.label != label or turn.application not in APPLICATIONS:
                return PASS
            met.append(turn)
            return fault
        self.tap.rule = rule
        request = self.order()
        drive(self.client, self.memory, request)
        self.assertEqual("confirmed", request.outcome, request)
        self.stack.settled()
        self.assertTrue(met, "that message was never sent")

    def break_each(self, fault, labels):
        self.assertTrue(labels)
        for label in labels:
            with self.subTest(fault=fault, turn=label):
                self.break_one(label, fault)
        self.tap.rule = lambda turn: PASS
        verify(self.stack, self.coordinator, self.memory)

    def test_each_message_lost(self):
        self.break_each(LOSE, self.labels_of_one_order())

    def test_each_answer_lost(self):
        self.break_each(LOSE_ANSWER, self.labels_of_one_order())

    def test_each_point_of_no_return_delivered_late(self):
        """Late PREPAREs are swept, late decisions fail on their tombstone, late COMMITs find nothing."""
        labels = [label for label in self.labels_of_one_order()
                  if re.search("PREPARE|decisions", label)]
        self.assertGreaterEqual(len(labels), 2 * len(PARTICIPANTS) + 1, labels)
        self.break_each(DELIVER_LATE, labels)

    def test_lost_acknowledgement_of_a_decision_is_not_an_abort(self):
        """The decision stands: the client is told 201 by its first try, not 503."""
        drive(self.client, self.memory, self.order())
        self.tap.rule = lambda turn: LOSE_ANSWER if DECISION.search(turn.text) else PASS
        answer = send(self.client, self.memory, self.order())
        self.tap.rule = lambda turn: PASS
        self.assertEqual(201, answer.status, answer.json)
        verify(self.stack, self.coordinator, self.memory)


if __name__ == "__main__":
    harness.main()
