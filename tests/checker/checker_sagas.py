"""The independent checker's rules of whole sagas (I8, I10): the instance, its history and its key in the
log, and the barriers in the services. Each gets a reading and yields violations."""
from collections import defaultdict

from checker_rules import Violation

# type: (step in the log, service, its barrier, the barrier of what undoes it), in order. A group is a
# step without a barrier here.
PLANS = {
    "place_order": (("order.create", "order", "create", "fail"),
                    ("inventory.reserve", "inventory", "reserve", "release"),
                    ("payment.charge", "payment", "charge", "refund"),
                    ("shipping.arrange", "shipping", "arrange", "cancel"),
                    ("order.confirm", "order", "confirm", None)),
    "cancel_order": (("order.cancel", "order", "cancel", None),
                     ("shipping.cancel", "shipping", "cancel", None),
                     ("payment.refund", "payment", "refund", None),
                     ("inventory.release", "inventory", "release", None)),
    "place_order_2pc": (("order.create", "order", "create", "fail"), ("transact", None, None, None)),
}
# Degraded modes: what an operator postponed comes after the confirmation, which can be revoked then.
CREATE, RESERVE, CHARGE, ARRANGE = PLANS["place_order"][:4]
CONFIRM = ("order.confirm", "order", "confirm", "revoke")
PLANS.update(place_order_pay_later=(CREATE, RESERVE, ARRANGE, CONFIRM, CHARGE),
             place_order_ship_by_hand=(CREATE, RESERVE, CHARGE, CONFIRM, ARRANGE),
             place_order_pay_later_ship_by_hand=(CREATE, RESERVE, CONFIRM, CHARGE, ARRANGE))


def ended_means_completed_or_failed(state):
    for saga in state.after.sagas.values():
        if saga.ended != (saga.status in ("COMPLETED", "FAILED")):
            yield Violation("I8", "ended_otherwise", saga.saga_id, f"ended {saga.ended}, {saga.status}")


def history_leads_to_the_state(state):
    for saga in state.after.sagas.values():
        history = state.after.saga_history[saga.saga_id]
        if not history or history[-1][1:] != (saga.status, saga.step):
            yield Violation("I8", "history_differs", saga.saga_id, f"{saga.status} {saga.step}, {history[-1:]}")


def keys_say_what_sagas_say(state):
    by_gid = defaultdict(list)
    for operation in state.after.operations:
        by_gid[operation.gid].append(operation)
    for saga in state.after.sagas.values():
        # What was confirmed while something of it was due stays so under its key.
        confirmed = any(status == "ORDER_CONFIRMED" for _, status, _ in state.after.saga_history[saga.saga_id])
        wanted = ("confirmed" if confirmed or saga.status == "COMPLETED" else
                  "refused" if saga.ended else "pending")
        keys = by_gid[saga.saga_id]
        right = len(keys) == 1 and (keys[0].outcome, keys[0].order_id) == (wanted, saga.order_id)
        if not right or (wanted == "refused" and keys[0].reason != saga.reason):
            yield Violation("I10", "key_disagrees", saga.saga_id, f"{saga.status} {saga.reason}, {keys}")
    for operation in state.after.operations:
        saga = state.after.sagas.get(operation.gid)
        if operation.outcome == "pending" and (saga is None or saga.ended):
            yield Violation("I10", "pending_without_saga", operation.order_id, str(saga))


def barriers_stand_where_sagas_stand(state, trimming):
    """What the first reading calls done has its barrier; no barrier is ahead of the second reading."""
    for saga_id, after in state.after.sagas.items():
        plan = PLANS[after.type]
        places = {step: i for i, (step, *_) in enumerate(plan)}
        before = state.before.sagas.get(saga_id)
        # Trimming takes barriers away before it says so.
        if after.trimmed or (before and before.ended and trimming):
            continue
        for i, (step, service, barrier, undone) in enumerate(plan):
            if service is None:
                continue
            outcome = state.barriers.get((service, saga_id, barrier))
            undo = state.barriers.get((service, saga_id, undone))
            if before is not None:
                at = places.get(before.step)
                back = before.status in ("COMPENSATION_STARTED", "FAILED")
                passed = before.status == "COMPLETED" or (at is not None and i < at)
                if not back and passed and outcome != "done":
                    yield Violation("I8", "step_not_done", saga_id, f"{before.status}, {step} is {outcome}")
                if back and (before.ended or i > at) and undone and outcome == "done" and undo != "done":
                    yield Violation("I8", "not_compensated", saga_id, f"{before.status}, {step} is done")
            at = places.get(after.step)
            back = after.status in ("COMPENSATION_STARTED", "FAILED")
            early_undo = undo and (not back or (at is not None and i < at))
            early_step = not back and at is not None and i > at and outcome
            if early_undo or early_step:
                yield Violation("I8", "step_ahead", saga_id, f"{after.status} {after.step}, {step} {outcome} {undo}")


def barriers_have_a_saga(state):
    """What was done for a saga that the log does not know is over, or shown there as needing a person."""
    if state.shared:
        return
    steps = defaultdict(dict)
    for (service, saga_id, step), outcome in state.barriers.items():
        if saga_id not in state.after.sagas and saga_id not in state.after.lost:
            steps[saga_id][service, step] = outcome
    for saga_id, found in steps.items():
        order_id = state.barrier_orders.get(saga_id)
        # One that confirmed its order has ended, whatever a later saga did to that order.
        over = ("done" not in found.values() or found.get(("order", "fail")) == "done"
                or found.get(("order", "confirm")) == "done")
        if order_id is not None:
            status = state.orders[order_id][0] if order_id in state.orders else None
            held = ([r for r in state.reservations[order_id] if r[2] == "RESERVED"]
                    + [p for p in state.payments[order_id] if p[0] in ("CAPTURED", "AUTHORIZED")]
                    + [s for s in state.shipments[order_id] if s != "CANCELLED"])
            over = over or status in ("CONFIRMED", "SHIPPED", "DELIVERED") or (status != "PENDING" and not held)
        if not over:
            yield Violation("I8", "barrier_without_saga", saga_id, f"order {order_id}, {found}")


SAGA_CHECKS = (barriers_have_a_saga, ended_means_completed_or_failed, history_leads_to_the_state, keys_say_what_sagas_say)
