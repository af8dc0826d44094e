#!/usr/bin/python3
"""The independent checker names every planted fault, and nothing in a clean world.

    run.d/with-pg.sh /usr/bin/python3 tests/checker/test_checker.py
"""
import os
import subprocess
import sys
import threading
import time
import unittest
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from checker import check  # noqa: E402
from checker_card_tests import CardRules  # noqa: E402,F401  (unittest finds it here)
from checker_reading import Unreadable  # noqa: E402
from checker_saga_tests import SagaRules  # noqa: E402,F401  (unittest finds it here)
from checker_world import NAMES, SagaWorld  # noqa: E402


class CheckerTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.world = SagaWorld()
        self.addCleanup(self.world.close)

    def test_a_clean_world_gives_nothing(self):
        self.world.place()
        self.world.move(self.world.place(), "cancel")
        self.world.move(self.world.place(), "ship")
        self.world.run("log", self.world.operation(uuid.uuid4(), "place", "refused", ""))
        self.assertEqual(self.world.found(), set())

    def test_an_order_that_is_not_whole_is_named(self):
        expected = set()
        for check_name, invariant, service, sql in (
                ("payment_missing", "I1", "payment", "DELETE FROM payments"),
                ("shipment_missing", "I1", "shipping", "DELETE FROM shipments"),
                ("reservation_missing", "I1", "inventory", "DELETE FROM reservations"),
                ("amount_differs", "I1", "payment", "UPDATE payments SET amount = amount + 1"),
                ("payer_differs", "I1", "payment", "UPDATE payments SET customer_id = 'bert'"),
                ("items_differ", "I1", "inventory", "UPDATE reservations SET quantity = quantity + 1"),
                ("total_differs", "I1", "order", "UPDATE order_items SET unit_price = unit_price + 1"),
                ("statuses_disagree", "I1", "inventory", "UPDATE reservations SET status = 'RELEASED'"),
                ("statuses_disagree", "I1", "shipping", "UPDATE shipments SET status = 'SHIPPED'"),
                ("placed_by_another", "I5", "order", "UPDATE orders SET transaction_id = 'txc_other'")):
            order = self.world.place()
            self.world.run(service, f"{sql} WHERE order_id = '{order}'")
            expected.add((invariant, check_name, order))
        orphan = self.world.place()
        for table in ("orders", "order_items"):
            self.world.run("order", f"DELETE FROM {table} WHERE order_id = '{orphan}'")
        for part in ("reservation", "payment", "shipment"):
            expected.add(("I1", part + "_without_order", orphan))
        gone = str(uuid.uuid4())
        self.world.decide(gone, "place")
        self.world.apply()
        expected.add(("I2", "confirmed_but_absent", gone))
        self.assertEqual({v for v in self.world.found() if v[0] != "I6"}, expected)

    def test_answers_and_state_that_contradict_each_other_are_named(self):
        world, expected = self.world, set()
        refused = world.place()
        world.run("log", f"UPDATE operations SET outcome = 'refused' WHERE order_id = '{refused}'")
        expected.add(("I10", "refused_but_present", refused))
        lost = world.place()
        world.decide(lost, "ship")
        world.apply()
        expected.add(("I2", "answer_lost", lost))
        ahead = world.place()
        world.move(ahead, "ship")
        world.run("log", f"DELETE FROM operations WHERE kind = 'ship' AND order_id = '{ahead}'")
        expected.add(("I4", "moved_without_decision", ahead))
        twice = world.place()
        world.move(twice, "cancel")
        world.decide(twice, "cancel")
        world.apply()
        expected.add(("I9", "moved_twice", twice))
        both = world.place()
        world.move(both, "ship")
        world.decide(both, "cancel")
        world.apply()
        expected.add(("I9", "cancelled_and_shipped", both))
        again = world.place()
        world.run("log", world.operation(again, "place", "confirmed", world.gid()))
        expected.add(("I5", "placed_twice", again))
        self.assertEqual(world.found(), expected)

    def test_an_orphan_that_the_log_does_not_know_is_named(self):
        orphan = str(uuid.uuid4())
        self.world.run("payment",
                       f"INSERT INTO payments (payment_id, order_id, customer_id, amount, payment_method,"
                       f" status, created_at) VALUES (gen_random_uuid(), '{orphan}', 'bert', 0, 'wallet',"
                       f" 'CAPTURED', now())")
        self.assertEqual(self.world.found(), {("I1", "payment_without_order", orphan)})

    def test_stock_and_money_are_conserved_to_the_unit(self):
        world = self.world
        world.place()
        for service, sql, undo, expected in (
                ("inventory", "UPDATE inventory SET available = available - 1 WHERE sku = 'book-1'",
                 "UPDATE inventory SET available = available + 1 WHERE sku = 'book-1'",
                 {("I6", "stock_not_conserved", "book-1")}),
                ("inventory",
                 "UPDATE inventory SET shipped = 1, reserved = reserved - 1 WHERE sku = 'book-2'",
                 "UPDATE inventory SET shipped = 0, reserved = reserved + 1 WHERE sku = 'book-2'",
                 {("I6", "reserved_differs", "book-2")}),
                ("inventory", "INSERT INTO stock_ledger (sku, delta, cause) VALUES ('book-3', 1, 'PUT')",
                 "DELETE FROM stock_ledger WHERE sku = 'book-3'", {("I6", "stock_not_conserved", "book-3")}),
                ("inventory", "ALTER TABLE inventory DROP CONSTRAINT inventory_available_check;"
                 "INSERT INTO inventory (sku, available) VALUES ('book-4', -1);"
                 "INSERT INTO stock_ledger (sku, delta, cause) VALUES ('book-4', -1, 'PUT')",
                 "DELETE FROM stock_ledger WHERE sku = 'book-4'; DELETE FROM inventory WHERE sku = 'book-4'",
                 {("I6", "stock_negative", "book-4")}),
                ("payment", "UPDATE wallets SET balance = balance + 1 WHERE customer_id = 'bert'",
                 "UPDATE wallets SET balance = 0 WHERE customer_id = 'bert'",
                 {("I6", "wallet_not_conserved", "bert")}),
                ("payment", "ALTER TABLE wallets DROP CONSTRAINT wallets_balance_check;"
                 "UPDATE wallets SET balance = -1 WHERE customer_id = 'bert';"
                 "INSERT INTO wallet_ledger (customer_id, delta, cause) VALUES ('bert', -1, 'PUT')",
                 "UPDATE wallets SET balance = 0 WHERE customer_id = 'bert';"
                 "DELETE FROM wallet_ledger WHERE customer_id = 'bert'",
                 {("I6", "wallet_negative", "bert")})):
            with self.subTest(sql):
                world.run(service, sql)
                self.assertEqual(world.found(), expected)
                world.run(service, undo)
                self.assertEqual(world.found(), set())

    def test_decisions_and_witnesses_that_contradict_each_other_are_named(self):
        world, expected = self.world, set()
        world.place()
        world.run("shipping", f"DELETE FROM txc_branch WHERE gid = '{world.gid()}'")
        expected.add(("I1", "witness_missing", world.gid()))
        tombstone, undecided = world.gid(900), world.gid(901)
        late, invented = world.gid(902, 1), world.gid(903, 3)
        world.run("log", f"INSERT INTO decisions (gid, coordinator, epoch, outcome, completed_at) VALUES"
                         f" ('{tombstone}', 'c1', 2, 'abort', now())")
        world.run("payment", f"INSERT INTO txc_branch (gid) VALUES ('{tombstone}')")
        expected.add(("I3", "committed_and_aborted", tombstone))
        world.run("order", f"INSERT INTO txc_branch (gid) VALUES ('{undecided}')")
        expected.add(("I4", "committed_without_decision", undecided))
        for gid, epoch, name in ((late, 1, "decided_after_fence"), (invented, 3, "epoch_never_granted")):
            world.run("log", f"INSERT INTO decisions (gid, coordinator, epoch, outcome, completed_at) VALUES"
                             f" ('{gid}', 'c1', {epoch}, 'commit', clock_timestamp())")
            expected.add(("I11", name, gid))
        # Another installation's.
        world.run("inventory", "INSERT INTO txc_branch (gid) VALUES ('txc_00000000_c1_1_89abcdef_1')")
        self.assertEqual(world.found(), expected)
        trimmed = {v for v in expected if v[1] not in ("witness_missing", "committed_without_decision")}
        self.assertEqual(world.found(trimming=True), trimmed)

    def test_a_key_used_in_two_periods_is_named(self):
        world = self.world
        one, two = world.place(), world.place()
        world.run("log", f"SELECT txc_add_key_period(2); INSERT INTO key_periods (period) VALUES (2);"
                         f"UPDATE operations SET idempotency_key = 'k', period = 2 WHERE order_id = '{one}';"
                         f"UPDATE operations SET idempotency_key = 'k' WHERE order_id = '{two}'")
        self.assertEqual({v[:2] for v in world.found()}, {("I5", "key_used_twice")})

    def test_a_branch_prepared_for_too_long_is_named(self):
        world = self.world
        stale, misplaced = world.gid(700) + "_payment", world.gid(701) + "_order"
        for branch in (stale, misplaced, "txc_00000000_c1_1_89abcdef_1_payment"):
            world.run("payment", "BEGIN")
            world.run("payment", f"INSERT INTO txc_branch (gid) VALUES ('{branch}')")
            world.run("payment", f"PREPARE TRANSACTION '{branch}'")
        self.assertEqual(world.found(orphan_age=60), {("I7", "prepared_in_wrong_database", misplaced)})
        time.sleep(0.4)
        self.assertEqual(world.found(), {("I7", "prepared_in_wrong_database", misplaced),
                                         ("I7", "prepared_too_long", stale)})

    def test_an_order_decided_and_not_applied_is_told_by_its_age(self):
        order = str(uuid.uuid4())
        self.world.decide(order, "place")
        self.assertEqual(self.world.found(orphan_age=60, patience=0.5), {("I7", "never_at_rest", order)})
        time.sleep(0.4)
        self.assertIn(("I7", "decided_not_applied", self.world.gid()), self.world.found(patience=0.5))

    def test_movement_is_not_taken_for_a_violation(self):
        stop = threading.Event()

        def move():
            while not stop.is_set():
                self.world.move(self.world.place(), "cancel")
                self.world.cancelled_by_saga(self.world.placed_by_saga())
                self.world.failed_saga()
                self.world.accepted()

        mover = threading.Thread(target=move)
        mover.start()
        try:
            for _ in range(10):
                # A decision completes here within its five statements, however slow the machine is.
                self.assertEqual(self.world.found(orphan_age=5, saga_silence=5), set())
        finally:
            stop.set()
            mover.join()
        self.assertEqual(self.world.found(), set())

    def test_the_command_tells_by_its_exit_code(self):
        def run(dsns):
            options = [text for name in NAMES for text in ("--" + name, dsns[name])]
            return subprocess.run([sys.executable, os.path.join(HERE, "checker.py"), *options, "--untrimmed"],
                                  capture_output=True, text=True, timeout=60, check=False)

        order = self.world.place()
        self.assertEqual(run(self.world.dsns).returncode, 0)
        self.world.run("shipping", "DELETE FROM shipments")
        broken = run(self.world.dsns)
        self.assertEqual(broken.returncode, 1)
        self.assertIn(f"I1 shipment_missing: {order}", broken.stdout)
        away = run({**self.world.dsns, "log": "host=/nonexistent dbname=none password=secret"})
        self.assertEqual(away.returncode, 2)
        self.assertNotIn("secret", away.stdout + away.stderr)
        with self.assertRaises(Unreadable):
            check({**self.world.dsns, "order": "host=/nonexistent dbname=none"})


if __name__ == "__main__":
    if "TXC_TEST_DSN_LOG" not in os.environ:
        print("no PostgreSQL servers: run under run.d/with-pg.sh")
        sys.exit(77)
    unittest.main()
