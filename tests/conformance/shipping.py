#!/usr/bin/python3
"""A shipping service in Python, in place of `txcoord participant shipping`: the same rows in the same tables.

    /usr/bin/python3 tests/conformance/shipping.py --port 0 --dsn 'host=... dbname=...'    prints {"port": N}

Here is what shipping alone knows: which moves of a shipment are legal, which rows a group locks and writes. Branches
and steps are in branches.py, HTTP and sessions in service.py. TXCOORD_INTERNAL_TOKEN is the bearer token that callers
need. Addresses are personal data: stored, and told to nobody but who asks for the shipment.
"""
import argparse
import datetime
import os
import uuid

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from branches import PgParticipant
from carriers import carrier_of, tracking_number, valid_postal_code
from service import Failure, serve

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
EVENTS = {"place": "ShippingArranged", "cancel": "ShippingCancelled", "ship": "ShipmentShipped",
          "deliver": "ShipmentDelivered"}
ELSEWHERE = {"create", "confirm", "fail"}
MOVES = {("cancel", "ARRANGED"): "CANCELLED", ("ship", "ARRANGED"): "SHIPPED", ("deliver", "SHIPPED"): "DELIVERED"}
YES = {"answer": "yes", "final": True}

LOCK = """
  SELECT order_id::text, status FROM shipments WHERE order_id = ANY(%s::uuid[]) ORDER BY order_id FOR NO KEY UPDATE"""
WRITE = """
  WITH r AS (SELECT * FROM jsonb_to_recordset(%s) AS r (order_id uuid, correlation_id text, at timestamptz, event text,
                            before text, after text, shipment_id uuid, address jsonb, tracking text, carrier text)),
       history AS (INSERT INTO events (order_id, type, correlation_id, at)
                   SELECT order_id, event, correlation_id, at FROM r),
       arranged AS (INSERT INTO shipments (shipment_id, order_id, shipping_address, tracking_number, carrier, status,
                                           created_at, updated_at)
                    SELECT shipment_id, order_id, address, tracking, carrier, after, at, at FROM r WHERE before IS NULL
                    RETURNING 1),
       moved AS (UPDATE shipments s SET status = r.after, updated_at = greatest(s.updated_at, r.at)
                   FROM r WHERE s.order_id = r.order_id AND s.status = r.before RETURNING 1)
  SELECT (SELECT count(*) FROM arranged) + (SELECT count(*) FROM moved)"""
SHIPMENTS = """
  SELECT shipment_id::text, order_id::text, tracking_number, carrier, status, shipping_address AS address,
         (1000000 * extract(epoch FROM created_at))::bigint AS created_at,
         (1000000 * extract(epoch FROM updated_at))::bigint AS updated_at
    FROM shipments WHERE """
HISTORY = """
  SELECT type, correlation_id, (1000000 * extract(epoch FROM at))::bigint AS at
    FROM events WHERE order_id = %s::uuid ORDER BY event_id LIMIT 1000"""


def no(reason, detail, final=True):
    return {"answer": "no", "final": final, "reason": reason, "detail": detail}


def vote_on_address(address):
    """The detail names the member and never what it holds."""
    if not valid_postal_code(address["postal_code"]):
        return no("ADDRESS_REFUSED", "postal_code is not NNN-NNNN or NNNNNNN")
    if carrier_of(address["prefecture"]) is None:
        return no("ADDRESS_REFUSED", "prefecture is not one that a carrier serves")
    return YES


def vote_on_move(kind, before, now):
    """From the status as it is locked, and as the earlier operations of the group leave it: what they take counts,
    what they open up does not."""
    was_legal, is_legal = (kind, before) in MOVES, (kind, now) in MOVES
    if was_legal and is_legal:
        return YES
    if before is None or is_legal:
        return {"answer": "retry", "final": True, "detail": "the shipment is not here yet, or not so far yet"}
    return no("ILLEGAL_STATE", f"cannot {kind}: it is {now}", final=not was_legal)


def as_written(operation, status):
    """The operation's row for WRITE; `status`: of the shipment as it was locked."""
    kind = operation["kind"]
    row = {**operation, "event": EVENTS[kind], "before": status, "after": MOVES.get((kind, status), "ARRANGED")}
    if kind == "place":
        row["carrier"], prefix = carrier_of(operation["address"]["prefecture"])
        row["tracking"] = tracking_number(prefix, operation["shipment_id"])
    return row


class Shipping(PgParticipant):
    NAME, OWN_CALLS = "shipping", frozenset(("shipment", "shipments", "shipping-events"))

    def read_operation(self, operation):
        """The members that shipping needs; raises on one that is missing or wrong. The others are left behind."""
        read = {name: operation[name] for name in ("kind", "order_id", "correlation_id")}
        if read["kind"] not in EVENTS.keys() | ELSEWHERE:
            raise ValueError("kind")
        at = EPOCH + datetime.timedelta(microseconds=operation["created_at"])
        if operation["transaction_id"]:  # the steps of a saga come one after the other, each at its own time
            at = datetime.datetime.now(datetime.timezone.utc)
        read["at"] = at.isoformat()
        read["order_id"] = str(uuid.UUID(read["order_id"]))
        texts = [read["correlation_id"]]
        if read["kind"] == "place":
            read["shipment_id"], address = operation["place"]["shipment_id"], operation["place"]["address"]
            read["address"] = {name: address[name] for name in ("name", "postal_code", "prefecture", "city", "line1")}
            read["address"].update({name: address[name] for name in ("line2", "phone") if name in address})
            texts += [read["shipment_id"], *read["address"].values()]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("text")
        return read

    def touches(self, operation):
        return operation["kind"] in EVENTS

    def rows_without_locks(self, operations):
        """Who makes a row has none to lock: a group that only places is judged without the database."""
        return {} if all(operation["kind"] == "place" for operation in operations) else None

    def lock(self, session, operations):
        """{order_id: status}, in the order of a key that never changes."""
        ids = sorted({operation["order_id"] for operation in operations if operation["kind"] != "place"})
        return dict(session.execute(LOCK, (ids,)).fetchall())

    def judge_operations(self, operations, rows, candidates):
        votes, now = [YES] * len(operations), dict(rows)
        for index, (operation, candidate) in enumerate(zip(operations, candidates)):
            if not candidate or not self.touches(operation):
                continue
            order, kind = operation["order_id"], operation["kind"]
            votes[index] = (vote_on_address(operation["address"]) if kind == "place"
                            else vote_on_move(kind, rows.get(order), now.get(order)))
            if votes[index] is YES:
                now[order] = MOVES.get((kind, now.get(order)), "ARRANGED")
        return votes

    def undone_already(self, operation, rows):
        return operation["kind"] == "cancel" and rows.get(operation["order_id"]) == "CANCELLED"

    def write(self, session, operations, survivors, rows):
        written = [as_written(operation, None if operation["kind"] == "place" else rows[operation["order_id"]])
                   for operation, survives in zip(operations, survivors) if survives and self.touches(operation)]
        if written and session.execute(WRITE, (Jsonb(written),)).fetchone()[0] != len(written):
            raise Failure("error", "the rows are not those that were judged")

    def rows_of(self, until, query, identity):
        with self.reading.session(until) as session:
            return session.cursor(row_factory=dict_row).execute(query, (identity,)).fetchall()

    def shipment(self, body, until):
        found = self.rows_of(until, SHIPMENTS + "shipment_id = %s::uuid", body["shipment_id"])
        return {"found": found[0] if found else None}

    def shipments(self, body, until):
        return {"rows": self.rows_of(until, SHIPMENTS + "order_id = %s::uuid", body["order_id"])}

    def shipping_events(self, body, until):
        return {"rows": self.rows_of(until, HISTORY, body["order_id"])}


def main(participant=Shipping):
    parser = argparse.ArgumentParser(description="A shipping participant: see docs/participant-protocol.md.")
    parser.add_argument("--dsn", required=True, help="libpq connection string of the shipping database")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--branch-open-ms-max", type=int, default=10000)
    parser.add_argument("--lock-ms", type=int, default=1200, help="longest wait for a row")
    parser.add_argument("--log-calls", action="store_true", help="each call on stderr, not only defects and strangers")
    options = parser.parse_args()
    serve(participant(options.dsn, options.branch_open_ms_max, options.lock_ms), options.address, options.port,
          os.environ.get("TXCOORD_INTERNAL_TOKEN", ""), options.log_calls)


if __name__ == "__main__":
    main()
