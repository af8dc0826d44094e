"""A world for the checker's own test: five schemas with orders and sagas in them, written by plain SQL."""
import glob
import os
import secrets
import uuid

import psycopg

from checker import check
from checker_reading import SERVICES

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAMES = SERVICES + ("log",)
PRICE = {"book-1": 500, "book-2": 70}


class World:
    """Five schemas of its own, with orders written by plain SQL."""

    def __init__(self):
        self.schema = "checker_" + secrets.token_hex(6)
        self.dsns, self.sessions, self.seq = {}, {}, 0
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
                     f"INSERT INTO inventory (sku, available) VALUES ('{sku}', 5000000);"
                     f"INSERT INTO stock_ledger (sku, delta, cause) VALUES ('{sku}', 5000000, 'PUT')")
        self.run("payment",
                 "INSERT INTO wallets (customer_id, balance) VALUES ('anna', 900000000), ('bert', 0);"
                 "INSERT INTO wallet_ledger (customer_id, delta, cause) VALUES ('anna', 900000000, 'PUT')")

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

    def found(self, **options):
        options = {"trimming": False, "orphan_age": 0.3, "saga_silence": 0.3, "patience": 10, **options}
        return {(v.invariant, v.check, v.subject) for v in check(self.dsns, **options)}


class SagaWorld(World):
    """Sagas too: what each step leaves, its barrier with it in one transaction."""

    def __init__(self):
        super().__init__()
        self.sagas = {}  # (type, order, mode), by id

    STEPS = {"place_order": ["order.create", "inventory.reserve", "payment.charge", "shipping.arrange",
                             "order.confirm"],
             "cancel_order": ["order.cancel", "shipping.cancel", "payment.refund", "inventory.release"],
             "place_order_2pc": ["order.create", "transact"],
             "place_order_pay_later": ["order.create", "inventory.reserve", "shipping.arrange", "order.confirm",
                                       "payment.charge"]}
    STATUSES = {"place_order": ["STARTED", "ORDER_CREATED", "STOCK_RESERVED", "PAYMENT_COMPLETED",
                                "PAYMENT_COMPLETED", "COMPLETED"],
                "cancel_order": ["STARTED", "ORDER_CANCELLED", "SHIPMENT_CANCELLED", "PAYMENT_REFUNDED",
                                 "COMPLETED"],
                "place_order_2pc": ["STARTED", "ORDER_CREATED", "COMPLETED"],
                "place_order_pay_later": ["STARTED", "ORDER_CREATED", "STOCK_RESERVED", "SHIPMENT_ARRANGED",
                                          "ORDER_CONFIRMED", "COMPLETED"]}

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
        end = ", ended_at = now(), payload = ''" if status in ("COMPLETED", "FAILED") else ""
        outcome = "confirmed" if status == "COMPLETED" else "refused"
        settle = (f"UPDATE operations SET outcome = '{outcome}', reason = '{reason}' WHERE gid = '{saga}'"
                  f" AND outcome = 'pending';")
        if status == "ORDER_CONFIRMED":  # something is due, and its client has the answer
            self.run("log", f"UPDATE operations SET outcome = 'confirmed' WHERE gid = '{saga}'")
        self.run("log",
                 f"BEGIN; UPDATE saga_instances SET status = '{status}', current_step = '{step}',"
                 f" progress = {progress}, reason = '{reason}', updated_at = now()"
                 f"{end} WHERE saga_id = '{saga}';{settle if end else ''}"
                 f"INSERT INTO saga_history (saga_id, n, status, step) VALUES"
                 f" ('{saga}', {progress}, '{status}', '{step}'); COMMIT")

    def barrier(self, saga, step, outcome):
        return (f"INSERT INTO txc_saga_steps (saga_id, step, outcome, order_id)"
                f" VALUES ('{saga}', '{step}', '{outcome}', '{self.sagas[saga][1]}')")

    def step(self, saga, name):
        """One step or compensation in its service: the effects and the barrier in one transaction."""
        _, order, mode = self.sagas[saga]
        service, barrier = name.split(".")
        self.run(service, f"BEGIN; {self.barrier(saga, barrier, 'done')};"
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
            "order.revoke": f"UPDATE orders SET status = 'CANCELLED', reason = 'CARD_DECLINED' {mine}",
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
        self.run("payment", self.barrier(saga, "charge", "refused"))
        self.record(saga, "COMPENSATION_STARTED", "inventory.reserve", 9, "CARD_DECLINED")
        self.step(saga, "inventory.release")
        self.record(saga, "COMPENSATION_STARTED", "order.create", 10, "CARD_DECLINED")
        self.step(saga, "order.fail")
        self.record(saga, "FAILED", "", 11, "CARD_DECLINED")
        return saga

    def revoked_saga(self):
        """Confirmed while its payment was due, then its card was declined."""
        saga = self.forward(self.start_saga("place_order_pay_later", str(uuid.uuid4())), 4)
        self.run("payment", self.barrier(saga, "charge", "refused"))
        for n, (step, undo) in enumerate((("order.confirm", "order.revoke"), ("shipping.arrange", "shipping.cancel"),
                                          ("inventory.reserve", "inventory.release"))):
            self.record(saga, "COMPENSATION_STARTED", step, 7 + n, "CARD_DECLINED")
            self.step(saga, undo)
        self.record(saga, "COMPENSATION_STARTED", "order.create", 10, "CARD_DECLINED")
        self.run("order", self.barrier(saga, "fail", "done"))
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
