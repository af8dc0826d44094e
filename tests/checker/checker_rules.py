"""The independent checker's rules, each small and named by what holds when it is silent.

Rules of one order get (state, order_id) and yield (invariant, name, what was found). Rules of a
whole reading get the state and yield violations.
"""
from collections import Counter, defaultdict, namedtuple

from checker_reading import SERVICES

Violation = namedtuple("Violation", "invariant check subject found")

# --- checks of one order: each yields (invariant, name, what was found) -----------------------------

LIVE = ("CONFIRMED", "SHIPPED", "DELIVERED", "CANCELLED")


def revoked(state, order_id):
    """Confirmed while something of it was due, and cancelled when that was refused: the row says why."""
    order = state.orders.get(order_id)
    if not order or order[0] != "CANCELLED" or not order[5]:
        return False
    # As long as the log has its saga: by one that can.
    return not any(saga.type == "place_order" for saga in state.after.sagas_by_order.get(order_id, ()))


def order_is_whole_or_absent(state, order_id):
    parts = state.parts(order_id)
    if "order" not in parts:
        names = {"inventory": "reservation_without_order", "payment": "payment_without_order",
                 "shipping": "shipment_without_order"}
        for part in parts:
            yield "I1", names[part], f"found only in {parts}"
        if state.items.get(order_id):
            yield "I1", "items_without_order", str(state.items[order_id])
        return
    status = state.orders[order_id][0]
    if status not in LIVE:
        return
    names = {"inventory": "reservation_missing", "payment": "payment_missing", "shipping": "shipment_missing"}
    for service in SERVICES[1:]:
        if service not in parts and not (service in ("payment", "shipping") and revoked(state, order_id)):
            yield "I1", names[service], f"{status}, found only in {parts}"
    if not state.items.get(order_id):
        yield "I1", "order_without_items", status


def order_has_one_payment_and_shipment(state, order_id):
    for name, rows in (("payments", state.payments), ("shipments", state.shipments)):
        if len(rows.get(order_id, ())) > 1:
            yield "I5", "done_twice", f"{len(rows[order_id])} {name}"


def reserved_is_what_was_ordered(state, order_id):
    if order_id not in state.orders or not state.reservations.get(order_id):
        return
    ordered = Counter()
    for sku, quantity, _ in state.items.get(order_id, ()):
        ordered[sku] += quantity
    reserved = Counter()
    for sku, quantity, _ in state.reservations[order_id]:
        reserved[sku] += quantity
    if ordered != reserved:
        yield "I1", "items_differ", f"ordered {dict(ordered)}, reserved {dict(reserved)}"


def paid_is_what_was_ordered(state, order_id):
    if order_id not in state.orders:
        return
    _, _, customer, total, _, _ = state.orders[order_id]
    items = state.items.get(order_id)
    if items and sum(quantity * price for _, quantity, price in items) != total:
        yield "I1", "total_differs", f"total {total}, items {items}"
    for _, _, payer, amount, _ in state.payments.get(order_id, ()):
        if amount != total:
            yield "I1", "amount_differs", f"total {total}, paid {amount}"
        if payer != customer:
            yield "I1", "payer_differs", f"ordered by {customer}, paid by {payer}"


def statuses_agree(state, order_id):
    if order_id not in state.orders:
        return
    status = state.orders[order_id][0]
    undone = status in ("CANCELLED", "FAILED")
    if status == "PENDING":
        return
    reservation = "RELEASED" if undone else "RESERVED" if status == "CONFIRMED" else "SHIPPED"
    payment = ("REFUNDED", "VOIDED") if undone else ("CAPTURED", "AUTHORIZED")
    shipment = "CANCELLED" if undone else "ARRANGED" if status == "CONFIRMED" else status
    wrong = [row for row in state.reservations.get(order_id, ()) if row[2] != reservation]
    wrong += [row[0] for row in state.payments.get(order_id, ()) if row[0] not in payment]
    wrong += [row for row in state.shipments.get(order_id, ()) if row != shipment]
    if wrong:
        yield "I1", "statuses_disagree", f"order {status}, but {wrong}"


def confirmed_is_there(state, order_id):
    if state.confirmed(order_id)["place"] and not state.parts(order_id):
        yield "I2", "confirmed_but_absent", "the log says confirmed; no service has it"


def refused_is_absent(state, order_id):
    answers = {o.outcome for o in state.after.by_order.get(order_id, ()) if o.kind == "place" and not o.internal}
    if "refused" not in answers:
        return
    if "confirmed" in answers:
        yield "I10", "refused_and_confirmed", "both answers are in the log"
    elif state.parts(order_id) and state.orders.get(order_id, ("",))[0] != "FAILED":
        yield "I10", "refused_but_present", f"found in {state.parts(order_id)}"


def status_is_what_was_answered(state, order_id):
    done = state.confirmed(order_id)
    if order_id not in state.orders or not done:
        return
    expected = ("DELIVERED" if done["deliver"] else "SHIPPED" if done["ship"] else
                "CANCELLED" if done["cancel"] or revoked(state, order_id) else "CONFIRMED")
    status = state.orders[order_id][0]
    if status != expected:
        steps = {"CONFIRMED": 1, "CANCELLED": 2, "SHIPPED": 2, "DELIVERED": 3}
        if steps.get(status, 0) > steps[expected]:
            yield "I4", "moved_without_decision", f"answered {expected}, found {status}"
        else:
            yield "I2", "answer_lost", f"answered {expected}, found {status}"


def history_is_legal(state, order_id):
    done = state.confirmed(order_id)
    if done["place"] > 1:
        yield "I5", "placed_twice", f"{done['place']} confirmed operations"
    for kind in ("cancel", "ship", "deliver"):
        if done[kind] > 1:
            yield "I9", "moved_twice", f"{done[kind]} confirmed: {kind}"
    if done["cancel"] and (done["ship"] or done["deliver"]):
        yield "I9", "cancelled_and_shipped", str(dict(done))


def placed_by_its_transaction(state, order_id):
    if order_id not in state.orders:
        return
    placed_by = state.orders[order_id][4]
    placing = [o for o in state.after.by_order.get(order_id, ()) if o.kind == "place"]
    # An accepted order carries the gid of its group.
    halves = [o for o in placing if o.internal] or placing
    for operation in halves:
        if operation.outcome == "confirmed" and operation.gid != placed_by:
            yield "I5", "placed_by_another", f"log {operation.gid}, order {placed_by}"


def both_halves_of_an_accepted_order_agree(state, order_id):
    placing = [o for o in state.after.by_order.get(order_id, ()) if o.kind == "place"]
    told = {o.outcome for o in placing if not o.internal} - {"pending"}
    for half in placing:
        if half.internal and told and told != {half.outcome}:
            yield "I10", "accepted_differently", f"its group {half.outcome} it, its client was told {told}"


def sagas_ended_as_the_order_says(state, order_id):
    status, reason = "", ""
    if order_id in state.orders:
        status, reason = state.orders[order_id][0], state.orders[order_id][5]
    for saga in state.after.sagas_by_order.get(order_id, ()):
        if saga.status == "FAILED" and revoked(state, order_id) and reason == saga.reason:
            continue
        wrong = {("cancel_order", "COMPLETED"): status != "CANCELLED",
                 ("cancel_order", "FAILED"): False}.get(
            (saga.type, saga.status), status not in ("", "FAILED") if saga.status == "FAILED" else status not in LIVE)
        if wrong:
            yield "I8", "saga_and_order_disagree", f"{saga.type} {saga.status}, order {status or 'absent'}"
        elif saga.type != "cancel_order" and status == "FAILED" and reason not in (saga.reason,
                                                                                 "RESERVATION_EXPIRED"):
            yield "I10", "reasons_differ", f"the order failed for {reason}, its saga for {saga.reason}"


def pending_has_a_saga(state, order_id):
    known = state.after.by_order.get(order_id) or not state.shared
    if known and state.orders.get(order_id, ("",))[0] == "PENDING" and not state.after.sagas_by_order.get(order_id):
        yield "I8", "pending_without_saga", "nobody will bring it to an end"


def open_sagas_are_worked_on(state, order_id, silence):
    """Of an order with an open saga nothing else is judged: the rest is on its way. (What was found is
    the same in two readings only if nobody tried anything in between.)"""
    for saga in state.after.open_sagas(order_id):
        if saga.quiet > silence and not saga.stuck:
            name = "saga_silent" if saga.owned else "saga_abandoned"
            yield "I8", name, f"{saga.type} {saga.saga_id} at {saga.status}, {saga.sign_of_life}"


ORDER_CHECKS = (order_is_whole_or_absent, order_has_one_payment_and_shipment, reserved_is_what_was_ordered,
                paid_is_what_was_ordered, statuses_agree, confirmed_is_there, refused_is_absent,
                status_is_what_was_answered, history_is_legal, placed_by_its_transaction,
                both_halves_of_an_accepted_order_agree, sagas_ended_as_the_order_says, pending_has_a_saga)


# --- checks of a whole database, or of the log: each yields violations ------------------------------

def stock_is_conserved(state):
    ledger = Counter()
    for sku, delta in state.stock_ledger:
        ledger[sku] += delta
    for sku in set(ledger) | set(state.stock):
        held = state.stock.get(sku, (0, 0, 0))
        if sum(held) != ledger[sku] or sku not in state.stock:
            yield Violation("I6", "stock_not_conserved", sku, f"held {held}, ledger {ledger[sku]}")


def reservations_are_the_reserved(state):
    sums = defaultdict(Counter)
    for rows in state.reservations.values():
        for sku, quantity, status in rows:
            sums[sku][status] += quantity
    for sku in set(sums) | set(state.stock):
        _, reserved, shipped = state.stock.get(sku, (0, 0, 0))
        if (reserved, shipped) != (sums[sku]["RESERVED"], sums[sku]["SHIPPED"]):
            yield Violation("I6", "reserved_differs", sku,
                            f"reserved {reserved}, shipped {shipped}, reservations {dict(sums[sku])}")


def wallets_are_conserved(state):
    expected = Counter()
    for customer, delta in state.wallet_ledger:
        expected[customer] += delta
    for payments in state.payments.values():
        for status, method, customer, amount, _ in payments:
            if (status, method) == ("CAPTURED", "wallet"):
                expected[customer] -= amount
    for customer in set(expected) | set(state.wallets):
        if state.wallets.get(customer) != expected[customer]:
            yield Violation("I6", "wallet_not_conserved", customer,
                            f"balance {state.wallets.get(customer)}, expected {expected[customer]}")


def nothing_is_negative(state):
    for sku, held in state.stock.items():
        if min(held) < 0:
            yield Violation("I6", "stock_negative", sku, str(held))
    for customer, balance in state.wallets.items():
        if balance < 0:
            yield Violation("I6", "wallet_negative", customer, str(balance))


def authorised_will_be_captured(state):
    for order_id, payments in state.payments.items():
        for status, _, _, _, payment_id in payments:
            if status == "AUTHORIZED" and payment_id not in state.captures:
                yield Violation("I1", "capture_forgotten", order_id, "AUTHORIZED, and no capture is due")


def keys_are_used_once(state):
    for key_hash, times in Counter(o.key_hash for o in state.after.operations).items():
        if times > 1:
            yield Violation("I5", "key_used_twice", key_hash, f"{times} rows")


def a_gid_has_one_outcome(state):
    for gid, decision in state.after.decisions.items():
        witnesses = [name for name in SERVICES if gid in state.witnesses[name]]
        if decision.outcome == "abort" and witnesses:
            yield Violation("I3", "committed_and_aborted", gid, f"tombstone, and committed in {witnesses}")
        if decision.outcome == "commit" and not set(witnesses) <= set(decision.participants):
            yield Violation("I4", "committed_outside_decision", gid,
                            f"{witnesses}, decided {decision.participants}")
    for operation in state.after.operations:
        decision = state.after.decisions.get(operation.gid)
        if operation.outcome == "confirmed" and decision and decision.outcome == "abort":
            yield Violation("I3", "confirmed_and_aborted", operation.gid, operation.order_id)
        if operation.outcome == "confirmed" and decision and decision.outcome == "commit" \
                and operation.order_id not in decision.orders:
            yield Violation("I3", "order_not_in_decision", operation.gid, operation.order_id)


def witnesses_match_decisions(state):
    """Only with trimming off: every decision has its witnesses, every witness its decision."""
    for name in SERVICES:
        for gid in state.witnesses[name] - set(state.after.decisions) - set(state.before.decisions):
            yield Violation("I4", "committed_without_decision", gid, f"witness in {name}")
    for gid, decision in state.before.decisions.items():
        if decision.outcome == "commit" and decision.complete:
            for name in decision.participants:
                if gid not in state.witnesses[name] and (gid, name) not in state.after.heuristics:
                    yield Violation("I1", "witness_missing", gid, f"no witness in {name}")
    for operation in state.after.operations:
        if operation.outcome == "confirmed" and operation.gid not in state.after.decisions \
                and operation.gid not in state.after.sagas:
            yield Violation("I4", "confirmed_without_decision", operation.gid, operation.order_id)


def nothing_is_left_prepared(state, orphan_age):
    for name, branch, age in state.prepared:
        gid, _, suffix = branch.rpartition("_")
        if suffix != name:
            yield Violation("I7", "prepared_in_wrong_database", branch, f"prepared in {name}")
        elif age > orphan_age and (gid, name) not in state.after.heuristics:
            yield Violation("I7", "prepared_too_long", branch, f"{age:.1f} s in {name}")


def nothing_decided_waits(state, orphan_age):
    shown = {gid for gid, _ in state.after.heuristics}
    for gid, decision in state.after.decisions.items():
        waits = decision.outcome == "commit" and not decision.complete and not decision.heuristic
        if waits and gid not in shown and min(decision.age, state.up) > orphan_age:
            yield Violation("I7", "decided_not_applied", gid, f"decided {decision.age:.1f} s ago")


def fenced_epochs_decide_nothing(state):
    first = {}
    for d in state.after.decisions.values():
        if d.outcome == "commit":
            key = (d.coordinator, d.epoch)
            first[key] = min(first.get(key, d.decided_at), d.decided_at)
    for gid, d in state.after.decisions.items():
        parts = gid.split("_")
        if len(parts) != 6 or parts[1:4] != [state.after.installation, d.coordinator, str(d.epoch)]:
            yield Violation("I3", "gid_malformed", gid, f"recorded for {d.coordinator}, epoch {d.epoch}")
        if d.epoch > state.after.epochs.get(d.coordinator, 0):
            yield Violation("I11", "epoch_never_granted", gid,
                            f"epoch is {state.after.epochs.get(d.coordinator)}")
        later = [when for (who, epoch), when in first.items() if who == d.coordinator and epoch > d.epoch]
        if d.outcome == "commit" and later and d.decided_at > min(later):
            yield Violation("I11", "decided_after_fence", gid,
                            f"{d.decided_at}, a later epoch had decided at {min(later)}")


WHOLE_CHECKS = (stock_is_conserved, reservations_are_the_reserved, wallets_are_conserved,
                nothing_is_negative, authorised_will_be_captured, keys_are_used_once, a_gid_has_one_outcome,
                fenced_epochs_decide_nothing)
