"""The world that the observer's tests look at: the four services' schemas on the servers of run.d/with-pg.sh,
and orders written into them by plain SQL, as the services write them.
"""
import glob
import os
import secrets
import subprocess
import tempfile
import uuid

import psycopg

import exact
import observer
from observer import SERVICES

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOTAL = 300  # of every order here: three pieces of "book" at 100


def keep_commit_timestamps():
    """The servers keep commit timestamps, as those of ./run compare do."""
    for name in SERVICES:
        with psycopg.connect(os.environ[f"TXC_TEST_DSN_{name.upper()}"] + " user=postgres", autocommit=True) as session:
            session.execute("ALTER SYSTEM SET track_commit_timestamp = on")
        subprocess.run([os.environ["TXC_TEST_PGCTL"], "restart", name], check=True, timeout=60,
                       stdin=subprocess.DEVNULL)


class World:
    """The four services' schemas, an observer whose clock is a counter, and orders by plain SQL."""

    def __init__(self):
        self.schema = "observer_" + secrets.token_hex(6)
        self.dsns, self.sessions = {}, {}
        for name in SERVICES:
            server = os.environ["TXC_TEST_DSN_" + name.upper()]
            with psycopg.connect(server, autocommit=True) as session:
                session.execute(f"CREATE SCHEMA {self.schema}")
            self.dsns[name] = f"{server} options='-csearch_path={self.schema} -csynchronous_commit=off'"
            self.sessions[name] = psycopg.connect(self.dsns[name], autocommit=True)
            for path in sorted(glob.glob(f"{ROOT}/schemas/{name}/[0-9]*.sql")):
                with open(path, encoding="utf-8") as file:
                    self.sessions[name].execute(file.read())
        self.run("inventory", "INSERT INTO inventory (sku, unit_price, available) VALUES ('book', 100, 50)")
        self.run("inventory", "INSERT INTO stock_ledger (sku, delta, cause) VALUES ('book', 50, 'PUT')")
        self.run("payment", "INSERT INTO wallets (customer_id, balance) VALUES ('anna', 9000)")
        self.run("payment", "INSERT INTO wallet_ledger (customer_id, delta, cause) VALUES ('anna', 9000, 'PUT')")
        self.now = 0
        self.readers = {name: observer.Reader(name, dsn, self.tick) for name, dsn in self.dsns.items()}
        self.look()

    def tick(self):
        self.now += 1
        return self.now

    def close(self):
        for name, session in self.sessions.items():
            self.readers[name].close()
            for (gid,) in session.execute("SELECT gid FROM pg_prepared_xacts"
                                          " WHERE database = current_database()").fetchall():
                session.execute(f"ROLLBACK PREPARED '{gid}'")
            session.execute(f"DROP SCHEMA {self.schema} CASCADE")
            session.close()

    def run(self, service, *statements):
        """The statements in one transaction."""
        with self.sessions[service].transaction():
            for statement in statements:
                self.sessions[service].execute(statement)

    # --- what services write: the change and its event in one transaction ---------------------------
    def event(self, order, kind, stamped):
        return (f"INSERT INTO events (order_id, type, correlation_id{', at' if stamped else ''})"
                f" VALUES ('{order}', '{kind}', ''{', now()' if stamped else ''})")

    def order(self, order, status, kind=None):
        kind = kind or {"PENDING": "OrderCreated", "CONFIRMED": "OrderConfirmed", "FAILED": "OrderFailed",
                        "CANCELLED": "OrderCancelled"}[status]
        self.run("order", f"""
            INSERT INTO orders (order_id, customer_id, status, mode, total_amount, transaction_id, correlation_id,
                                created_at, updated_at)
            VALUES ('{order}', 'anna', '{status}', 'saga', {TOTAL}, '', '', now(), now())
            ON CONFLICT (order_id) DO UPDATE SET status = excluded.status""", f"""
            INSERT INTO order_items VALUES ('{order}', 1, 'book', 3, 100) ON CONFLICT DO NOTHING""",
                 self.event(order, kind, True))

    def reserve(self, order, quantity=3):
        self.run("inventory", *self.reserve_sql(order, quantity))

    def reserve_sql(self, order, quantity=3):
        return (f"INSERT INTO reservations (reservation_id, order_id, sku, quantity, status, created_at)"
                f" VALUES (gen_random_uuid(), '{order}', 'book', {quantity}, 'RESERVED', now())",
                f"UPDATE inventory SET available = available - {quantity}, reserved = reserved + {quantity}",
                self.event(order, "StockReserved", False))

    def release(self, order):
        self.run("inventory", f"UPDATE reservations SET status = 'RELEASED' WHERE order_id = '{order}'",
                 "UPDATE inventory SET available = available + 3, reserved = reserved - 3",
                 self.event(order, "StockReleased", False))

    def pay(self, order, amount=TOTAL):
        self.run("payment", f"INSERT INTO payments (payment_id, order_id, customer_id, amount, payment_method, status,"
                            f" created_at) VALUES (gen_random_uuid(), '{order}', 'anna', {amount}, 'wallet',"
                            f" 'CAPTURED', now())",
                 f"UPDATE wallets SET balance = balance - {amount}", self.event(order, "PaymentCaptured", False))

    def refund(self, order):
        self.run("payment", f"UPDATE payments SET status = 'REFUNDED' WHERE order_id = '{order}'",
                 f"UPDATE wallets SET balance = balance + {TOTAL}", self.event(order, "PaymentRefunded", False))

    def ship(self, order):
        self.run("shipping", f"""
            INSERT INTO shipments (shipment_id, order_id, shipping_address, tracking_number, carrier, status,
                                   created_at, updated_at)
            VALUES (gen_random_uuid(), '{order}', '{{}}', gen_random_uuid()::text, 'x', 'ARRANGED', now(), now())""",
                 self.event(order, "ShippingArranged", True))

    def unship(self, order):
        self.run("shipping", f"UPDATE shipments SET status = 'CANCELLED' WHERE order_id = '{order}'",
                 self.event(order, "ShippingCancelled", True))

    def place(self):
        """A whole order; nobody looks meanwhile."""
        order = str(uuid.uuid4())
        self.reserve(order)
        self.pay(order)
        self.ship(order)
        self.order(order, "CONFIRMED")
        return order

    # --- what is found --------------------------------------------------------------------------
    def look(self, *services):
        for name in services or SERVICES:
            self.readers[name].sample()

    def seen(self):
        self.look()
        return observer.findings(self.readers)

    def counts(self):
        return self.seen()["counts"]

    def answers(self, *rows):
        """What clients were told: (key, outcome, order id) each, through the file that they write."""
        with tempfile.NamedTemporaryFile("w", suffix=".csv", encoding="utf-8") as file:
            for key, outcome, order in rows:
                file.write(f"{key},{outcome},,{order},1,2\n")
            file.flush()
            return exact.read_answers(file.name)

    def at_rest(self, *rows):
        """What is not 0 in the exact pass."""
        state = exact.State(self.dsns)
        found = {**exact.lasting(state, self.answers(*rows)), **exact.balances(state)}
        return {name: count for name, count in found.items() if count}
