#!/usr/bin/python3
"""A program that commits payment's branch before anybody has decided (commits_early.cpp), killed between its
prepares and its decision: the observer, the exact pass, `txcoord audit` and the independent checker all tell.
The shipped program, killed at the same point, gives none of them anything to tell.
"""
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]
import stack as harness  # noqa: E402

import exact  # noqa: E402
import observer  # noqa: E402
import verdict  # noqa: E402
from load import Client, ConnectionLost, Memory, Shop, place, send  # noqa: E402
from servers import wait_until  # noqa: E402

COMMITS_EARLY = os.environ.get("TXC_COMMITS_EARLY") or os.path.join(
    os.path.dirname(harness.BINARY), "txcoord_commits_early")
BEFORE_THE_DECISION = "decide.before"


class KilledBeforeTheDecision(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.stack = harness.Stack()
        self.addCleanup(self.stack.close)

    def observe(self, binary):
        """What the instruments say of one order, whose coordinator dies before it decides and comes back."""
        coordinator = self.stack.coordinator(binary=binary)
        coordinator.start()
        shop = Shop(coordinator.port)
        coordinator.kill()
        dsns = {name: self.stack.databases[name].dsn for name in observer.SERVICES}
        readers = {name: observer.Reader(name, dsn) for name, dsn in dsns.items()}
        self.look(readers)
        coordinator.start(crash_at=BEFORE_THE_DECISION)
        request = place(shop.order(list(shop.products)[:1]), mode="2pc")
        with self.assertRaises(ConnectionLost):
            send(Client(coordinator.port), Memory(), request)
        wait_until("it died", coordinator.died_at_crash_point, 5)
        self.look(readers)
        coordinator.start()
        self.stack.settled()
        self.look(readers)
        seen = observer.findings(readers)
        for reader in readers.values():
            reader.close()
        state = exact.State(dsns)
        answers = {request.key: exact.Answer("unknown", "", "", 0, 0)}
        at_rest = {**exact.lasting(state, answers), **exact.balances(state)}
        return (coordinator, {counter: count for counter, count in seen["counts"].items() if count},
                {name: count for name, count in at_rest.items() if count})

    @staticmethod
    def look(readers):
        for reader in readers.values():
            reader.sample()

    def test_a_branch_that_was_committed_early_is_told_by_every_instrument(self):
        coordinator, seen, at_rest = self.observe(COMMITS_EARLY)
        self.assertEqual(seen, {"seen_in_some_only": 1, "part_without_order": 1, "money_without_goods": 1})
        self.assertEqual((at_rest["torn_for_good"], at_rest["money_without_goods_for_good"]), (1, 1))
        self.assertGreater(at_rest["charged_minus_owed"], 0)
        told = verdict.outside(self.stack, coordinator)
        for auditor in ("audit", "checker"):
            self.assertTrue([line for line in told if line.startswith(auditor) and "I1" in line], told)

    def test_the_shipped_program_killed_there_shows_nobody_anything(self):
        coordinator, seen, at_rest = self.observe(harness.BINARY)
        self.assertEqual((seen, at_rest), ({}, {}))
        verdict.verify(self.stack, coordinator)


if __name__ == "__main__":
    harness.main()
