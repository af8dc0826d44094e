#!/usr/bin/python3
"""The independent checker: reads the five databases by its own SQL and tests the invariants.

It shares nothing with `txcoord audit` but the tables, so that a mistake in one shows in the other.
Where the audit streams and asks SQL for what is wrong, this one loads plain rows and counts in
Python: meant for tests with up to some hundred thousand orders.

As a module:   violations = check(dsns)     dsns: order, inventory, payment, shipping, log
As a command:  checker.py --order DSN --inventory DSN --payment DSN --shipping DSN --log DSN
               exit code 0 clean, 1 violations, 2 a database could not be read

Movement: the log is read before and after the services. What looks wrong about an order or a
global transaction counts only when it looks the same in two readings, orphan_age apart, and the
log says that nothing of it was under way. Of an order whose saga is open, only the saga is judged: it
must be shown as stuck, or must not stand still for saga_silence.
"""
import argparse
import json
import sys
import time

from checker_reading import SERVICES, State, Unreadable
from checker_rules import (ORDER_CHECKS, WHOLE_CHECKS, Violation, nothing_decided_waits,
                           nothing_is_left_prepared, open_sagas_are_worked_on, witnesses_match_decisions)
from checker_sagas import SAGA_CHECKS, barriers_stand_where_sagas_stand


# --- running them ------------------------------------------------------------------------------------

def order_violations(state, orders, silence):
    """By order: what looks wrong about it in this reading."""
    found = {}
    for order_id in orders:
        if state.after.open_sagas(order_id):
            seen = open_sagas_are_worked_on(state, order_id, silence)
        elif order_id in state.after.lost.values():
            continue  # the log has lost its saga, and shows it as needing a person
        else:
            seen = (each_found for each in ORDER_CHECKS for each_found in each(state, order_id))
        wrong = [Violation(invariant, name, order_id, text) for invariant, name, text in seen]
        if wrong:
            found[order_id] = wrong
    return found


def certain(state, order_id, unchanged, orphan_age, silence):
    """What the log knows is certain at rest. What it does not know, or that a saga stands still, must
    have been seen for long."""
    if state.after.open_sagas(order_id):
        return unchanged >= silence
    known = order_id in state.after.by_order or order_id in state.after.sagas_by_order
    return not state.moving(order_id) and (known or unchanged >= orphan_age)


def check(dsns, trimming=True, orphan_age=5.0, saga_silence=10.0, patience=30.0):
    """All violations, sorted. Orders that move are read again until they rest or patience ends; one
    that never rests is a violation of its own (I7, never_at_rest)."""
    state = State(dsns)
    violations = [v for each in WHOLE_CHECKS for v in each(state)]
    violations += nothing_is_left_prepared(state, orphan_age)
    violations += nothing_decided_waits(state, orphan_age)
    violations += [v for each in SAGA_CHECKS for v in each(state)]
    violations += barriers_stand_where_sagas_stand(state, trimming)
    if not trimming:
        violations += witnesses_match_decisions(state)

    start = time.monotonic()
    suspects = {order: (wrong, start)
                for order, wrong in order_violations(state, state.seen_orders(), saga_silence).items()}
    while suspects:
        for order_id, (wrong, since) in list(suspects.items()):
            if certain(state, order_id, time.monotonic() - since, orphan_age, saga_silence):
                violations += wrong
                del suspects[order_id]
        if not suspects:
            break
        if time.monotonic() - start > patience:
            violations += [Violation("I7", "never_at_rest", order, str(wrong))
                           for order, (wrong, _) in suspects.items()]
            break
        time.sleep(0.2)
        state = State(dsns)
        again = order_violations(state, suspects, saga_silence)
        now = time.monotonic()
        suspects = {order: (wrong, suspects[order][1] if suspects[order][0] == wrong else now)
                    for order, wrong in again.items()}
    return sorted(violations)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in SERVICES + ("log",):
        parser.add_argument("--" + name, required=True, metavar="DSN")
    parser.add_argument("--untrimmed", action="store_true", help="the coordinator runs with trim = false")
    parser.add_argument("--orphan-age", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    dsns = {name: getattr(arguments, name) for name in SERVICES + ("log",)}
    try:
        violations = check(dsns, trimming=not arguments.untrimmed, orphan_age=arguments.orphan_age)
    except Unreadable as error:
        print(f"checker: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps([v._asdict() for v in violations], ensure_ascii=False))
    else:
        for v in violations:
            print(f"{v.invariant} {v.check}: {v.subject}: {v.found}")
        print(f"checker: {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
