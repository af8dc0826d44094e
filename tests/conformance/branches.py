"""A participant over PostgreSQL, whatever its business: branches as PREPARE TRANSACTION with a witness row, steps of
sagas with a barrier row, and what recovery asks. A service derives from PgParticipant and says what is its own."""
import re
import threading
import time
import uuid

import psycopg

from service import Failure, Sessions, classify

BRANCHES_MAX = 256
CALLS = frozenset(("vote", "judge", "prepare", "release", "commit", "rollback", "witness", "list-prepared",
                   "trim-witnesses", "gauges", "log-seen", "note-log-seen", "run-step", "trim-steps",
                   "list-steps"))
WITNESS = "INSERT INTO txc_branch (gid) VALUES (%s)"
WITNESS_THERE = "SELECT pg_is_in_recovery(), EXISTS (SELECT FROM txc_branch WHERE gid = %s)"
# starts_with, not LIKE: every `_` of a gid would be a wildcard.
PREPARED = """
  SELECT gid, (1000 * extract(epoch FROM clock_timestamp() - prepared))::bigint FROM pg_prepared_xacts
   WHERE database = current_database() AND starts_with(gid, %s) AND right(gid, %s) = %s"""
GAUGES = """
  SELECT current_setting('max_prepared_transactions')::int, (SELECT count(*) FROM pg_prepared_xacts),
         (SELECT coalesce(max(age(transaction)), 0) FROM pg_prepared_xacts),
         (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"""
LOG_SEEN = "SELECT system_identifier, timeline, lsn FROM txc_log_seen WHERE installation = %s"
NOTE_LOG_SEEN = """
  INSERT INTO txc_log_seen (installation, system_identifier, timeline, lsn) VALUES (%s, %s, %s, %s)
  ON CONFLICT (installation) DO UPDATE SET system_identifier = excluded.system_identifier, lsn = excluded.lsn,
                                           timeline = excluded.timeline, at = clock_timestamp()"""
CLAIM_STEPS = """
  INSERT INTO txc_saga_steps (saga_id, step, outcome, order_id)
  SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::uuid[]) AS c (saga_id, step, outcome, order_id)
   ORDER BY 1, 2
  ON CONFLICT (saga_id, step) DO NOTHING RETURNING saga_id::text, step"""
READ_STEPS = """
  SELECT saga_id::text, step, outcome, reason, detail FROM txc_saga_steps
   WHERE saga_id = ANY(%s::uuid[]) AND step = ANY(%s)"""
LIST_STEPS = """
  SELECT saga_id::text, coalesce(max(order_id::text), ''), (extract(epoch FROM clock_timestamp() - max(at)) * 1000)::bigint,
         json_object_agg(step, outcome)
    FROM txc_saga_steps WHERE {which} GROUP BY saga_id ORDER BY saga_id LIMIT %s"""
OTHERS_WORK_HERE = """
  SELECT EXISTS (SELECT FROM txc_log_seen
                  WHERE installation <> %s AND at > clock_timestamp() - interval '60 seconds')"""
LISTED_MAX = 1000
REFUSE_STEP = "UPDATE txc_saga_steps SET outcome = 'refused', reason = %s, detail = %s WHERE saga_id = %s AND step = %s"
GIVE_STEP_BACK = "DELETE FROM txc_saga_steps WHERE saga_id = %s AND step = %s"
STATUS_OF = {"yes": "done", "no": "refused", "retry": "retry"}


def read_gid(body):
    if not re.fullmatch("txc_[0-9a-z_]{1,50}", body["gid"]):
        raise ValueError("gid")
    return body["gid"]


def read(body, name, kind):
    """The member, of exactly this type: true is no number, and a missing text is not empty."""
    if type(body[name]) is not kind:
        raise TypeError(name)
    return body[name]


def read_texts(body, name):
    texts = read(body, name, list)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(name)
    return texts


def read_mask(mask, operations):
    if len(mask) != len(operations) or not all(isinstance(flag, bool) for flag in mask):
        raise Failure("error", "a mask of another group", 400)
    return mask


def decide(session, statement):
    """PREPARE and COMMIT of a failed transaction are no errors but a ROLLBACK: what the server says is looked at."""
    try:
        said = session.execute(statement).statusmessage
    except psycopg.Error as error:
        raise classify(error, decides=True) from None
    if not said or not statement.startswith(said):
        raise Failure("error", f"the server answered {said}")


class Branch:
    """Between vote and prepare, or release. `open_since`: when its vote was answered; nobody else touches it before.
    `session`: None when there was nothing to lock: then the transaction begins with the prepare."""

    def __init__(self, operations):
        self.operations, self.session, self.rows, self.open_since = operations, None, None, None


class PgParticipant:
    NAME = OWN_CALLS = None  # the service's: its name in URLs and gids, and its calls beside those above

    def __init__(self, dsn, branch_open_ms_max, lock_ms):
        # Three, so that a branch that waits for a row keeps no COMMIT PREPARED waiting, nor a reader.
        self.voting, self.finishing, self.reading = (
            Sessions(dsn, f"txcoord-{self.NAME}-{use}", size, lock_ms, branch_open_ms_max + 5000)
            for use, size in (("branch", 8), ("finish", 4), ("service", 4)))
        self.call_names = CALLS | self.OWN_CALLS
        self.open_seconds_max = branch_open_ms_max / 1000
        self.branches, self.guard = {}, threading.Lock()  # the guard is never held over a statement

    # --- branches -------------------------------------------------------------------------------
    def vote(self, body, until):
        gid = read_gid(body)
        branch = Branch([self.read_operation(operation) for operation in read(body, "operations", list)])
        with self.guard:
            if gid in self.branches:
                raise Failure("error", "a gid votes once")
            if len(self.branches) >= BRANCHES_MAX:
                raise Failure("unavailable", "too many open branches")
            self.branches[gid] = branch
        try:
            branch.rows = self.rows_without_locks(branch.operations)
            if branch.rows is None:
                branch.session = self.voting.take(until)
                branch.session.execute("BEGIN")
                branch.rows = self.lock(branch.session, branch.operations)
            votes = self.judge_operations(branch.operations, branch.rows, [True] * len(branch.operations))
            with self.guard:
                if self.branches.get(gid) is not branch:
                    raise Failure("error", "released while it was voted on")
                branch.open_since = time.monotonic()
            return {"votes": votes}
        except BaseException:
            with self.guard:
                if self.branches.get(gid) is branch:
                    del self.branches[gid]
            if branch.session:
                self.voting.give(branch.session)
            raise

    def open_branch(self, gid, take):
        with self.guard:
            branch = self.branches.get(gid)
            if branch is None or branch.open_since is None:
                raise Failure("error", "no open branch of this gid")
            if take:  # before anything is sent: a gid is prepared once
                del self.branches[gid]
            return branch

    def judge(self, body, until):
        branch = self.open_branch(read_gid(body), take=False)
        candidates = read_mask(read(body, "candidates", list), branch.operations)
        return {"votes": self.judge_operations(branch.operations, branch.rows, candidates)}

    def prepare(self, body, until):
        gid, survivors = read_gid(body), read(body, "survivors", list)
        branch = self.open_branch(gid, take=True)
        begin = branch.session is None
        if begin:
            branch.session = self.voting.take(until)
        try:
            self.voting.limit(branch.session, until)
            if begin:
                branch.session.execute("BEGIN")
            self.write(branch.session, branch.operations, read_mask(survivors, branch.operations), branch.rows)
            self.write_witness(branch.session, gid)
            decide(branch.session, f"PREPARE TRANSACTION '{gid}_{self.NAME}'")
        finally:
            self.voting.give(branch.session)
        return {}

    def write_witness(self, session, gid):
        session.execute(WITNESS, (gid,))

    def release(self, body, until):
        with self.guard:  # a vote that is under way finds itself gone, and ends by itself
            branch = self.branches.pop(read_gid(body), None)
        if branch and branch.open_since is not None and branch.session:
            self.voting.give(branch.session)
        return {}

    def release_open(self, older_than_seconds):
        newest = time.monotonic() - older_than_seconds
        with self.guard:
            old = [gid for gid, branch in self.branches.items() if (branch.open_since or newest + 1) <= newest]
        for gid in old:
            self.release({"gid": gid}, until=None)

    def sweep(self, stop):
        while not stop.wait(self.open_seconds_max / 10):
            self.release_open(self.open_seconds_max)

    def commit(self, body, until):
        return self.finish("COMMIT PREPARED", body, until)

    def rollback(self, body, until):
        return self.finish("ROLLBACK PREPARED", body, until)

    def finish(self, verb, body, until):
        with self.finishing.session(until) as session:
            decide(session, f"{verb} '{read_gid(body)}_{self.NAME}'")
        return {}

    def witness(self, body, until):
        with self.finishing.session(until) as session:
            standby, present = session.execute(WITNESS_THERE, (read_gid(body),)).fetchone()
        if standby:
            raise Failure("unavailable", "a standby may lag behind: it proves nothing")
        return {"present": present}

    def prepared(self, session, installation):
        suffix = f"_{self.NAME}"
        rows = session.execute(PREPARED, (f"txc_{installation}_", len(suffix), suffix)).fetchall()
        return {gid[:-len(suffix)]: age_ms for gid, age_ms in rows}

    def list_prepared(self, body, until):
        with self.finishing.session(until) as session:
            return {"gids": sorted(self.prepared(session, read(body, "installation", str)))}

    def gauges(self, body, until):
        with self.finishing.session(until) as session:
            ages_ms = self.prepared(session, read(body, "installation", str)).values()
            slots_max, slots_used, xmin_age, blocked = session.execute(GAUGES).fetchone()
        return {"in_doubt_branches": len(ages_ms), "in_doubt_oldest_ms": max(ages_ms, default=0),
                "prepared_slots_max": slots_max, "prepared_slots_used": slots_used,
                "xmin_age_transactions": xmin_age, "blocked_sessions": blocked}

    def ready(self):
        try:
            with self.reading.session(time.monotonic() + 1) as session:
                return session.execute("SELECT true").fetchone()[0]
        except (Failure, psycopg.Error):
            return False

    # --- what may be lost in a crash: it is done again --------------------------------------------
    def carelessly(self, until, statement, parameters):
        with self.finishing.session(until) as session, session.transaction():
            session.execute("SET LOCAL synchronous_commit = off")
            session.execute(statement, parameters)
        return {}

    def trim_witnesses(self, body, until):
        return self.carelessly(until, "DELETE FROM txc_branch WHERE gid = ANY(%s)", (read_texts(body, "gids"),))

    def trim_steps(self, body, until):
        sagas = [str(uuid.UUID(saga)) for saga in read_texts(body, "saga_ids")]
        return self.carelessly(until, "DELETE FROM txc_saga_steps WHERE saga_id = ANY(%s::uuid[])", (sagas,))

    def list_steps(self, body, until):
        """What was done for the sagas that are named, or for the next ones after `after`."""
        installation, limit = read(body, "installation", str), read(body, "limit", int)
        sagas = [str(uuid.UUID(saga)) for saga in read_texts(body, "saga_ids")]
        if limit > LISTED_MAX or len(sagas) > LISTED_MAX:
            raise Failure("error", "limit is too large", 400)
        after = body.get("after") or str(uuid.UUID(int=0))
        which, what = ("saga_id = ANY(%s::uuid[])", sagas) if sagas else ("saga_id > %s::uuid", after)
        with self.finishing.session(until) as session:
            rows = session.execute(LIST_STEPS.format(which=which), (what, len(sagas) or limit)).fetchall()
            shared = session.execute(OTHERS_WORK_HERE, (installation,)).fetchone()[0]
        return {"shared": shared,
                "sagas": [{"saga_id": saga, "order_id": order, "age_ms": age,
                           "steps": [{"step": step, "outcome": outcome} for step, outcome in steps.items()]}
                          for saga, order, age, steps in rows]}

    def note_log_seen(self, body, until):
        members = (("installation", str), ("system_identifier", str), ("timeline", int), ("lsn", int))
        return self.carelessly(until, NOTE_LOG_SEEN, tuple(read(body, name, kind) for name, kind in members))

    def log_seen(self, body, until):
        with self.finishing.session(until) as session:
            row = session.execute(LOG_SEEN, (read(body, "installation", str),)).fetchone() or ("", 0, 0)
        return dict(zip(("system_identifier", "timeline", "lsn"), row))

    # --- steps of sagas -------------------------------------------------------------------------
    def run_step(self, body, until):
        read_gid(body)
        step, undoes, calls = read(body, "step", str), body.get("undoes", ""), read(body, "calls", list)
        sagas = [str(uuid.UUID(call["saga_id"])) for call in calls]
        operations = [self.read_operation(call["operation"]) for call in calls]
        kinds = {operation["kind"] for operation in operations}
        if len(set(sagas)) < len(sagas) or len(kinds) > 1 or not all(map(self.touches, operations)):
            raise Failure("error", "a saga that calls twice, several kinds, or one that has no work here", 400)
        if not sagas:
            return {"replies": []}
        with self.voting.session(until) as session:
            session.execute("BEGIN")
            orders = [operation["order_id"] for operation in operations]
            replies = self.answered(session, sagas, orders, step, undoes)
            fresh = [index for index, reply in enumerate(replies) if reply is None]
            new = self.perform(session, [operations[index] for index in fresh],
                               [calls[index].get("refuse_as", "") for index in fresh])
            forgets = bool(undoes or body.get("must_succeed"))
            for index, reply in zip(fresh, new):
                replies[index] = reply
                if reply["status"] == "refused" and not forgets:
                    session.execute(REFUSE_STEP, (reply["reason"], reply["detail"], sagas[index], step))
                elif reply["status"] != "done":
                    session.execute(GIVE_STEP_BACK, (sagas[index], step))
            decide(session, "COMMIT")
        return {"replies": replies}

    def answered(self, session, sagas, orders, step, undoes):
        """Claims the barrier rows; a reply for each saga whose call was answered before, None where it is new. A
        claim waits for whoever is at the same step: what he left behind is read in the next statement."""
        whose = list(zip(sagas, orders))
        claims = [(saga, step, "done", order) for saga, order in whose]
        claims += [(saga, undoes, "skipped", order) for saga, order in whose if undoes]
        claimed = set(session.execute(CLAIM_STEPS, [list(column) for column in zip(*claims)]).fetchall())
        rows = {row[:2]: row[2:] for row in session.execute(READ_STEPS, (sagas, [step, undoes])).fetchall()}
        return [None if (saga, step) in claimed and (not undoes or rows[saga, undoes][0] == "done")
                else self.as_before(*rows[saga, step]) for saga in sagas]

    @staticmethod
    def as_before(outcome, reason, detail):
        if outcome == "refused":
            return {"status": "refused", "reason": reason, "detail": detail}
        return {"status": "barred" if outcome == "skipped" else "done"}

    def perform(self, session, operations, refusals):
        """Judged in order, applied together: what an earlier one takes it has taken, since all commit together."""
        rows = self.lock(session, operations)
        candidates = [not refusal and not self.undone_already(operation, rows)
                      for operation, refusal in zip(operations, refusals)]
        votes = self.judge_operations(operations, rows, candidates)
        survivors = [candidate and vote["answer"] == "yes" for candidate, vote in zip(candidates, votes)]
        self.write(session, operations, survivors, rows)
        return [{"status": "refused", "reason": refusal, "detail": "a fault on demand"} if refusal else
                {"status": STATUS_OF[vote["answer"]], "reason": vote.get("reason", ""),
                 "detail": vote.get("detail", "")}
                for refusal, vote in zip(refusals, votes)]
