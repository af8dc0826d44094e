"""Faults of branches: see faults.py."""
import time

import psycopg

import branches
import service
from branches import decide, read_gid
from faults import fault
from service import Failure
from shipping import YES, Shipping, no


# --- a yes that is not kept -----------------------------------------------------------------------
@fault("prepare_then_commit", "prepared_in_the_database", "prepared_survives_a_kill", "witness_after_commit",
       "prepared_keeps_its_locks", "a_group_of_100")
class PrepareDoesNotPrepare(Shipping):
    def prepare(self, body, until):
        return self.release(body, until)


@fault("prepared_in_the_database", "prepared_survives_a_kill")
class KeepsItsYesInMemory(Shipping):
    """What is prepared is an open transaction: right in every answer, until somebody pulls the plug."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.voting = service.Sessions(self.voting.parameters["conninfo"], "txcoord-shipping-branch", 64, 1200, 60000)
        self.kept = {}

    def prepare(self, body, until):
        gid = read_gid(body)
        branch = self.open_branch(gid, take=True)
        branch.session = branch.session or self.voting.take(until)
        try:
            survivors = branches.read_mask(body["survivors"], branch.operations)
            branch.session.execute("BEGIN")  # a warning, where there is a transaction
            self.write(branch.session, branch.operations, survivors, branch.rows)
            self.write_witness(branch.session, gid)
            self.kept[gid] = branch.session
        except (Failure, psycopg.Error):
            self.voting.give(branch.session)
            raise
        return {}

    def finish(self, verb, body, until):
        session = self.kept.pop(read_gid(body), None)
        if session is None:
            return super().finish(verb, body, until)
        decide(session, verb.split()[0])
        self.voting.give(session)
        return {}

    def list_prepared(self, body, until):
        return {"gids": [gid for gid in self.kept if gid.startswith(f"txc_{body['installation']}_")]}


@fault("prepare_then_commit", "prepared_keeps_its_locks", "rollback_leaves_no_witness", "witness_after_commit")
class CommitsAtPrepare(Shipping):
    def prepare(self, body, until):
        super().prepare(body, until)
        return super().finish("COMMIT PREPARED", body, until)

    def finish(self, verb, body, until):
        return {}


# --- witnesses ------------------------------------------------------------------------------------
@fault("witness_after_commit", "commit_twice", "trimmed_witnesses", "branches_in_parallel")
class WritesNoWitness(Shipping):
    def write_witness(self, session, gid):
        pass


@fault("witness_after_commit", "rollback_leaves_no_witness")
class WitnessOfItsOwn(Shipping):
    """Written, but not in the branch's own transaction."""

    def write_witness(self, session, gid):
        with self.finishing.session(time.monotonic() + 1) as other:
            super().write_witness(other, gid)


@fault("no_second_branch")
class WitnessOfAnother(Shipping):
    def vote(self, body, until):
        self.ended.clear()
        return super().vote(body, until)

    def write_witness(self, session, gid):
        session.execute(branches.WITNESS + " ON CONFLICT DO NOTHING", (gid,))


@fault("unknown_gid_is_not_found", "commit_twice")
class CommitOfUnknownIsDone(Shipping):
    def finish(self, verb, body, until):
        try:
            return super().finish(verb, body, until)
        except Failure as failure:
            if failure.body["failure"] != "not_found":
                raise
            return {}


@fault("trimmed_witnesses")
class TrimsEveryWitness(Shipping):
    def trim_witnesses(self, body, until):
        return self.carelessly(until, "DELETE FROM txc_branch", ())


# --- locks ----------------------------------------------------------------------------------------
@fault("release_frees_the_lock", "a_waiting_vote_gets_the_lock")
class ReleaseForgetsTheLock(Shipping):
    forgotten = []  # a session that nobody knows any more would be closed

    def release(self, body, until):
        with self.guard:
            self.forgotten.append(self.branches.pop(read_gid(body), None))
        return {}


@fault("a_vote_blocks_another", "prepared_keeps_its_locks")
class VoteTakesNoLock(Shipping):
    def lock(self, session, operations):
        ids = [operation["order_id"] for operation in operations]
        rows = session.execute("SELECT order_id::text, status FROM shipments WHERE order_id = ANY(%s::uuid[])", (ids,))
        return dict(rows.fetchall())


@fault("prepared_keeps_its_locks")
class WaitsAsLongAsItLikes(Shipping):
    def vote(self, body, until):
        return super().vote(body, until + 60)


@fault("released_while_it_waits")
class ForgetsAReleaseDuringTheVote(Shipping):
    def release(self, body, until):
        branch = self.branches.get(read_gid(body))
        return {} if branch and branch.open_since is None else super().release(body, until)


@fault("rollback_frees_the_lock", "rollback_leaves_no_witness")
class RollbackDoesNothing(Shipping):
    def rollback(self, body, until):
        return {}


@fault("prepare_waits_for_nobody")
class PrepareLocks(Shipping):
    def write_witness(self, session, gid):
        session.execute("LOCK TABLE txc_branch IN SHARE ROW EXCLUSIVE MODE")
        super().write_witness(session, gid)


@fault("branches_in_parallel", "prepare_waits_for_nobody")
class OneBranchAtATime(Shipping):
    def vote(self, body, until):
        if self.branches and read_gid(body) not in self.branches:
            raise Failure("unavailable", "busy")
        return super().vote(body, until)


@fault("open_branch_is_released")
class NeverReleasesByItself(Shipping):
    def sweep(self, stop):
        pass


# --- once -----------------------------------------------------------------------------------------
@fault("vote_twice")
class VotesAgain(Shipping):
    def vote(self, body, until):
        self.release(body, until)
        self.ended.clear()
        return super().vote(body, until)


@fault("no_vote_after_its_end")
class OpensWhatHasEnded(Shipping):
    def vote(self, body, until):
        self.ended.clear()
        return super().vote(body, until)


@fault("requests_sent_twice")
class TheSecondVoteEndsTheFirst(Shipping):
    def vote(self, body, until):
        try:
            return super().vote(body, until)
        except Failure:
            self.release(body, until)
            raise


@fault("prepare_twice")
class PreparesAgain(Shipping):
    def prepare(self, body, until):
        if read_gid(body) not in self.branches:
            return {}
        return super().prepare(body, until)


# --- votes ----------------------------------------------------------------------------------------
class OtherJudge(Shipping):
    def votes(self, operations, rows, candidates):
        return super().judge_operations(operations, rows, candidates)

    def judge_operations(self, operations, rows, candidates):
        raise NotImplementedError


@fault("refusal_has_a_reason", "a_group_of_100")
class OneRefusalRefusesAll(OtherJudge):
    def judge_operations(self, operations, rows, candidates):
        votes = self.votes(operations, rows, candidates)
        refusals = [vote for vote in votes if vote["answer"] == "no"]
        return refusals[:1] * len(votes) if refusals else votes


@fault("no_work_is_yes")
class RefusesWhatIsNotItsWork(OtherJudge):
    def judge_operations(self, operations, rows, candidates):
        return [vote if self.touches(operation) else no("ILLEGAL_STATE", "not here")
                for vote, operation in zip(self.votes(operations, rows, candidates), operations)]


@fault("earlier_taking_counts")
class JudgesEachAlone(OtherJudge):
    def judge_operations(self, operations, rows, candidates):
        return [self.votes([operation], rows, [candidate])[0] for operation, candidate in zip(operations, candidates)]


@fault("earlier_giving_does_not_count")
class CountsWhatIsGiven(OtherJudge):
    def judge_operations(self, operations, rows, candidates):
        made = {operation["order_id"]: "ARRANGED" for operation in operations if operation["kind"] == "place"}
        return self.votes(operations, {**rows, **made}, candidates)


@fault("judge_without_a_candidate")
class JudgesAllOfThem(OtherJudge):
    def judge_operations(self, operations, rows, candidates):
        return self.votes(operations, rows, [True] * len(candidates))


@fault("survivors_alone_are_applied", "a_group_of_100")
class AppliesWhatItLikes(Shipping):
    def write(self, session, operations, survivors, rows):
        votes = self.judge_operations(operations, rows, [True] * len(operations))
        super().write(session, operations, [vote is YES for vote in votes], rows)


@fault("a_group_of_100")
class DropsTheTail(Shipping):
    def write(self, session, operations, survivors, rows):
        super().write(session, operations[:64], survivors[:64], rows)


@fault("poison_ends_the_branch", "all_or_nothing")
class PoisonIsAnError(Shipping):
    def write(self, *arguments):
        try:
            super().write(*arguments)
        except psycopg.errors.IntegrityError:
            raise Failure("error", "something is wrong") from None


@fault("a_mask_of_another_group")
class AnyMaskWillDo(Shipping):
    def judge(self, body, until):
        return super().judge(self.fitted(body, "candidates"), until)

    def prepare(self, body, until):
        return super().prepare(self.fitted(body, "survivors"), until)

    def fitted(self, body, name):
        size = len(self.open_branch(read_gid(body), take=False).operations)
        return {**body, name: (body[name] + [True] * size)[:size]}


# --- what recovery asks ---------------------------------------------------------------------------
@fault("listed_by_installation", "gauges_count")
class ListsEverybodys(Shipping):
    def prepared(self, session, installation):
        rows = session.execute("SELECT gid FROM pg_prepared_xacts WHERE gid LIKE 'txc%shipping'").fetchall()
        return {gid.removesuffix("_shipping"): 0 for gid, in rows}


@fault("listed_by_participant")
class ListsOtherParticipants(Shipping):
    def prepared(self, session, installation):
        rows = session.execute("SELECT gid FROM pg_prepared_xacts WHERE starts_with(gid, %s)",
                               (f"txc_{installation}_",)).fetchall()
        return {gid.rpartition("_")[0]: 0 for gid, in rows}


@fault("gauges_count")
class CountsNothing(Shipping):
    def gauges(self, body, until):
        return {**super().gauges(body, until), "in_doubt_branches": 0}


@fault("log_seen_is_kept")
class LogSeenOnlyGrows(Shipping):
    def note_log_seen(self, body, until):
        if body["lsn"] >= self.log_seen(body, until)["lsn"]:
            super().note_log_seen(body, until)
        return {}
