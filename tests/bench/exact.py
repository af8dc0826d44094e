"""The exact pass of ./run compare: after each run, all rows of all four services, once everything has
come to rest. What must be 0 (lasting anomalies, stock and money to the unit), and what really
happened in between, order by order, from the servers' commit timestamps (track_commit_timestamp; one
machine, one clock; a commit is stamped just before it is made durable, so visibility is later by a
flush, for every variant alike).
"""
from collections import Counter, defaultdict, namedtuple

import psycopg

from observer import LIVE, PARTS, SERVICES, UNDONE

Order = namedtuple("Order", "status mode total customer")
Held = namedtuple("Held", "sku quantity status locked_us")
Paid = namedtuple("Paid", "amount status method customer locked_us")
Answer = namedtuple("Answer", "outcome reason order_id intended_us answered_us")

# A server that keeps no stamps raises when it is asked for one.
STAMP = "CASE WHEN current_setting('track_commit_timestamp')::boolean THEN pg_xact_commit_timestamp(xmin) END"
# updated_at is now(): when the row's transaction began. So this is how long it held its locks, waiting
# for them included.
LOCKED = f"coalesce((1e6 * extract(epoch FROM {STAMP} - updated_at))::bigint, -1)"
EVENTS = f"""SELECT order_id, type, coalesce((1e6 * extract(epoch FROM {STAMP}))::bigint, 0)
               FROM events ORDER BY event_id"""
UNDOING_EVENTS = {"OrderFailed", "OrderCancelled", "StockReleased", "PaymentRefunded", "PaymentVoided",
                  "ShippingCancelled"}
LATER_EVENTS = {"OrderShipped", "OrderDelivered", "StockShipped", "ShipmentShipped", "ShipmentDelivered"}


def copied(connection, sql):
    """The rows of a query as lists of text; COPY, because there may be hundreds of thousands."""
    with connection.cursor() as cursor, cursor.copy(f"COPY ({sql}) TO STDOUT") as copy:
        text = b"".join(bytes(block) for block in copy).decode()
    return [line.split("\t") for line in text.splitlines()]


class State:
    """Everything that stands in the four services."""

    def __init__(self, dsns):
        def rows(service, sql):
            with psycopg.connect(dsns[service], autocommit=True, application_name="observer") as connection:
                return copied(connection, sql)

        self.orders = {r[0]: Order(r[1], r[2], int(r[3]), r[4]) for r in rows(
            "order", "SELECT order_id, status, mode, total_amount, customer_id FROM orders")}
        self.items = defaultdict(Counter)
        for order_id, sku, quantity in rows("order", "SELECT order_id, sku, quantity FROM order_items"):
            self.items[order_id][sku] += int(quantity)
        self.reserved = defaultdict(list)
        for r in rows("inventory", f"SELECT order_id, sku, quantity, status, {LOCKED} FROM reservations"):
            self.reserved[r[0]].append(Held(r[1], int(r[2]), r[3], int(r[4])))
        self.payments = {r[0]: Paid(int(r[1]), r[2], r[3], r[4], int(r[5])) for r in rows(
            "payment", f"SELECT order_id, amount, status, payment_method, customer_id, {LOCKED} FROM payments")}
        self.shipments = dict(rows("shipping", "SELECT order_id, status FROM shipments"))
        self.stock = {r[0]: tuple(map(int, r[1:])) for r in rows(
            "inventory", "SELECT sku, available, reserved, shipped FROM inventory")}
        self.stock_ledger = {r[0]: int(r[1]) for r in rows(
            "inventory", "SELECT sku, sum(delta) FROM stock_ledger GROUP BY sku")}
        self.wallets = {r[0]: int(r[1]) for r in rows("payment", "SELECT customer_id, balance FROM wallets")}
        self.wallet_ledger = {r[0]: int(r[1]) for r in rows(
            "payment", "SELECT customer_id, sum(delta) FROM wallet_ledger GROUP BY customer_id")}
        self.events = {name: rows(name, EVENTS) for name in SERVICES}
        self.prepared = sum(int(rows(name, "SELECT count(*) FROM pg_prepared_xacts"
                                           " WHERE database = current_database()")[0][0]) for name in SERVICES)

    def statuses(self, order_id):
        """{service: {status}} of what is there of an order."""
        found = {"inventory": {held.status for held in self.reserved.get(order_id, ())}}
        if order_id in self.orders:
            found["order"] = {self.orders[order_id].status}
        if order_id in self.payments:
            found["payment"] = {self.payments[order_id].status}
        if order_id in self.shipments:
            found["shipping"] = {self.shipments[order_id]}
        return {name: statuses for name, statuses in found.items() if statuses}

    def order_ids(self):
        return set(self.orders) | set(self.reserved) | set(self.payments) | set(self.shipments)


def read_answers(path):
    """{key: Answer} as the load generator wrote it."""
    answers = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            key, outcome, reason, order_id, intended, answered = line.rstrip("\n").split(",")
            answers[key] = Answer(outcome, reason, order_id, int(intended), int(answered))
    return answers


# --- what must be 0 -------------------------------------------------------------------------------

def lasting(state, answers):
    """Anomalies that stay, by kind; all of them are 0 in a correct run."""
    found = Counter({name: 0 for name in (
        "pending_left", "prepared_left", "torn_for_good", "goods_without_money_for_good",
        "money_without_goods_for_good", "items_not_as_ordered", "amount_not_as_ordered", "orders_lost",
        "orders_nobody_confirmed")})
    found["prepared_left"] = state.prepared
    for order_id in state.order_ids():
        judge_at_rest(state, order_id, found)
    confirmed = {a.order_id for a in answers.values() if a.outcome == "confirmed"}
    unknown = sum(a.outcome == "unknown" for a in answers.values())
    live = {order_id for order_id, order in state.orders.items() if order.status in LIVE}
    found["orders_lost"] = len(confirmed - live)
    # Who got no answer may have an order; nobody else may.
    found["orders_nobody_confirmed"] = max(0, len(live - confirmed) - unknown)
    return dict(found)


def judge_at_rest(state, order_id, found):
    statuses = state.statuses(order_id)
    order = state.orders.get(order_id)
    if order and order.status == "PENDING":
        found["pending_left"] += 1
        return
    live = bool(order) and order.status in LIVE
    standing = {name for name in PARTS if statuses.get(name, set()) - UNDONE[name]}
    if standing != (set(PARTS) if live else set()):
        found["torn_for_good"] += 1
    found["goods_without_money_for_good"] += "inventory" in standing and "payment" not in standing
    found["money_without_goods_for_good"] += "payment" in standing and "inventory" not in standing
    if not live:
        return
    reserved = Counter()
    for held in state.reserved.get(order_id, ()):
        reserved[held.sku] += held.quantity
    found["items_not_as_ordered"] += reserved != state.items.get(order_id, Counter())
    paid = state.payments.get(order_id)
    found["amount_not_as_ordered"] += paid is not None and paid.amount != order.total


def balances(state):
    """Stock and money against their ledgers, in units: all of it is 0 when they are exact."""
    promised, taken = defaultdict(Counter), Counter()
    for reservations in state.reserved.values():
        for held in reservations:
            promised[held.sku][held.status] += held.quantity
    stock_off = oversold = 0
    for sku, (available, reserved, shipped) in state.stock.items():
        loaded = state.stock_ledger.get(sku, 0)
        stock_off += abs(available + reserved + shipped - loaded)
        stock_off += abs(reserved - promised[sku]["RESERVED"]) + abs(shipped - promised[sku]["SHIPPED"])
        oversold += max(0, promised[sku]["RESERVED"] + promised[sku]["SHIPPED"] - loaded)
    for paid in state.payments.values():
        if paid.method == "wallet" and paid.status == "CAPTURED":
            taken[paid.customer] += paid.amount
    money_off = sum(abs(balance - state.wallet_ledger.get(customer, 0) + taken[customer])
                    for customer, balance in state.wallets.items())
    owed = sum(order.total for order in state.orders.values() if order.status in LIVE)
    charged = sum(p.amount for p in state.payments.values() if p.status in ("CAPTURED", "AUTHORIZED"))
    negative = sum(min(row) < 0 for row in state.stock.values()) + sum(b < 0 for b in state.wallets.values())
    return {"stock_off_units": stock_off, "oversold_units": oversold, "money_off_units": money_off,
            "charged_minus_owed": charged - owed, "negative_balances": negative}


# --- what happened in between ---------------------------------------------------------------------

class Timeline:
    """When each part of an order came and went: microseconds of the machine's clock."""

    __slots__ = ("came", "gone", "confirmed", "last")

    def __init__(self):
        self.came, self.gone, self.confirmed, self.last = {}, {}, None, 0


def timelines(state):
    lines = defaultdict(Timeline)
    for service, events in state.events.items():
        for order_id, kind, at in events:
            at = int(at)
            if not at:
                raise RuntimeError("the servers keep no commit timestamps (track_commit_timestamp)")
            line = lines[order_id]
            line.last = max(line.last, at)
            if kind in UNDOING_EVENTS:
                line.gone.setdefault(service, at)
            elif kind not in LATER_EVENTS:
                line.came.setdefault(service, at)
                if kind == "OrderConfirmed":
                    line.confirmed = at
    return lines


def quantiles(values):
    """{count, p50, p99, max, sum} in milliseconds of microseconds, or None."""
    if not values:
        return None
    ordered = sorted(values)
    pick = {"p50": ordered[(len(ordered) - 1) // 2], "p99": ordered[int(0.99 * (len(ordered) - 1))],
            "max": ordered[-1], "sum": sum(ordered)}
    return {"count": len(ordered), **{f"{name}_ms": round(value / 1000, 3) for name, value in pick.items()}}


def between(state, lines, answers, measured_us=(0, float("inf"))):
    """What was visible in between, of all orders, whether somebody looked or not; latency until all four
    services show an order, of those meant to be sent in the measured part."""
    windows, unfinished, held, charged, applied = [], [], [], [], []
    units_ms = money_ms = 0
    begin, end = measured_us
    intended = {a.order_id: a.intended_us for a in answers.values() if a.order_id and begin <= a.intended_us < end}
    for order_id, line in lines.items():
        order = state.orders.get(order_id)
        if order and order.status in LIVE and line.confirmed and set(line.came) == set(SERVICES):
            whole = max(max(line.came.values()), line.confirmed)
            windows.append(whole - min(line.came.values()))
            late = whole - line.confirmed
            if late > 0:
                unfinished.append(late)
            if order_id in intended:
                applied.append(whole - intended[order_id])
        elif not order or order.status == "FAILED":
            if "inventory" in line.came and "inventory" in line.gone:
                held.append(line.gone["inventory"] - line.came["inventory"])
                units_ms += held[-1] * sum(h.quantity for h in state.reserved.get(order_id, ())) / 1000
            if "payment" in line.came and "payment" in line.gone:
                charged.append(line.gone["payment"] - line.came["payment"])
                paid = state.payments.get(order_id)
                money_ms += charged[-1] * (paid.amount if paid else 0) / 1000
    return {
        "orders_live": len(windows),
        "in_some_services_only": quantiles([window for window in windows if window > 0]),
        "confirmed_before_whole": quantiles(unfinished),
        "applied_latency": quantiles(applied),
        "stock_held_then_freed": quantiles(held), "stock_held_unit_seconds": round(units_ms / 1000, 3),
        "money_taken_then_given_back": quantiles(charged), "money_taken_unit_seconds": round(money_ms / 1000, 3),
        "stock_locked": quantiles([h.locked_us for hs in state.reserved.values() for h in hs if h.locked_us >= 0]),
        "wallet_locked": quantiles([p.locked_us for p in state.payments.values() if p.locked_us >= 0]),
    }


def seconds_to_settle(lines, moment_us):
    """From a moment (the end of a fault) until all that was under way then had come to its end."""
    started = [line for order_id, line in lines.items() if started_us(order_id) <= moment_us]
    return round(max(0.0, max((line.last for line in started), default=0) - moment_us) / 1e6, 3)


def started_us(order_id):
    """When an order id was made: the first 48 bits of a uuid v7 are milliseconds."""
    return 1000 * int(order_id.replace("-", "")[:12], 16)


def exact_pass(dsns, answers, measured_us=(0, float("inf")), fault_end_us=None):
    state = State(dsns)
    lines = timelines(state)
    result = {"lasting": lasting(state, answers), "balances": balances(state),
              "between": between(state, lines, answers, measured_us),
              "statuses": dict(Counter(order.status for order in state.orders.values()))}
    if fault_end_us is not None:
        result["seconds_to_settle"] = seconds_to_settle(lines, fault_end_us)
    return result
