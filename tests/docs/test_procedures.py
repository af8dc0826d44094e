#!/usr/bin/env python3
"""What an operator is told to type works: the statements and calls that only look, or are undone at once, beside a
coordinator that runs. What takes whole situations is in test_procedures_long.py."""
import re
import unittest

import procedures
import stack as harness
from load import Client, Memory, Shop, drive, place
from procedures import Reader, documents, runs, statuses, text_of

OPERATING = "docs/operating.md"
# Blocks that are not run: those that say why. More of them is a decision, not an accident.
NOT_RUN = 2
# A document's ellipsis in a statement that is only explained: NULL fits every type.
ELLIPSIS = [("'txc_…_inventory'", "'txc_0a1b2c3d_c1_1_00ff00ff_1_inventory'"), ("'txc_…'", "'txc_0a1b2c3d_c1_1_00ff00ff_1'"),
            ("order_id = '…'", "order_id = gen_random_uuid()"), ("'…'", "'x'"), ("…", "NULL")]


class TheCommands(unittest.TestCase):
    def test_each_block_is_run_by_a_test_or_says_why_not(self):
        import test_procedures_long  # noqa: F401,PLC0415 (its tests say what they run)
        run = {block.id for block in procedures.all_blocks() if not block.not_run}
        self.assertEqual(sorted(run), sorted(procedures.RUN))

    def test_few_are_not_run(self):
        left_out = [f"{block.document}:{block.line}: {block.not_run}" for block in procedures.all_blocks() if block.not_run]
        print("\nnot run:", *left_out, sep="\n  ")
        self.assertEqual(NOT_RUN, len(left_out), left_out)


class BesideARunningCoordinator(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.stack = harness.Stack()
        cls.addClassCleanup(cls.stack.close)
        cls.coordinator = cls.stack.coordinator("c1").start()
        cls.dsns = {name: database.dsn for name, database in cls.stack.databases.items()}
        cls.reader = Reader(cls.dsns, cls.coordinator.port, cls.coordinator.admin_port)
        cls.addClassCleanup(cls.reader.close)
        shop, client = Shop(cls.coordinator.port), Client(cls.coordinator.port)
        request = place(shop.order(sorted(shop.products)[:2]))
        drive(client, Memory(), request)
        client.close()
        cls.stack.settled()
        (cls.gid,), = cls.stack.databases["log"].query(
            "SELECT gid FROM decisions WHERE outcome = 'commit' ORDER BY decided_at DESC LIMIT 1")

    def sql(self, database, block, text=None):
        return self.reader.sql(self.dsns[database], (text or text_of(block)).replace("txc_…", self.gid))

    @runs(f"{OPERATING}#in-doubt-branches-stay/1", f"{OPERATING}#in-doubt-branches-stay/2")
    def test_in_doubt_branches_are_looked_at(self):
        for name in harness.PARTICIPANTS:
            self.assertEqual("", self.sql(name, f"{OPERATING}#in-doubt-branches-stay/1"))
        found = self.sql("log", f"{OPERATING}#in-doubt-branches-stay/2").splitlines()
        self.assertRegex(found[0], r"^commit\|\{.*order.*\}\|.+\|f$")
        self.assertRegex(found[1], r"^c1\|1\|\d+\|.+\|t\|$")
        self.assertRegex(found[2], r"^[0-9a-f]{8}$")

    @runs(f"{OPERATING}#in-doubt-branches-stay/3")
    def test_a_tombstone_by_hand_says_what_holds(self):
        block = f"{OPERATING}#in-doubt-branches-stay/3"
        self.assertEqual("commit", self.sql("log", block).splitlines()[-1], "what was decided stays decided")
        nobodys = re.sub(r"_\d+$", "_999999", self.gid)
        self.assertEqual("abort", self.sql("log", block, text_of(block).replace("txc_…", nobodys)).splitlines()[-1])
        self.stack.databases["log"].query("DELETE FROM decisions WHERE gid = %s", nobodys)

    @runs(f"{OPERATING}#a-heuristic-outcome/1")
    def test_heuristic_outcomes_are_listed(self):
        self.assertEqual("", self.sql("log", f"{OPERATING}#a-heuristic-outcome/1"))

    @runs(f"{OPERATING}#too-many-connections/1")
    def test_who_has_the_connections(self):
        for name in harness.DATABASES:
            self.assertRegex(self.sql(name, f"{OPERATING}#too-many-connections/1"), r"(?m)^txcoord\|")

    @runs(f"{OPERATING}#the-log-was-restored-or-failed-over/1", f"{OPERATING}#the-log-was-restored-or-failed-over/2")
    def test_witnesses_are_asked_for_and_epochs_raised(self):
        block = f"{OPERATING}#the-log-was-restored-or-failed-over/1"
        text = text_of(block).replace("('txc_…', …)", f"('{self.gid}')")
        for name in harness.PARTICIPANTS:
            self.assertEqual([self.gid], self.sql(name, block, text).split(), "nothing prepared, and its witness")
        block = f"{OPERATING}#the-log-was-restored-or-failed-over/2"
        highest, raising = text_of(block).split("\n\n", 1)
        for name in harness.PARTICIPANTS:
            self.assertEqual("c1|1", self.sql(name, block, highest).strip())
        # Of another coordinator than the one that runs: that one is not to be fenced here.
        self.sql("log", block, raising.replace("'c1'", "'c8'"))
        self.sql("log", block, raising.replace("'c1'", "'c8'").replace("9)", "7)"))
        self.assertEqual([("c8", 9)], self.stack.databases["log"].query(
            "SELECT id, epoch FROM coordinator_epoch WHERE id = 'c8'"), "never lowered")
        self.assertEqual(1, len(self.stack.databases["log"].query("SELECT 1 FROM coordinator_lease WHERE id = 'c8'")))

    @runs(f"{OPERATING}#sagas-that-the-log-has-lost/1")
    def test_lost_sagas_are_listed(self):
        printed = self.reader.shell(text_of(f"{OPERATING}#sagas-that-the-log-has-lost/1"))
        self.assertEqual([200], statuses(printed))

    @runs(f"{OPERATING}#deadlocks-and-lock-timeouts/1", f"{OPERATING}#vacuum-is-held-back/1")
    def test_who_waits_and_who_holds_back_vacuum(self):
        for name in harness.DATABASES:
            self.sql(name, f"{OPERATING}#deadlocks-and-lock-timeouts/1")
            self.sql(name, f"{OPERATING}#vacuum-is-held-back/1")

    @runs(f"{OPERATING}#decisions-pile-up/1")
    def test_decisions_are_counted(self):
        self.assertRegex(self.sql("log", f"{OPERATING}#decisions-pile-up/1"), r"(?m)^commit\|f\|f\|\d+\|")

    @runs(f"{OPERATING}#card-errands-are-refused/1")
    def test_refused_card_errands_are_listed(self):
        self.assertEqual("", self.sql("payment", f"{OPERATING}#card-errands-are-refused/1"))

    @runs(f"{OPERATING}#degraded-modes/1")
    def test_a_degraded_mode_is_switched_and_switched_back(self):
        printed = self.reader.shell(text_of(f"{OPERATING}#degraded-modes/1"))
        self.assertEqual([200, 200, 204], statuses(printed))

    @runs("docs/api.md#health-and-metrics/1")
    def test_a_fault_is_set_and_cleared(self):
        printed = self.reader.shell(text_of("docs/api.md#health-and-metrics/1"))
        self.assertEqual([200, 204], statuses(printed))

    @runs(f"{OPERATING}#backups/1")
    def test_a_quiet_point_is_marked_on_each_server(self):
        printed = self.reader.shell(text_of(f"{OPERATING}#backups/1")).split()
        self.assertEqual(["0"] * 6, printed[:6], "nothing prepared, nothing incomplete")
        self.assertEqual(10, len(printed[6:]))
        for place_in_wal in printed[6:]:
            self.assertRegex(place_in_wal, r"^[0-9A-F]+/[0-9A-F]+$")

    def test_statements_in_sentences_fit_the_tables_and_the_rights_of_the_role(self):
        found = [(document, line, sql) for document in procedures.DOCUMENTS
                 for line, sql in documents.inline_sql(procedures.ROOT, document)]
        self.assertGreater(len(found), 10)
        for document, line, sql in found:
            with self.subTest(f"{document}:{line}: {sql}"):
                for shown, meant in ELLIPSIS:
                    sql = sql.replace(shown, meant)
                self.assert_fits(sql)

    def assert_fits(self, sql):
        """In one of the five databases, as the owner; nothing is changed."""
        administrators = sql.startswith(("GRANT", "ALTER ROLE"))
        why = []
        for name in harness.DATABASES:
            dsn = self.dsns[name] + (" user=postgres" if administrators else "")
            try:
                if administrators:
                    self.reader.sql(dsn, f"BEGIN; {sql}; ROLLBACK;")
                elif sql.startswith(("COMMIT PREPARED", "ROLLBACK PREPARED")):
                    with self.assertRaisesRegex(AssertionError, "does not exist"):  # understood, and no such branch
                        self.reader.sql(dsn, sql + ";")
                elif not sql.startswith("TABLE"):
                    self.reader.sql(dsn, f"EXPLAIN {sql};")
                else:
                    self.reader.sql(dsn, sql + ";")
                return
            except AssertionError as wrong:
                why.append(f"{name}: {wrong}")
        self.fail("\n".join(why))


if __name__ == "__main__":
    harness.main()
