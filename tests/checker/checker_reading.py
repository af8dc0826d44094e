"""What the independent checker reads: plain rows of the five databases, by its own SQL."""
from collections import Counter, defaultdict, namedtuple

import psycopg

SERVICES = ("order", "inventory", "payment", "shipping")
# internal: an accepted order's turn in a group, under a key of the coordinator's own.
Operation = namedtuple("Operation", "order_id kind outcome gid key_hash reason internal")
Saga = namedtuple("Saga", "saga_id type order_id status step reason ended stuck trimmed owned quiet sign_of_life")
Decision = namedtuple(
    "Decision", "gid coordinator epoch outcome participants orders complete heuristic decided_at age")


class Unreadable(Exception):
    """A database could not be read; the text names it, and holds no DSN."""


class Reader:
    """One database in one read-only snapshot."""

    def __init__(self, name, dsn):
        try:
            self.connection = psycopg.connect(dsn, connect_timeout=5, application_name="txcoord checker",
                                              autocommit=True)
            self.rows("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            (standby,) = self.rows("SELECT pg_is_in_recovery()")[0]
        except psycopg.Error as error:
            raise Unreadable(f"database '{name}': {error}") from error
        if standby:
            raise Unreadable(f"database '{name}' is a standby")

    def rows(self, sql):
        cursor = self.connection.execute(sql)
        return cursor.fetchall() if cursor.description else []

    def close(self):
        self.connection.close()


class Log:
    """What the log says at one moment."""

    def __init__(self, reader):
        self.installation = reader.rows("SELECT installation FROM txc_installation")[0][0]
        self.operations = [Operation(str(row[0]), *row[1:]) for row in reader.rows(
            "SELECT order_id, kind, outcome, gid, md5(scope || chr(1) || idempotency_key), reason,"
            " scope = 'accepted' FROM operations ORDER BY created_at")]
        self.decisions = {row[0]: Decision(*row[:5], [str(o) for o in row[5]], *row[6:])
                          for row in reader.rows(
            "SELECT gid, coordinator, epoch, outcome, participants, order_ids, completed_at IS NOT NULL,"
            " heuristic, decided_at, extract(epoch FROM now() - decided_at)::float8 FROM decisions")}
        self.epochs = dict(reader.rows("SELECT id, epoch FROM coordinator_epoch"))
        self.heuristics = set(reader.rows("SELECT gid, participant FROM heuristic_outcomes"))
        self.sagas = self.read_sagas(reader)
        self.saga_history = defaultdict(list)
        for saga_id, n, status, step in reader.rows(
                "SELECT saga_id, n, status, step FROM saga_history ORDER BY saga_id, n"):
            self.saga_history[str(saga_id)].append((n, status, step))
        # Sagas that this log has lost, and shows as needing a person: their orders.
        self.lost = {str(saga): str(order) for saga, order in reader.rows(
            "SELECT saga_id, order_id FROM lost_sagas WHERE resolved_at IS NULL")}
        self.sagas_by_order = defaultdict(list)
        for saga in self.sagas.values():
            self.sagas_by_order[saga.order_id].append(saga)
        self.by_order = defaultdict(list)
        for operation in self.operations:
            self.by_order[operation.order_id].append(operation)

    @staticmethod
    def read_sagas(reader):
        """By id. quiet: seconds since its last state, or since its next try was due."""
        leases = dict(reader.rows("SELECT id, expires_at > now() FROM coordinator_lease"))
        epochs = dict(reader.rows("SELECT id, epoch FROM coordinator_epoch"))
        found = {}
        for (saga_id, kind, order_id, status, step, reason, ended, stuck, trimmed, who, epoch, attempts, due,
             quiet) in reader.rows(
                "SELECT saga_id, saga_type, order_id, status, current_step, reason, ended_at IS NOT NULL,"
                " stuck_since IS NOT NULL, barriers_trimmed, coordinator, epoch, attempts, next_retry_at::text,"
                " extract(epoch FROM now() - greatest(updated_at, next_retry_at))::float8 FROM saga_instances"):
            owned = epochs.get(who) == epoch and leases.get(who, False)
            found[str(saga_id)] = Saga(str(saga_id), kind, str(order_id), status, step, reason, ended, stuck,
                                       trimmed, owned, quiet, (who, epoch, attempts, due))
        return found

    def open_sagas(self, order_id):
        return [saga for saga in self.sagas_by_order.get(order_id, ()) if not saga.ended]

    def busy(self, order_id):
        """Something decided on this order is not applied everywhere, or a saga of it is open."""
        if self.open_sagas(order_id):
            return True
        decisions = (self.decisions.get(operation.gid) for operation in self.by_order.get(order_id, ()))
        return any(d and d.outcome == "commit" and not d.complete and not d.heuristic for d in decisions)

    def answers(self, order_id):
        sagas = [saga[:8] + saga.sign_of_life for saga in self.sagas_by_order.get(order_id, ())]
        return sorted(self.by_order.get(order_id, ())), sorted(sagas, key=str)


class State:
    """One reading of everything: the log, the services, the log again."""

    def __init__(self, dsns):
        readers = []

        def open_one(name):
            readers.append(Reader(name, dsns[name]))
            return readers[-1]

        try:
            first = open_one("log")
            services = {name: open_one(name) for name in SERVICES}
            second = open_one("log")
            self.before, self.after = Log(first), Log(second)
            self.read_services(services)
            self.read_branches(services, second)
        except psycopg.Error as error:
            raise Unreadable(str(error)) from error
        finally:
            for reader in readers:
                reader.close()

    def read_services(self, services):
        self.orders = {str(row[0]): row[1:] for row in services["order"].rows(
            "SELECT order_id, status, mode, customer_id, total_amount, transaction_id, coalesce(reason, '')"
            " FROM orders")}
        self.items = defaultdict(list)
        for order_id, sku, quantity, price in services["order"].rows(
                "SELECT order_id, sku, quantity, unit_price FROM order_items"):
            self.items[str(order_id)].append((sku, quantity, price))
        self.reservations = defaultdict(list)
        for order_id, sku, quantity, status in services["inventory"].rows(
                "SELECT order_id, sku, quantity, status FROM reservations"):
            self.reservations[str(order_id)].append((sku, quantity, status))
        self.stock = {row[0]: row[1:] for row in services["inventory"].rows(
            "SELECT sku, available, reserved, shipped FROM inventory")}
        self.stock_ledger = services["inventory"].rows("SELECT sku, delta FROM stock_ledger")
        self.payments = defaultdict(list)
        for order_id, *payment in services["payment"].rows(
                "SELECT order_id, status, payment_method, customer_id, amount, payment_id FROM payments"):
            self.payments[str(order_id)].append(payment)
        self.wallets = dict(services["payment"].rows("SELECT customer_id, balance FROM wallets"))
        self.wallet_ledger = services["payment"].rows("SELECT customer_id, delta FROM wallet_ledger")
        self.captures = {row[0] for row in services["payment"].rows(
            "SELECT payment_id FROM card_outbox WHERE action = 'CAPTURE'")}
        self.barriers, self.barrier_orders = {}, {}
        for name, reader in services.items():
            for saga, step, outcome, order in reader.rows(
                    "SELECT saga_id, step, outcome, order_id FROM txc_saga_steps"):
                self.barriers[name, str(saga), step] = outcome
                if order:
                    self.barrier_orders[str(saga)] = str(order)
        self.shared = any(reader.rows(f"SELECT 1 FROM txc_log_seen WHERE installation <> '{self.after.installation}'"
                                      " AND at > now() - interval '60 seconds'") for reader in services.values())
        self.shipments = defaultdict(list)
        for order_id, status in services["shipping"].rows("SELECT order_id, status FROM shipments"):
            self.shipments[str(order_id)].append(status)

    def read_branches(self, services, log):
        """Witnesses as in the snapshot; prepared branches as they are now, with what they could wait."""
        up = "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8"
        log_up = log.rows(up)[0][0]
        ours = f"txc_{self.after.installation}_"
        self.witnesses, self.prepared, self.up = {}, [], log_up
        for name, reader in services.items():
            self.witnesses[name] = {gid for (gid,) in reader.rows("SELECT gid FROM txc_branch")
                                    if gid.startswith(ours)}
            service_up = reader.rows(up)[0][0]
            self.up = min(self.up, service_up)
            for branch, age in reader.rows(
                    "SELECT gid, extract(epoch FROM clock_timestamp() - prepared)::float8"
                    " FROM pg_prepared_xacts WHERE database = current_database()"):
                if branch.startswith(ours):
                    self.prepared.append((name, branch, min(age, service_up, log_up)))

    def moving(self, order_id):
        return (self.before.answers(order_id) != self.after.answers(order_id) or self.before.busy(order_id)
                or self.after.busy(order_id))

    def seen_orders(self):
        return (set(self.orders) | set(self.items) | set(self.reservations) | set(self.payments)
                | set(self.shipments) | set(self.after.by_order) | set(self.after.sagas_by_order))

    def parts(self, order_id):
        """Which services hold something of this order."""
        tables = zip(SERVICES, (self.orders, self.reservations, self.payments, self.shipments))
        return [name for name, table in tables if table.get(order_id)]

    def confirmed(self, order_id):
        """How often clients were told so, by kind."""
        return Counter(o.kind for o in self.after.by_order.get(order_id, ())
                       if o.outcome == "confirmed" and not o.internal)
