#!/usr/bin/python3
"""Every counter of the observer and of the exact pass counts the fault that it is for, planted by SQL,
and none counts in a clean world. What the observer cannot know, it does not claim.

    run.d/with-pg.sh /usr/bin/python3 tests/bench/test_observer.py
"""
import os
import sys
import threading
import unittest
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import psycopg  # noqa: E402

import exact  # noqa: E402
import observer  # noqa: E402
from observer import SERVICES  # noqa: E402
from observer_world import ROOT, TOTAL, World, keep_commit_timestamps  # noqa: E402

NOTHING = {counter: 0 for counter in observer.COUNTERS}


def setUpModule():
    keep_commit_timestamps()


class ObserverTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.close)
        self.order = str(uuid.uuid4())

    def expect(self, **counts):
        self.assertEqual(self.world.counts(), {**NOTHING, **counts})

    # --- what a reader saw in between ---------------------------------------------------------------
    def test_whole_orders_count_nothing(self):
        self.world.place()
        self.world.place()
        found = self.world.seen()
        self.assertEqual(found["counts"], NOTHING)
        self.assertEqual((found["orders_seen"], found["events_without_row"], found["not_conserved_seen"]), (2, 0, 0))

    def test_a_payment_seen_before_its_reservation_is_money_without_goods(self):
        self.world.pay(self.order)
        self.world.look("payment", "inventory", "order")
        self.world.reserve(self.order)
        self.world.ship(self.order)
        self.world.order(self.order, "CONFIRMED")
        self.expect(seen_in_some_only=1, money_without_goods=1, part_without_order=1)

    def test_a_reservation_seen_before_its_payment_is_goods_without_money(self):
        self.world.order(self.order, "PENDING")
        self.world.reserve(self.order)
        self.world.look()
        self.world.pay(self.order)
        self.world.ship(self.order)
        self.world.order(self.order, "CONFIRMED")
        self.expect(seen_in_some_only=1, goods_without_money=1)

    def test_an_order_confirmed_before_a_branch_committed_is_confirmed_without_part(self):
        self.world.order(self.order, "CONFIRMED")  # one COMMIT PREPARED ahead of the others
        self.world.look()
        self.world.reserve(self.order)
        self.world.pay(self.order)
        self.world.ship(self.order)
        self.expect(seen_in_some_only=1, confirmed_without_part=1)

    def test_how_long_is_what_the_readings_prove_and_no_more(self):
        self.world.pay(self.order)
        self.world.look("payment")                # seen at the end of this reading
        self.world.look("inventory", "inventory")  # absent at the beginning of the last of these
        ended = self.world.readers["payment"].times[-1][1]
        absent = self.world.readers["inventory"].times[-1][0]
        self.world.reserve(self.order)
        self.world.ship(self.order)
        self.world.order(self.order, "CONFIRMED")
        self.world.look()
        parts = {name: reader.sightings[self.order] for name, reader in self.world.readers.items()}
        judged = observer.judge_order(parts, {name: 0 for name in SERVICES})
        self.assertEqual(judged["money_without_goods"], absent - ended)

    def test_a_part_that_came_between_two_readings_of_different_services_proves_nothing(self):
        self.world.look("inventory")  # absent here, and written right after
        for step in (self.world.reserve, self.world.pay, self.world.ship):
            step(self.order)
        self.world.order(self.order, "CONFIRMED")
        self.world.look("payment", "shipping", "order", "inventory")
        self.expect()

    def test_a_saga_seen_half_done_and_then_undone_counts_all_that_was_undone(self):
        self.world.order(self.order, "PENDING")
        for step in (self.world.reserve, self.world.pay, self.world.ship):
            step(self.order)
        self.world.look()
        for step in (self.world.unship, self.world.refund, self.world.release):
            step(self.order)
        self.world.order(self.order, "FAILED")
        self.expect(reservation_undone=1, payment_undone=1, shipment_undone=1, pending_then_failed=1)

    def test_a_step_that_was_undone_before_anybody_looked_is_not_seen(self):
        self.world.order(self.order, "PENDING")
        self.world.reserve(self.order)
        self.world.release(self.order)
        self.world.order(self.order, "FAILED")
        self.expect()
        self.assertEqual(self.world.at_rest(), {})

    def test_confirmed_and_then_failed_is_told_apart_from_pending_and_then_failed(self):
        order = self.world.place()
        self.world.look()
        self.world.order(order, "FAILED")
        self.expect(confirmed_then_failed=1)

    def test_a_cancelled_order_is_not_an_undone_one(self):
        order = self.world.place()
        self.world.look()
        self.world.order(order, "CANCELLED")
        for step in (self.world.unship, self.world.refund, self.world.release):
            step(order)
        self.expect()
        self.assertEqual(self.world.at_rest(("k", "confirmed", self.world.place())), {})

    def test_stock_that_is_not_conserved_is_seen(self):
        self.world.run("inventory", "UPDATE inventory SET available = available - 1")
        self.world.readers["inventory"].sample_balances()
        self.assertEqual(self.world.seen()["not_conserved_seen"], 1)

    def test_a_negative_balance_is_seen(self):
        self.world.run("payment", "ALTER TABLE wallets DROP CONSTRAINT wallets_balance_check",
                       "UPDATE wallets SET balance = -1")
        self.world.readers["payment"].sample_balances()
        self.assertEqual(self.world.seen()["negative_seen"], 1)

    def test_an_event_whose_row_is_missing_is_told(self):
        self.world.run("payment", self.world.event(self.order, "PaymentCaptured", False))
        self.assertEqual(self.world.seen()["events_without_row"], 1)

    # --- what becomes visible late ------------------------------------------------------------------
    def test_an_event_that_becomes_visible_after_younger_ones_is_found(self):
        with psycopg.connect(self.world.dsns["inventory"]) as slow:
            for statement in self.world.reserve_sql(self.order):
                if not statement.startswith("UPDATE"):  # the stock row stays free for the other order
                    slow.execute(statement)
            younger = str(uuid.uuid4())
            self.world.run("inventory", *self.world.reserve_sql(younger))
            for _ in range(5):
                self.world.look("inventory")
            reader = self.world.readers["inventory"]
            self.assertEqual((set(reader.sightings), len(reader.gaps)), ({younger}, 1))
            slow.commit()
        self.world.look("inventory")
        self.assertEqual((set(reader.sightings), len(reader.gaps)), ({younger, self.order}, 0))

    def test_ids_of_a_rolled_back_transaction_are_given_up(self):
        with psycopg.connect(self.world.dsns["payment"]) as aborted:
            aborted.execute(self.world.event(self.order, "PaymentCaptured", False))
            aborted.rollback()
        self.world.pay(str(uuid.uuid4()))
        for _ in range(4):
            self.world.look("payment")
        self.assertEqual(self.world.readers["payment"].gaps, {})

    def test_a_prepared_branch_is_invisible_and_its_time_is_told(self):
        with psycopg.connect(self.world.dsns["payment"], autocommit=True) as session:
            session.execute("BEGIN")
            session.execute(self.world.event(self.order, "PaymentCaptured", False))
            session.execute("PREPARE TRANSACTION 'observer_test'")
        self.world.look("payment")
        self.world.readers["payment"].sample_locks()
        locks = observer.lock_findings(self.world.readers["payment"].locks)
        self.assertEqual((locks["prepared_mean"], self.world.readers["payment"].sightings), (1, {}))
        self.assertGreater(locks["prepared_oldest_ms"], 0)

    def test_a_writer_and_a_session_that_waits_for_it_are_counted(self):
        update = "UPDATE wallets SET balance = balance"
        with psycopg.connect(self.world.dsns["payment"]) as writer, \
                psycopg.connect(self.world.dsns["payment"], autocommit=True) as waiter:
            writer.execute(update)
            waiting = threading.Thread(target=waiter.execute, args=(update,))
            waiting.start()
            reader = self.world.readers["payment"]
            reader.sample_locks()
            while waiting.is_alive() and not reader.locks[-1][4]:  # until the server itself says that it waits
                reader.sample_locks()
            writer.rollback()
            waiting.join()
        self.assertEqual((reader.locks[-1][2] >= 1, reader.locks[-1][4]), (True, 1))

    # --- what is wrong for good ---------------------------------------------------------------------
    def test_commit_timestamps_give_the_windows_that_nobody_looked_into(self):
        order, cancelled = self.world.place(), self.world.place()
        self.world.order(cancelled, "FAILED")
        self.world.refund(cancelled)
        self.world.release(cancelled)
        state = exact.State(self.world.dsns)
        found = exact.between(state, exact.timelines(state), {})
        for name in ("in_some_services_only", "stock_held_then_freed", "money_taken_then_given_back"):
            self.assertEqual(found[name]["count"], 1, name)
            self.assertGreater(found[name]["max_ms"], 0, name)
        self.assertIsNone(found["confirmed_before_whole"])
        self.assertEqual((found["stock_locked"]["count"], found["wallet_locked"]["count"]), (2, 2))
        self.assertEqual(state.orders[order].status, "CONFIRMED")

    def test_a_clean_world_at_rest_has_nothing_to_tell(self):
        order = self.world.place()
        self.assertEqual(self.world.at_rest(("a", "confirmed", order), ("b", "refused", "")), {})

    def test_a_confirmed_order_that_is_not_there_is_lost(self):
        self.assertEqual(self.world.at_rest(("a", "confirmed", self.order)), {"orders_lost": 1})

    def test_an_order_that_nobody_was_told_of_is_told(self):
        self.world.place()
        self.assertEqual(self.world.at_rest(), {"orders_nobody_confirmed": 1})
        self.assertEqual(self.world.at_rest(("a", "unknown", "")), {})

    def test_a_pending_order_that_stays_is_told(self):
        self.world.order(self.order, "PENDING")
        self.assertEqual(self.world.at_rest(), {"pending_left": 1})

    def test_stock_held_by_a_failed_order_is_torn_for_good(self):
        self.world.order(self.order, "FAILED")
        self.world.reserve(self.order)
        self.assertEqual(self.world.at_rest(), {"torn_for_good": 1, "goods_without_money_for_good": 1})

    def test_money_taken_for_an_order_that_is_not_there_is_told(self):
        self.world.pay(self.order)
        self.assertEqual(self.world.at_rest(), {"torn_for_good": 1, "money_without_goods_for_good": 1,
                                                "charged_minus_owed": TOTAL})

    def test_a_missing_shipment_is_torn_for_good(self):
        order = self.world.place()
        self.world.run("shipping", "DELETE FROM shipments")
        self.assertEqual(self.world.at_rest(("a", "confirmed", order)), {"torn_for_good": 1})

    def test_more_promised_than_there_is_is_oversold(self):
        self.world.run("inventory", "ALTER TABLE inventory DROP CONSTRAINT inventory_available_check")
        order = self.world.place()
        self.world.run("order", "UPDATE order_items SET quantity = 60")
        self.world.run("inventory", "UPDATE reservations SET quantity = 60",
                       "UPDATE inventory SET available = -10, reserved = 60")
        self.assertEqual(self.world.at_rest(("a", "confirmed", order)),
                         {"oversold_units": 10, "negative_balances": 1})

    def test_stock_is_compared_to_the_unit(self):
        order = self.world.place()
        self.world.run("inventory", "UPDATE inventory SET available = available + 1")
        self.assertEqual(self.world.at_rest(("a", "confirmed", order)), {"stock_off_units": 1})

    def test_money_is_compared_to_the_unit(self):
        order = self.world.place()
        self.world.run("payment", "UPDATE wallets SET balance = balance - 1")
        self.assertEqual(self.world.at_rest(("a", "confirmed", order)), {"money_off_units": 1})

    def test_another_quantity_or_amount_than_ordered_is_told(self):
        order = str(uuid.uuid4())
        self.world.reserve(order, 2)
        self.world.pay(order, TOTAL - 1)
        self.world.ship(order)
        self.world.order(order, "CONFIRMED")
        self.assertEqual(self.world.at_rest(("a", "confirmed", order)),
                         {"items_not_as_ordered": 1, "amount_not_as_ordered": 1, "charged_minus_owed": -1})

    def test_a_prepared_transaction_that_stays_is_told(self):
        with psycopg.connect(self.world.dsns["payment"], autocommit=True) as session:
            session.execute("BEGIN")
            session.execute("UPDATE wallets SET balance = balance")
            session.execute("PREPARE TRANSACTION 'observer_test_left'")
        self.assertEqual(self.world.at_rest(), {"prepared_left": 1})


class TimelineTest(unittest.TestCase):
    """The windows between commits, from timelines made by hand: (service: microseconds)."""

    @staticmethod
    def state(status):
        state = exact.State.__new__(exact.State)
        state.orders = {"o": exact.Order(status, "saga", TOTAL, "anna")}
        state.reserved = {"o": [exact.Held("book", 3, "RELEASED", 1500)]}
        state.payments = {"o": exact.Paid(TOTAL, "REFUNDED", "wallet", "anna", 2500)}
        return state

    @staticmethod
    def line(came, confirmed=None, gone=()):
        line = exact.Timeline()
        line.came, line.confirmed, line.gone = came, confirmed, dict(gone)
        line.last = max([*came.values(), *line.gone.values(), confirmed or 0])
        return line

    def test_the_window_of_a_confirmed_order_runs_from_its_first_commit_to_its_last(self):
        lines = {"o": self.line({"order": 5000, "inventory": 2000, "payment": 3000, "shipping": 9000}, 5000)}
        answers = {"k": exact.Answer("confirmed", "", "o", 1000, 6000)}
        found = exact.between(self.state("CONFIRMED"), lines, answers)
        self.assertEqual(found["in_some_services_only"]["max_ms"], 7)
        self.assertEqual(found["confirmed_before_whole"]["max_ms"], 4)
        self.assertEqual(found["applied_latency"]["max_ms"], 8)
        self.assertIsNone(found["stock_held_then_freed"])

    def test_one_commit_for_all_has_no_window(self):
        lines = {"o": self.line({name: 2000 for name in SERVICES}, 2000)}
        found = exact.between(self.state("CONFIRMED"), lines, {})
        self.assertIsNone(found["in_some_services_only"])
        self.assertEqual(found["orders_live"], 1)

    def test_what_a_failed_order_held_is_counted_in_units_and_seconds(self):
        lines = {"o": self.line({"order": 0, "inventory": 1_000_000, "payment": 2_000_000},
                                gone=(("inventory", 3_000_000), ("payment", 2_500_000)))}
        found = exact.between(self.state("FAILED"), lines, {})
        self.assertEqual((found["stock_held_then_freed"]["max_ms"], found["stock_held_unit_seconds"]), (2000, 6))
        self.assertEqual(found["money_taken_then_given_back"]["max_ms"], 500)
        self.assertEqual(found["money_taken_unit_seconds"], 150)

    def test_lock_times_are_those_of_the_rows(self):
        found = exact.between(self.state("FAILED"), {}, {})
        self.assertEqual((found["stock_locked"]["p50_ms"], found["wallet_locked"]["p50_ms"]), (1.5, 2.5))

    def test_settling_counts_what_had_begun_when_the_fault_ended(self):
        def id_of(milliseconds):
            return f"{milliseconds:012x}"[:8] + "-" + f"{milliseconds:012x}"[8:] + "-7000-8000-000000000000"
        lines = {id_of(1000): self.line({"order": 3_500_000}), id_of(5000): self.line({"order": 9_000_000})}
        self.assertEqual(exact.seconds_to_settle(lines, 2_000_000), 1.5)


if __name__ == "__main__":
    if "TXC_TEST_DSN_ORDER" not in os.environ:
        wrapper = os.path.join(ROOT, "run.d", "with-pg.sh")
        os.execv(wrapper, [wrapper, sys.executable, "-u", *sys.argv])
    unittest.main(verbosity=2)
