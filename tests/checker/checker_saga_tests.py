"""The checker's rules of sagas and accepted orders (I8; I1, I5 and I10 where sagas are in them): each planted
once, each named. Run by test_checker.py."""
import time
import unittest
import uuid

from checker_reading import SERVICES
from checker_world import SagaWorld


class SagaRules(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.world = SagaWorld()
        self.addCleanup(self.world.close)

    def test_a_clean_world_of_sagas_gives_nothing(self):
        world = self.world
        world.placed_by_saga()
        world.failed_saga()
        world.cancelled_by_saga(world.placed_by_saga())
        world.cancelled_by_saga(world.place())
        world.move(world.placed_by_saga(), "cancel")
        world.move(world.placed_by_saga(), "ship")
        world.move(world.accepted(), "cancel")
        world.accepted()
        world.revoked_saga()
        world.forward(world.start_saga("place_order_pay_later", str(uuid.uuid4())), 5)
        stuck = world.forward(world.start_saga("place_order", str(uuid.uuid4())), 3)
        world.run("log", f"UPDATE saga_instances SET stuck_since = now() WHERE saga_id = '{stuck}'")
        time.sleep(0.4)
        self.assertEqual(world.found(), set())
        # Trimmed: ended sagas have lost their barriers, and then their records.
        for name in SERVICES:
            world.run(name, f"DELETE FROM txc_saga_steps WHERE saga_id <> '{stuck}'")
        self.assertEqual(world.found(trimming=True), set())
        world.run("log", f"DELETE FROM saga_instances WHERE saga_id <> '{stuck}'")
        self.assertEqual(world.found(trimming=True), set())

    def test_a_saga_that_is_not_undone_or_not_whole_is_named(self):
        world, expected = self.world, set()
        for name, service, sql in (
                ("statuses_disagree", "inventory", "UPDATE reservations SET status = 'RESERVED'"),
                ("statuses_disagree", "order", "UPDATE orders SET status = 'CONFIRMED'")):
            order = world.order_of(world.failed_saga())
            world.run(service, f"{sql} WHERE order_id = '{order}'")
            expected.add(("I1", name, order))
            if service == "order":
                expected |= {("I1", "payment_missing", order), ("I1", "shipment_missing", order),
                             ("I10", "refused_but_present", order), ("I8", "saga_and_order_disagree", order)}
        for name, service, sql in (
                ("payment_missing", "payment", "DELETE FROM payments"),
                ("reservation_missing", "inventory", "DELETE FROM reservations"),
                ("shipment_missing", "shipping", "DELETE FROM shipments")):
            order = world.placed_by_saga()
            world.run(service, f"{sql} WHERE order_id = '{order}'")
            expected.add(("I1", name, order))
        for service, sql in (("payment", "UPDATE payments SET status = 'CAPTURED'"),
                             ("shipping", "UPDATE shipments SET status = 'ARRANGED'")):
            order = world.placed_by_saga()
            world.cancelled_by_saga(order)
            world.run(service, f"{sql} WHERE order_id = '{order}'")
            expected.add(("I1", "statuses_disagree", order))
        pending = world.placed_by_saga()
        world.run("order", f"UPDATE orders SET status = 'PENDING' WHERE order_id = '{pending}'")
        expected |= {("I8", "saga_and_order_disagree", pending), ("I2", "answer_lost", pending)}
        uncancelled = world.placed_by_saga()
        world.cancelled_by_saga(uncancelled)
        world.run("order", f"UPDATE orders SET status = 'CONFIRMED' WHERE order_id = '{uncancelled}'")
        expected |= {("I8", "saga_and_order_disagree", uncancelled), ("I2", "answer_lost", uncancelled),
                     ("I1", "statuses_disagree", uncancelled)}
        self.assertEqual({v for v in world.found() if v[0] != "I6"}, expected)

    def test_a_revoked_order_is_whole_and_confirmed_under_its_key(self):
        world = self.world
        held, denied = world.revoked_saga(), world.revoked_saga()
        world.run("shipping", f"UPDATE shipments SET status = 'ARRANGED' WHERE order_id = '{world.order_of(held)}'")
        world.run("log", f"UPDATE operations SET outcome = 'refused', reason = 'CARD_DECLINED' WHERE gid = '{denied}'")
        self.assertEqual(world.found(), {("I1", "statuses_disagree", world.order_of(held)),
                                         ("I10", "key_disagrees", denied),
                                         ("I10", "refused_but_present", world.order_of(denied))})

    def test_a_failed_order_tells_its_sagas_reason(self):
        world = self.world
        one, other = world.order_of(world.failed_saga()), world.order_of(world.failed_saga())
        world.run("order", f"UPDATE orders SET reason = 'OUT_OF_STOCK' WHERE order_id = '{one}';"
                           f"UPDATE orders SET reason = 'RESERVATION_EXPIRED' WHERE order_id = '{other}'")
        self.assertEqual(world.found(), {("I10", "reasons_differ", one), ("I10", "reasons_differ", other)})

    def test_an_order_whose_saga_is_gone_is_named(self):
        world = self.world
        saga = world.forward(world.start_saga("place_order", str(uuid.uuid4())), 1)
        world.run("log", f"DELETE FROM saga_instances; UPDATE operations SET outcome = 'pending'")
        order = world.order_of(saga)
        self.assertEqual(world.found(), {("I8", "pending_without_saga", order), ("I8", "barrier_without_saga", saga),
                                         ("I10", "pending_without_saga", order)})

    def test_an_open_saga_is_worked_on_or_shown_or_named(self):
        world = self.world
        saga = world.forward(world.start_saga("place_order", str(uuid.uuid4())), 2)
        order = world.order_of(saga)
        self.assertEqual(world.found(saga_silence=60), set())
        time.sleep(0.4)
        self.assertEqual(world.found(), {("I8", "saga_abandoned", order)})
        world.lives()
        self.assertEqual(world.found(), {("I8", "saga_silent", order)})
        # Another has fenced its owner, and has not adopted it.
        world.run("log", "UPDATE coordinator_epoch SET epoch = 3")
        self.assertEqual(world.found(), {("I8", "saga_abandoned", order)})
        for alive in ("next_retry_at = now() + interval '1 hour'", "next_retry_at = NULL, stuck_since = now()"):
            world.run("log", f"UPDATE saga_instances SET {alive}")
            self.assertEqual(world.found(), set())

    def test_what_the_log_says_of_a_saga_in_three_places_agrees(self):
        world, expected = self.world, set()
        for sql, invariant, name in (
                ("UPDATE saga_instances SET status = 'PAYMENT_COMPLETED'", "I8", "ended_otherwise"),
                ("DELETE FROM saga_history", "I8", "history_differs"),
                ("UPDATE operations SET outcome = 'refused'", "I10", "key_disagrees"),
                ("UPDATE operations SET outcome = 'pending'", "I10", "key_disagrees")):
            order = world.placed_by_saga()
            saga = [saga for saga, (_, of, _) in world.sagas.items() if of == order][0]
            key = "gid" if "operations" in sql else "saga_id"
            world.run("log", f"{sql} WHERE {key} = '{saga}'" + (" AND n = 5" if "history" in sql else ""))
            expected.add((invariant, name, saga))
            if name == "ended_otherwise":
                expected |= {("I8", "history_differs", saga), ("I10", "key_disagrees", saga)}
            if "refused" in sql:
                expected.add(("I10", "refused_but_present", order))
            if "pending" in sql:
                expected.add(("I10", "pending_without_saga", order))
        self.assertEqual({v for v in world.found() if v[1] != "saga_and_order_disagree"}, expected)

    def test_a_barrier_that_is_behind_or_ahead_is_named(self):
        world, expected = self.world, set()
        world.lives()

        def plant(name, saga, service, sql):
            world.run(service, sql.format(saga))
            expected.add(("I8", name, saga))
        whole = world.start_saga("place_order", str(uuid.uuid4()))
        world.forward(whole, 5)
        plant("step_not_done", whole, "payment", "DELETE FROM txc_saga_steps WHERE saga_id = '{}'")
        half = world.forward(world.start_saga("place_order", str(uuid.uuid4())), 3)
        plant("step_not_done", half, "inventory", "DELETE FROM txc_saga_steps WHERE saga_id = '{}'")
        failed = world.failed_saga()
        plant("not_compensated", failed, "inventory",
              "DELETE FROM txc_saga_steps WHERE saga_id = '{}' AND step = 'release'")
        early = world.forward(world.start_saga("place_order", str(uuid.uuid4())), 1)
        plant("step_ahead", early, "payment", "INSERT INTO txc_saga_steps VALUES ('{}', 'charge', 'done')")
        undone = world.forward(world.start_saga("place_order", str(uuid.uuid4())), 2)
        plant("step_ahead", undone, "inventory", "INSERT INTO txc_saga_steps VALUES ('{}', 'release', 'done')")
        # Done and not recorded yet is no fault.
        world.step(world.start_saga("place_order", str(uuid.uuid4())), "order.create")
        self.assertEqual(world.found(saga_silence=60), expected)

    def test_a_log_that_lost_sagas_is_found_out_by_what_the_services_hold(self):
        world = self.world
        paid, failed = (world.forward(world.start_saga("place_order", str(uuid.uuid4())), 3) for _ in range(2))
        world.placed_by_saga()
        world.failed_saga()
        cancelled = world.start_saga("cancel_order", world.placed_by_saga())
        world.step(cancelled, "order.cancel")
        world.run("order", "UPDATE orders SET status = 'FAILED', reason = 'RESERVATION_EXPIRED'"
                           f" WHERE order_id = '{world.order_of(failed)}'")
        world.run("log", "DELETE FROM saga_instances; DELETE FROM saga_history; DELETE FROM operations")
        self.assertEqual(world.found(), {
            ("I8", "barrier_without_saga", paid), ("I8", "pending_without_saga", world.order_of(paid)),
            ("I8", "barrier_without_saga", failed), ("I1", "statuses_disagree", world.order_of(failed)),
            ("I8", "barrier_without_saga", cancelled), ("I1", "statuses_disagree", world.order_of(cancelled))})
        for saga in (paid, failed, cancelled):
            world.run("log", "INSERT INTO lost_sagas (saga_id, saga_type, order_id, may_compensate, may_complete)"
                             f" VALUES ('{saga}', 'place_order', '{world.order_of(saga)}', true, false)")
        self.assertEqual(world.found(), set())

    def test_both_halves_of_an_accepted_order_agree(self):
        world = self.world
        other, refused = world.accepted(), world.accepted()
        world.run("order", f"UPDATE orders SET transaction_id = 'txc_other' WHERE order_id = '{other}'")
        world.run("log", f"UPDATE operations SET outcome = 'refused' WHERE scope = 'accepted'"
                         f" AND order_id = '{refused}'")
        self.assertEqual({v for v in world.found() if v[1] != "decision_without_answer"},
                         {("I5", "placed_by_another", other), ("I10", "accepted_differently", refused)})
