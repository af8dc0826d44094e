#!/usr/bin/python3
"""The independent checker names every planted fault, and nothing in a clean world.

    run.d/with-pg.sh /usr/bin/python3 tests/checker/test_checker.py
"""
import glob
import os
import secrets
import subprocess
import sys
import threading
import time
import unittest
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
import psycopg  # noqa: E402

from checker import check  # noqa: E402
from checker_reading import SERVICES, Unreadable  # noqa: E402

NAMES = SERVICES + ("log",)
PRICE = {"book-1": 500, "book-2": 70}


class World:
    """Five schemas of its own, with orders written by plain SQL."""

    def __init__(self):
        self.schema = "checker_" + secrets.token_hex(6)
        self.dsns, self.sessions, self.sagas, self.seq = {}, {}, {}, 0
        for name in NAMES:
            server = os.environ["TXC_TEST_DSN_" + name.upper()]
            with psycopg.connect(server, autocommit=True) as session:
                session.execute(f"CREATE SCHEMA {self.schema}")
            self.dsns[name] = f"{server} options='-c search_path={self.schema}'"
            self.sessions[name] = psycopg.connect(self.dsns[name], autocommit=True)
            for path in sorted(glob.glob(f"{ROOT}/schemas/{name}/[0-9]*.sql")):
                with open(path, encoding="utf-8") as file:
                    self.run(name, file.read())
        self.installation = self.run("log", "SELECT installation FROM txc_installation")[0][0]
        self.run("log", "INSERT INTO coordinator_epoch VALUES ('c1', 2)")
        for sku in PRICE:
            self.run("inventory",
                     f"INSERT INTO inventory (sku, available) VALUES ('{sku}', 500);"
                     f"INSERT INTO stock_ledger (sku, delta, cause) VALUES ('{sku}', 500, 'PUT')")
        self.run("payment",
                 "INSERT INTO wallets (customer_id, balance) VALUES ('anna', 90000), ('bert', 0);"
                 "INSERT INTO wallet_ledger (customer_id, delta, cause) VALUES ('anna', 90000, 'PUT')")

    def close(self):
        for session in self.sessions.values():
            for (gid,) in session.execute("SELECT gid FROM pg_prepared_xacts"
                                          " WHERE database = current_database()").fetchall():
                session.execute(f"ROLLBACK PREPARED '{gid}'")
            session.execute(f"DROP SCHEMA {self.schema} CASCADE")
            session.close()

    def run(self, name, sql):
        cursor = self.sessions[name].execute(sql)
        while cursor.nextset():
            pass
        return cursor.fetchall() if cursor.description else []

    def gid(self, number=None, epoch=2):
        return f"txc_{self.installation}_c1_{epoch}_89abcdef_{self.seq if number is None else number}"

    def decide(self, order_id, kind, scope="s"):
        self.seq += 1
        self.run("log",
                 f"BEGIN; INSERT INTO decisions (gid, coordinator, epoch, outcome, participants, order_ids)"
                 f" VALUES ('{self.gid()}', 'c1', 2, 'commit', '{{{','.join(SERVICES)}}}', '{{{order_id}}}');"
                 f"{self.operation(order_id, kind, 'confirmed', self.gid(), scope)}; COMMIT")

    def operation(self, order_id, kind, outcome, gid, scope="s"):
        return (f"INSERT INTO operations (period, scope, idempotency_key, fingerprint, kind, outcome,"
                f" order_id, gid) VALUES (1, '{scope}', '{uuid.uuid4()}', decode(repeat('00', 32), 'hex'),"
                f" '{kind}', '{outcome}', '{order_id}', '{gid}')")

    def apply(self, **branches):
        """Each service's statements with the witness, one after the other; then the decision is complete."""
        for name in SERVICES:
            self.run(name, f"BEGIN; INSERT INTO txc_branch (gid) VALUES ('{self.gid()}');"
                           f"{branches.get(name, '')}; COMMIT")
        self.run("log", f"UPDATE decisions SET completed_at = clock_timestamp() WHERE gid = '{self.gid()}'")

    def place(self, accepted=None, scope="s"):
        """A new order; or one that was accepted, and stands there PENDING."""
        order = accepted or str(uuid.uuid4())
        self.decide(order, "place", scope)
        self.apply(
            order=f"UPDATE orders SET status = 'CONFIRMED', transaction_id = '{self.gid()}'"
                  f" WHERE order_id = '{order}'" if accepted else
                  f"INSERT INTO orders (order_id, customer_id, status, mode, total_amount, transaction_id,"
                  f" correlation_id, created_at, updated_at) VALUES ('{order}', 'anna', 'CONFIRMED', '2pc',"
                  f" 1070, '{self.gid()}', '', now(), now()); INSERT INTO order_items VALUES"
                  f" ('{order}', 1, 'book-1', 2, 500), ('{order}', 2, 'book-2', 1, 70)",
            inventory="".join(
                f"INSERT INTO reservations (reservation_id, order_id, sku, quantity, status, created_at)"
                f" VALUES (gen_random_uuid(), '{order}', '{sku}', {count}, 'RESERVED', now());"
                f"UPDATE inventory SET available = available - {count}, reserved = reserved + {count}"
                f" WHERE sku = '{sku}';" for sku, count in (("book-1", 2), ("book-2", 1))),
            payment=f"INSERT INTO payments (payment_id, order_id, customer_id, amount, payment_method,"
                    f" status, created_at) VALUES (gen_random_uuid(), '{order}', 'anna', 1070, 'wallet',"
                    f" 'CAPTURED', now());"
                    f"UPDATE wallets SET balance = balance - 1070 WHERE customer_id = 'anna'",
            shipping=f"INSERT INTO shipments (shipment_id, order_id, shipping_address, tracking_number,"
                     f" carrier, status, created_at, updated_at) VALUES"
                     f" (gen_random_uuid(), '{order}', '{{}}', gen_random_uuid()::text, 'x', 'ARRANGED', now(), now())")
        return order

    def move(self, order, kind):
        """cancel or ship."""
        cancel = kind == "cancel"
        self.decide(order, kind)
        status, column = ("RELEASED", "available") if cancel else ("SHIPPED", "shipped")
        moved = "CANCELLED" if cancel else "SHIPPED"
        refund = (f"UPDATE payments SET status = 'REFUNDED' WHERE order_id = '{order}';"
                  f"UPDATE wallets SET balance = balance + 1070 WHERE customer_id = 'anna'")
        self.apply(
            order=f"UPDATE orders SET status = '{moved}' WHERE order_id = '{order}'",
            inventory=f"UPDATE reservations SET status = '{status}' WHERE order_id = '{order}';" + "".join(
                f"UPDATE inventory SET {column} = {column} + {count}, reserved = reserved - {count}"
                f" WHERE sku = '{sku}';" for sku, count in (("book-1", 2), ("book-2", 1))),
            payment=refund if cancel else "",
            shipping=f"UPDATE shipments SET status = '{moved}' WHERE order_id = '{order}'")

    # --- sagas: what each step leaves, its barrier with it ----------------------------------------
    STEPS = {"place_order": ["order.create", "inventory.reserve", "payment.charge", "shipping.arrange",
                             "order.confirm"],
             "cancel_order": ["order.cancel", "shipping.cancel", "payment.refund", "inventory.release"],
             "place_order_2pc": ["order.create", "transact"]}
    STATUSES = {"place_order": ["STARTED", "ORDER_CREATED", "STOCK_RESERVED", "PAYMENT_COMPLETED",
                                "PAYMENT_COMPLETED", "COMPLETED"],
                "cancel_order": ["STARTED", "ORDER_CANCELLED", "SHIPMENT_CANCELLED", "PAYMENT_REFUNDED",
                                 "COMPLETED"],
                "place_order_2pc": ["STARTED", "ORDER_CREATED", "COMPLETED"]}

    def start_saga(self, kind, order, mode="saga"):
        saga, steps = str(uuid.uuid4()), self.STEPS[kind]
        self.sagas[saga] = (kind, order, mode)
        self.run("log",
                 f"BEGIN; {self.operation(order, 'cancel' if kind == 'cancel_order' else 'place', 'pending', saga)};"
                 f"INSERT INTO saga_instances (saga_id, saga_type, order_id, correlation_id, period, scope,"
                 f" idempotency_key, accepted, coordinator, epoch, status, current_step, payload)"
                 f" SELECT '{saga}', '{kind}', '{order}', '', period, scope, idempotency_key, false, 'c1', 2,"
                 f" 'STARTED', '{steps[0]}', '{{}}' FROM operations WHERE gid = '{saga}';"
                 f"INSERT INTO saga_history (saga_id, n, status, step) VALUES ('{saga}', 0, 'STARTED',"
                 f" '{steps[0]}'); COMMIT")
        return saga

    def record(self, saga, status, step, progress, reason=""):
        ended = status in ("COMPLETED", "FAILED")
        outcome = "confirmed" if status == "COMPLETED" else "refused"
        settle = f"UPDATE operations SET outcome = '{outcome}', reason = '{reason}' WHERE gid = '{saga}';"
        self.run("log",
                 f"BEGIN; UPDATE saga_instances SET status = '{status}', current_step = '{step}',"
                 f" progress = {progress}, reason = '{reason}', updated_at = now()"
                 f"{', ended_at = now(), payload = repeat(payload, 0)' if ended else ''}"
                 f" WHERE saga_id = '{saga}';{settle if ended else ''}"
                 f"INSERT INTO saga_history (saga_id, n, status, step) VALUES"
                 f" ('{saga}', {progress}, '{status}', '{step}'); COMMIT")

    def step(self, saga, name):
        """One step or compensation in its service: the effects and the barrier in one transaction."""
        _, order, mode = self.sagas[saga]
        service, barrier = name.split(".")
        self.run(service, f"BEGIN; INSERT INTO txc_saga_steps VALUES ('{saga}', '{barrier}', 'done');"
                          f"{self.effects(name, order, saga, mode)}; COMMIT")

    @staticmethod
    def effects(name, order, saga, mode):
        mine = f"WHERE order_id = '{order}'"
        stock = "".join(f"UPDATE inventory SET available = available {{0}} {count},"
                        f" reserved = reserved {{1}} {count} WHERE sku = '{sku}';"
                        for sku, count in (("book-1", 2), ("book-2", 1)))
        return {
            "order.create": f"INSERT INTO orders (order_id, customer_id, status, mode, total_amount,"
                            f" transaction_id, correlation_id, created_at, updated_at) VALUES ('{order}', 'anna',"
                            f" 'PENDING', '{mode}', 1070, '{saga}', '', now(), now()); INSERT INTO order_items"
                            f" VALUES ('{order}', 1, 'book-1', 2, 500), ('{order}', 2, 'book-2', 1, 70)",
            "inventory.reserve": f"INSERT INTO reservations (reservation_id, order_id, sku, quantity, status,"
                                 f" created_at, expires_at) VALUES (gen_random_uuid(), '{order}', 'book-1', 2,"
                                 f" 'RESERVED', now(), now()), (gen_random_uuid(), '{order}', 'book-2', 1,"
                                 f" 'RESERVED', now(), now());" + stock.format("-", "+"),
            "payment.charge": f"INSERT INTO payments (payment_id, order_id, customer_id, amount, payment_method,"
                              f" status, created_at) VALUES (gen_random_uuid(), '{order}', 'anna', 1070, 'wallet',"
                              f" 'CAPTURED', now());"
                              f"UPDATE wallets SET balance = balance - 1070 WHERE customer_id = 'anna'",
            "shipping.arrange": f"INSERT INTO shipments (shipment_id, order_id, shipping_address, tracking_number,"
                                f" carrier, status, created_at, updated_at) VALUES (gen_random_uuid(), '{order}',"
                                f" '{{}}', gen_random_uuid()::text, 'x', 'ARRANGED', now(), now())",
            "order.confirm": f"UPDATE orders SET status = 'CONFIRMED' {mine}",
            "order.fail": f"UPDATE orders SET status = 'FAILED', reason = 'CARD_DECLINED' {mine}",
            "order.cancel": f"UPDATE orders SET status = 'CANCELLED' {mine}",
            "inventory.release": f"UPDATE reservations SET status = 'RELEASED', expires_at = NULL {mine};"
                                 + stock.format("+", "-"),
            "payment.refund": f"UPDATE payments SET status = 'REFUNDED' {mine};"
                              f"UPDATE wallets SET balance = balance + 1070 WHERE customer_id = 'anna'",
            "shipping.cancel": f"UPDATE shipments SET status = 'CANCELLED' {mine}",
        }[name]

    def forward(self, saga, steps):
        """The first `steps` steps, each with its record."""
        kind = self.sagas[saga][0]
        names, statuses = self.STEPS[kind] + [""], self.STATUSES[kind]
        for i in range(steps):
            self.step(saga, names[i])
            self.record(saga, statuses[i + 1], names[i + 1], i + 1)
        return saga

    def placed_by_saga(self):
        order = str(uuid.uuid4())
        self.forward(self.start_saga("place_order", order), 5)
        return order

    def failed_saga(self):
        """Its card was declined: stock is released, the order failed."""
        saga = self.forward(self.start_saga("place_order", str(uuid.uuid4())), 2)
        self.run("payment", f"INSERT INTO txc_saga_steps VALUES ('{saga}', 'charge', 'refused')")
        self.record(saga, "COMPENSATION_STARTED", "inventory.reserve", 9, "CARD_DECLINED")
        self.step(saga, "inventory.release")
        self.record(saga, "COMPENSATION_STARTED", "order.create", 10, "CARD_DECLINED")
        self.step(saga, "order.fail")
        self.record(saga, "FAILED", "", 11, "CARD_DECLINED")
        return saga

    def cancelled_by_saga(self, order):
        return self.forward(self.start_saga("cancel_order", order), 4)

    def accepted(self):
        """Accepted in 2PC mode: a PENDING order, then a group under a key of the coordinator's own."""
        order = str(uuid.uuid4())
        saga = self.forward(self.start_saga("place_order_2pc", order, "2pc"), 1)
        self.place(order, scope="accepted")
        self.record(saga, "COMPLETED", "", 2)
        return order

    def order_of(self, saga):
        return self.sagas[saga][1]

    def lives(self):
        self.run("log", "INSERT INTO coordinator_lease VALUES ('c1', now() + interval '1 hour')")

    def found(self, **options):
        options = {"trimming": False, "orphan_age": 0.3, "saga_silence": 0.3, "patience": 10, **options}
        return {(v.invariant, v.check, v.subject) for v in check(self.dsns, **options)}


class CheckerTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.close)

    def test_a_clean_world_gives_nothing(self):
        self.world.place()
        self.world.move(self.world.place(), "cancel")
        self.world.move(self.world.place(), "ship")
        self.world.run("log", self.world.operation(uuid.uuid4(), "place", "refused", ""))
        self.assertEqual(self.world.found(), set())

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

    def test_a_failed_order_tells_its_sagas_reason(self):
        world = self.world
        one, other = world.order_of(world.failed_saga()), world.order_of(world.failed_saga())
        world.run("order", f"UPDATE orders SET reason = 'OUT_OF_STOCK' WHERE order_id = '{one}';"
                           f"UPDATE orders SET reason = 'RESERVATION_EXPIRED' WHERE order_id = '{other}'")
        self.assertEqual(world.found(), {("I10", "reasons_differ", one)})

    def test_an_order_whose_saga_is_gone_is_named(self):
        world = self.world
        saga = world.forward(world.start_saga("place_order", str(uuid.uuid4())), 1)
        world.run("log", f"DELETE FROM saga_instances; UPDATE operations SET outcome = 'pending'")
        order = world.order_of(saga)
        self.assertEqual(world.found(), {("I8", "pending_without_saga", order),
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

    def test_both_halves_of_an_accepted_order_agree(self):
        world = self.world
        other, refused = world.accepted(), world.accepted()
        world.run("order", f"UPDATE orders SET transaction_id = 'txc_other' WHERE order_id = '{other}'")
        world.run("log", f"UPDATE operations SET outcome = 'refused' WHERE scope = 'accepted'"
                         f" AND order_id = '{refused}'")
        self.assertEqual({v for v in world.found() if v[1] != "decision_without_answer"},
                         {("I5", "placed_by_another", other), ("I10", "accepted_differently", refused)})

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
