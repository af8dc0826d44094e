"""The verdict over a run, from three sides that share no code: `txcoord audit`, the SQL checker in
tests/checker, and what the clients remember (I2, I5, I10) held against the databases."""
import collections
import json
import os
import random
import sys

from load import RESPOND_ASYNC, Client, send
from stack import PARTICIPANTS, ROOT, SECONDS_TO_END, SECONDS_TO_SETTLE

sys.path.insert(0, os.path.join(ROOT, "tests", "checker"))
import checker  # noqa: E402  (found by the line above)

# What an order's rows must say, by the last thing that its clients were told.
EXPECTED = {
    # status: (reservations, payment by wallet, payment by card, shipment)
    "CONFIRMED": ({"RESERVED"}, {"CAPTURED"}, {"AUTHORIZED", "CAPTURED"}, {"ARRANGED"}),
    "CANCELLED": ({"RELEASED"}, {"REFUNDED"}, {"REFUNDED", "VOIDED"}, {"CANCELLED"}),
    "SHIPPED": ({"SHIPPED"}, {"CAPTURED"}, {"AUTHORIZED", "CAPTURED"}, {"SHIPPED"}),
    "DELIVERED": ({"SHIPPED"}, {"CAPTURED"}, {"AUTHORIZED", "CAPTURED"}, {"DELIVERED"}),
}
AFTER = {"cancel": "CANCELLED", "ship": "SHIPPED", "deliver": "DELIVERED"}
REPLAYS = 25  # keys sent once more in each verdict


class Rows:
    """All business rows, by order."""

    def __init__(self, stack):
        query = {name: database.query for name, database in stack.databases.items()}
        self.orders = {row[0]: row[1:] for row in query["order"](
            "SELECT order_id::text, status, total_amount, customer_id, correlation_id, coalesce(reason, '')"
            " FROM orders")}
        self.items = self._by_order(query["order"]("SELECT order_id::text, sku, quantity FROM order_items"))
        self.reservations = self._by_order(
            query["inventory"]("SELECT order_id::text, sku, quantity, status FROM reservations"))
        self.payments = self._by_order(query["payment"](
            "SELECT order_id::text, customer_id, amount, payment_method, status FROM payments"))
        self.shipments = self._by_order(query["shipping"]("SELECT order_id::text, status FROM shipments"))
        self.operations = {row[0]: row[1:] for row in query["log"](
            "SELECT idempotency_key, outcome, reason, order_id::text FROM operations")}
        self.by_correlation = collections.defaultdict(list)
        for order_id, order in self.orders.items():
            self.by_correlation[order[3]].append(order_id)

    @staticmethod
    def _by_order(rows):
        grouped = collections.defaultdict(list)
        for order_id, *rest in rows:
            grouped[order_id].append(tuple(rest))
        return grouped

    def anywhere(self, order_id):
        places = {"order": self.orders, "inventory": self.reservations, "payment": self.payments,
                  "shipping": self.shipments}
        return [name for name in PARTICIPANTS if places[name].get(order_id)]


def _confirmed_order(rows, request, status):
    """I2: told 201, so it is there, whole, in all four databases."""
    order_id, wanted = request.order_id, request.body["items"]
    order = rows.orders.get(order_id)
    if order is None:
        return f"I2: {order_id} was confirmed and is not in order; it is in {rows.anywhere(order_id)}"
    total = sum(item["quantity"] * item["unit_price"] for item in wanted)
    reserved, by_wallet, by_card, shipped = EXPECTED[status]
    if order[:3] != (status, total, request.body["customer_id"]):
        return f"I2: {order_id} should be {status} {total}, order says {order[:2]}"
    if sorted(rows.items[order_id]) != sorted((item["sku"], item["quantity"]) for item in wanted):
        return f"I2: {order_id} has other items: {rows.items[order_id]}"
    if (sorted(row[:2] for row in rows.reservations[order_id]) != sorted(rows.items[order_id])
            or not {row[2] for row in rows.reservations[order_id]} <= reserved):
        return f"I1: {order_id} is {status}, inventory says {rows.reservations[order_id]}"
    method = request.body["payment_method"]
    payment = rows.payments[order_id]
    if len(payment) != 1 or payment[0][:3] != (request.body["customer_id"], total, method) \
            or payment[0][3] not in (by_wallet if method == "wallet" else by_card):
        return f"I1: {order_id} is {status}, payment says {payment}"
    if len(rows.shipments[order_id]) != 1 or rows.shipments[order_id][0][0] not in shipped:
        return f"I1: {order_id} is {status}, shipping says {rows.shipments[order_id]}"
    return None


def _refused_order(rows, request):
    """A refusal is recorded under its key as it was told. Synchronous 2PC left no row anywhere; a saga, or
    an order that was accepted, left it FAILED, with the reason, and holds nothing."""
    stored = rows.operations.get(request.key)
    if stored is None or stored[:2] != ("refused", request.reason):
        return f"I10: {request.key} was refused {request.reason}, the log says {stored}"
    order = rows.orders.get(stored[2])
    if order and (request.body.get("mode") == "saga" or request.headers == RESPOND_ASYNC):
        held = [*(row for row in rows.reservations[stored[2]] if row[2] != "RELEASED"),
                *(row for row in rows.payments[stored[2]] if row[3] not in ("REFUNDED", "VOIDED")),
                *(row for row in rows.shipments[stored[2]] if row[0] != "CANCELLED")]
        if (order[0], order[4]) != ("FAILED", request.reason):
            return f"I10: {request.key} was refused {request.reason}, its order is {order[0]} {order[4]}"
        return f"I1: {request.key} was refused and holds {held}" if held else None
    if rows.by_correlation.get(request.key) or rows.anywhere(stored[2]):
        return f"I1: {request.key} was refused and has rows in {rows.anywhere(stored[2])}"
    return None


def against_memory(stack, memory):
    """Violations, as text."""
    rows = Rows(stack)
    found = list(memory.contradictions)
    statuses = {request.order_id: "CONFIRMED" for request in memory.of("place", "confirmed")}
    for kind, status in AFTER.items():
        for request in memory.of(kind, "confirmed"):
            statuses[request.order_id] = status
    for request in memory.of("place"):
        if len(rows.by_correlation.get(request.key, [])) > 1:
            found.append(f"I5: {request.key} made orders {rows.by_correlation[request.key]}")
        if request.outcome == "confirmed":
            found.append(_confirmed_order(rows, request, statuses[request.order_id]))
        elif request.outcome == "refused":
            found.append(_refused_order(rows, request))
    return [violation for violation in found if violation]


def replays(memory, port, seed=0):
    """I5, I10: a sample of keys, sent once more, gets the same answers, marked as replays."""
    answered = [request for request in memory.of() if request.outcome is not None]
    client, found = Client(port), []
    for request in random.Random(seed).sample(answered, min(REPLAYS, len(answered))):
        answer = send(client, memory, request)  # a different answer becomes a contradiction there
        if answer.status == 503 or not answer.replayed:
            found.append(f"I10: {request.kind} {request.key}, sent again: {answer.status} {answer.reason}, "
                         f"replayed {answer.replayed}")
    client.close()
    return found


def audit(stack, coordinator):
    """The report of `txcoord audit --json`."""
    done = stack.run("audit", coordinator, "--json")
    report = json.loads(done.stdout)
    assert (done.returncode == 0) == (report["clean"] and not report["unsettled"]), report
    return report


def outside(stack, coordinator):
    """Violations that the two auditors see."""
    report = audit(stack, coordinator)
    found = [f"audit: {violation}" for violation in report["violations"]]
    dsns = {name: database.dsn for name, database in stack.databases.items()}
    return found + [f"checker: {violation}" for violation in checker.check(dsns, trimming=coordinator.trims)]


def verify(stack, coordinator, memory=None, auditors=True, sagas_end=SECONDS_TO_END):
    """The whole verdict; raises AssertionError with everything that was found. Without the auditors
    it is what the clients know: they read all databases, so once for several runs may do."""
    stack.settled(SECONDS_TO_SETTLE)
    stack.sagas_ended(sagas_end)
    found = []
    if memory is not None:
        if coordinator.alive():
            # A call that was lost a moment ago: its database is away until it was reached again.
            coordinator.wait_ready(SECONDS_TO_SETTLE)
            found += replays(memory, coordinator.port)
        found += against_memory(stack, memory)
    if auditors:
        found += outside(stack, coordinator)
    if found:
        raise AssertionError(f"{len(found)} violations:\n" + "\n".join(found[:20]))
