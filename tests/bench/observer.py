"""The observer of ./run compare: a reader of the four services' databases, with connections of its
own, that writes down what it could see while orders were placed, and what of that was not so later.

What it can see. It reads each database about every `interval`, each at its own pace. For every
order and service it knows two moments on one clock: the beginning of the last reading that did not
show a row (or a status), and the end of the first that did. It counts only what these prove: "seen
in payment, and after that not in inventory" means that a reader who asked payment first and
inventory next was told so. It cannot see what begins and ends between two readings: short windows
are undercounted, by more the longer the achieved interval, which is reported beside the counts.
exact.py has the whole picture from the servers' commit timestamps; this one tells how much of it a
reader met.

How it reads. Each service writes an event in the transaction that changes an order. Event ids come
in order but become visible out of order, so ids that were skipped are asked for again until every
transaction that could hold them has ended. The events only say where to look: what is judged is
the status in the row itself, read in the same snapshot.
"""
import statistics
import threading
import time
from collections import namedtuple

import psycopg

SERVICES = ("order", "inventory", "payment", "shipping")
PARTS = SERVICES[1:]

# The status of an order's part in each service; an order's reservations change together.
STATUS = {
    "order": "SELECT status FROM orders r WHERE r.order_id = e.order_id",
    "inventory": "SELECT min(status) FROM reservations r WHERE r.order_id = e.order_id",
    "payment": "SELECT status FROM payments r WHERE r.order_id = e.order_id",
    "shipping": "SELECT status FROM shipments r WHERE r.order_id = e.order_id",
}
UNDONE = {"order": {"FAILED", "CANCELLED"}, "inventory": {"RELEASED"}, "payment": {"REFUNDED", "VOIDED"},
          "shipping": {"CANCELLED"}}
LIVE = {"CONFIRMED", "SHIPPED", "DELIVERED"}

READ = """
  SELECT pg_snapshot_xmin(s)::text, pg_snapshot_xmax(s)::text, clock_timestamp(),
         (SELECT string_agg(e.event_id || ' ' || e.order_id || ' ' || coalesce(({status}), '-'), ','
                            ORDER BY e.event_id)
            FROM (SELECT event_id, order_id FROM events WHERE event_id = ANY (%s::bigint[])
                  UNION ALL
                  (SELECT event_id, order_id FROM events WHERE event_id > %s
                    ORDER BY event_id LIMIT {rows_max})) e)
    FROM pg_current_snapshot() s"""
# Row locks live in the rows; what the server shows of them are the transactions that hold them
# (writers, prepared ones among them) and the sessions that wait.
LOCKS = """
  SELECT (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()),
         (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - prepared)), 0)::float8
            FROM pg_prepared_xacts WHERE database = current_database()),
         (SELECT count(*) FROM pg_stat_activity
           WHERE datname = current_database() AND backend_xid IS NOT NULL),
         (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8
            FROM pg_stat_activity WHERE datname = current_database() AND backend_xid IS NOT NULL),
         (SELECT count(*) FROM pg_locks WHERE NOT granted)"""
# Impossible balances, each in one snapshot: (negative rows, units too many or too few).
BALANCES = {
    "inventory": """
      SELECT (SELECT count(*) FROM inventory WHERE available < 0 OR reserved < 0 OR shipped < 0),
             ((SELECT sum(available + reserved + shipped) FROM inventory) -
              (SELECT sum(delta) FROM stock_ledger))::bigint""",
    "payment": "SELECT count(*) FILTER (WHERE balance < 0), 0 FROM wallets",
}
ROWS_MAX, GAPS_MAX = 50_000, 100_000

# A status, first seen: it was not there at `absent`, it was at `seen` (seconds on our clock).
Sighting = namedtuple("Sighting", "status absent seen")


class Reader:
    """One service's database, read again and again by one thread."""

    def __init__(self, service, dsn, clock=time.monotonic):
        self.service, self.dsn, self.clock = service, dsn, clock
        self.connection = None
        self.read_sql = READ.format(status=STATUS[service], rows_max=ROWS_MAX)
        self.top = 0          # the highest event id seen
        self.gaps = {}        # id below it, not seen: the xid from which on all transactions are newer
        self.sightings = {}   # order_id: [Sighting]
        self.times = []       # (begin, end) of each reading
        self.locks = []       # (prepared, oldest prepared s, writers, oldest writer s, waiting)
        self.balance_faults = {"negative_seen": 0, "not_conserved_seen": 0}
        self.rows_missing = 0  # events whose row is not there
        self.failures = 0

    def connect(self):
        self.connection = psycopg.connect(
            self.dsn, autocommit=True, connect_timeout=2, application_name="observer",
            prepare_threshold=2)
        self.connection.execute("SET default_transaction_read_only = on")
        self.connection.execute("SET statement_timeout = 5000")

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def sample(self):
        """One reading. Raises psycopg.OperationalError when the database is away."""
        if self.connection is None or self.connection.closed:
            self.connect()
        absent = self.times[-1][0] if self.times else float("-inf")
        begin = self.clock()
        xmin, xmax, _, text = self.connection.execute(self.read_sql, (list(self.gaps), self.top)).fetchone()
        end = self.clock()
        self.times.append((begin, end))
        for row in text.split(",") if text else ():
            event_id, order_id, status = row.split(" ")
            self._take(int(event_id), order_id, Sighting(status, absent, end))
        self._close_gaps(int(xmin), int(xmax))

    def sample_locks(self):
        self.locks.append(self.connection.execute(LOCKS).fetchone())

    def sample_balances(self):
        if self.service not in BALANCES:
            return
        negative, off = self.connection.execute(BALANCES[self.service]).fetchone()
        self.balance_faults["negative_seen"] += bool(negative)
        self.balance_faults["not_conserved_seen"] += bool(off)

    def _take(self, event_id, order_id, sighting):
        if event_id > self.top:
            for skipped in range(self.top + 1, event_id):
                self.gaps[skipped] = None
            self.top = event_id
        else:
            self.gaps.pop(event_id, None)
        if sighting.status == "-":
            self.rows_missing += 1
            return
        seen = self.sightings.setdefault(order_id, [])
        if not seen or seen[-1].status != sighting.status:
            seen.append(sighting)

    def _close_gaps(self, xmin, xmax):
        """Who took a skipped id was under way before the reading after the one that noticed it. Once all
        of those have ended, what is still skipped was rolled back."""
        for event_id, newer in list(self.gaps.items()):
            if newer is None:
                self.gaps[event_id] = -1  # noticed now; the next reading's xmax bounds it
            elif newer == -1:
                self.gaps[event_id] = xmax
            elif xmin >= newer:
                del self.gaps[event_id]
        if len(self.gaps) > GAPS_MAX:
            raise RuntimeError(f"{self.service}: more than {GAPS_MAX} event ids are missing")


class Observer:
    """Readers for all four services, each in a thread, between start() and stop()."""

    def __init__(self, dsns, interval=0.02):
        self.interval = interval
        self.readers = {name: Reader(name, dsns[name]) for name in SERVICES}
        self.stopping = threading.Event()
        self.threads = []
        self.broken = []

    def start(self):
        for reader in self.readers.values():
            reader.sample()  # what was there before is not news
            reader.sightings.clear()
        self.threads = [threading.Thread(target=self._run, args=(reader,), daemon=True)
                        for reader in self.readers.values()]
        for thread in self.threads:
            thread.start()

    def _run(self, reader):
        turn = 0
        while not self.stopping.is_set():
            began = time.monotonic()
            try:
                reader.sample()
                if turn % 2 == 0:
                    reader.sample_locks()
                if turn % 10 == 0:
                    reader.sample_balances()
            except psycopg.Error:
                # Killed, restarting or cut off: blind until it is back, and the times say so.
                reader.failures += 1
                reader.close()
            except Exception as error:  # a defect of ours: the run must not pass for observed
                self.broken.append(f"{reader.service}: {error!r}")
                return
            turn += 1
            # At most half of the time is spent in readings: the observer must not be the load.
            spent = time.monotonic() - began
            self.stopping.wait(max(self.interval - spent, spent, 0.001))

    def stop(self):
        """Ends the threads, reads once more, and returns the findings."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(15)
            if thread.is_alive():
                raise RuntimeError("a reader hangs")
        if self.broken:
            raise RuntimeError("; ".join(self.broken))
        for reader in self.readers.values():
            reader.sample()
            reader.close()
        return findings(self.readers)


# --- judging --------------------------------------------------------------------------------------

def part_of(service, sightings, last_look):
    """(absent, seen, gone) of an order's part: it was not there until `absent`, was there from `seen` on,
    and, if it was undone, still at `gone`; of a part that was never seen: (last_look, None, None)."""
    there = next((s for s in sightings if s.status not in UNDONE[service]), None)
    if there is None:
        return last_look, None, None
    undone = next((s for s in sightings if s.status in UNDONE[service] and s.seen >= there.seen), None)
    return there.absent, there.seen, undone.absent if undone else float("inf")


def torn(ahead, behind):
    """How long, at least, a reader could see `ahead` and not `behind`; 0: nothing is proven."""
    _, seen, gone = ahead
    absent, _, _ = behind
    return 0.0 if seen is None else max(0.0, min(absent, gone) - seen)


def judge_order(sightings, last_looks):
    """{counter: seconds at least, or None} of what was seen of one order, and not so later."""
    parts = {name: part_of(name, sightings.get(name, ()), last_looks[name]) for name in SERVICES}
    order = sightings.get("order", ())
    confirmed = next((s for s in order if s.status in LIVE), None)
    found = {}

    def note(counter, seconds):
        if seconds > 0:
            found[counter] = max(found.get(counter, 0), seconds)

    for ahead in SERVICES:
        for behind in SERVICES:
            if ahead != behind:
                note("seen_in_some_only", torn(parts[ahead], parts[behind]))
    for part in PARTS:
        note("part_without_order", torn(parts[part], parts["order"]))
        if confirmed:
            note("confirmed_without_part", torn((0, confirmed.seen, float("inf")), parts[part]))
    note("money_without_goods", torn(parts["payment"], parts["inventory"]))
    note("goods_without_money", torn(parts["inventory"], parts["payment"]))

    failed = (order and order[-1].status == "FAILED") or not order
    for service, counter in (("inventory", "reservation_undone"), ("payment", "payment_undone"),
                             ("shipping", "shipment_undone")):
        statuses = sightings.get(service, ())
        _, seen, gone = parts[service]
        # A cancelled order's parts are undone because its customer asked for it.
        if failed and seen is not None and statuses[-1].status in UNDONE[service]:
            found[counter] = max(0.0, gone - seen)
    if order and order[-1].status == "FAILED":
        if confirmed:
            found["confirmed_then_failed"] = max(0.0, order[-1].absent - confirmed.seen)
        elif order[0].status == "PENDING":
            found["pending_then_failed"] = max(0.0, order[-1].absent - order[0].seen)
    return found


COUNTERS = ("seen_in_some_only", "confirmed_without_part", "part_without_order", "money_without_goods",
            "goods_without_money", "reservation_undone", "payment_undone", "shipment_undone",
            "pending_then_failed", "confirmed_then_failed")


def spread(values, scale=1.0):
    """{p50, p99, max} of some numbers, or None."""
    if not values:
        return None
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return {name: round(scale * value, 3) for name, value in
            (("p50", statistics.median(ordered)), ("p99", p99), ("max", ordered[-1]))}


def findings(readers):
    """What all readings together prove: plain dictionaries, for JSON."""
    last_looks = {name: reader.times[-1][0] for name, reader in readers.items()}
    durations = {counter: [] for counter in COUNTERS}
    orders = set().union(*(reader.sightings for reader in readers.values()))
    for order_id in orders:
        sightings = {name: reader.sightings[order_id] for name, reader in readers.items()
                     if order_id in reader.sightings}
        for counter, seconds in judge_order(sightings, last_looks).items():
            durations[counter].append(seconds)
    return {
        "orders_seen": len(orders),
        "counts": {counter: len(seconds) for counter, seconds in durations.items()},
        "at_least_ms": {counter: spread(seconds, 1000) for counter, seconds in durations.items()},
        "negative_seen": sum(r.balance_faults["negative_seen"] for r in readers.values()),
        "not_conserved_seen": sum(r.balance_faults["not_conserved_seen"] for r in readers.values()),
        "events_without_row": sum(r.rows_missing for r in readers.values()),
        "locks": {name: lock_findings(reader.locks) for name, reader in readers.items()},
        "sampling": {name: sampling_of(reader) for name, reader in readers.items()},
    }


def lock_findings(rows):
    if not rows:
        return None
    prepared, prepared_age, writers, writer_age, waiting = zip(*rows)
    return {"prepared_mean": round(statistics.mean(prepared), 3),
            "prepared_oldest_ms": round(1000 * max(prepared_age), 1),
            "writers_mean": round(statistics.mean(writers), 3),
            "writer_oldest_ms": round(1000 * max(writer_age), 1),
            "waiting_mean": round(statistics.mean(waiting), 3)}


def sampling_of(reader):
    begins = [begin for begin, _ in reader.times]
    gaps = [after - before for before, after in zip(begins, begins[1:])]
    return {"readings": len(begins), "interval_ms": spread(gaps, 1000), "failures": reader.failures,
            "reading_ms": spread([end - begin for begin, end in reader.times], 1000)}
