"""Faults of sagas' steps, and of the wire: see faults.py."""
import threading

import branches
import service
from branches import decide
from faults import fault
from service import Failure
from shipping import Shipping


# --- steps ----------------------------------------------------------------------------------------
@fault("step_is_done", "step_repeated", "step_compensated")
class AnswersWithoutACommit(Shipping):
    def perform(self, session, *arguments):
        replies = super().perform(session, *arguments)
        session.execute("ROLLBACK")
        return replies


@fault("step_repeated", "several_sagas_in_one_call")
class RunsARepeatedStep(Shipping):
    def answered(self, session, sagas, step, undoes):
        session.execute("DELETE FROM txc_saga_steps WHERE saga_id = ANY(%s::uuid[]) AND step = %s", (sagas, step))
        return super().answered(session, sagas, step, undoes)

    def write(self, session, operations, survivors, rows):
        ids = [operation["order_id"] for operation in operations]
        session.execute("DELETE FROM shipments WHERE order_id = ANY(%s::uuid[])", (ids,))
        super().write(session, operations, survivors, rows)


@fault("step_twice_at_once")
class ClaimsWithoutWaiting(Shipping):
    """Looks whether the step was done before, and then does it. Two callers always look before either does it."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.both_have_looked = threading.Barrier(2)

    def answered(self, session, sagas, step, undoes):
        rows = {row[:2]: row[2:] for row in session.execute(branches.READ_STEPS, (sagas, [step, undoes])).fetchall()}
        self.both_have_looked.wait(5)
        for saga in sagas:
            if (saga, step) not in rows:
                session.execute("INSERT INTO txc_saga_steps VALUES (%s, %s, 'done')", (saga, step))
        return [self.as_before(*rows[saga, step]) if (saga, step) in rows else None for saga in sagas]


@fault("step_compensated", "refusals_that_are_not_remembered")
class CompensatesNothing(Shipping):
    def run_step(self, body, until):
        if body.get("undoes"):
            return {"replies": [{"status": "done"} for _ in body["calls"]]}
        return super().run_step(body, until)


@fault("empty_compensation")
class CompensatesWhatNeverCame(Shipping):
    def answered(self, session, sagas, step, undoes):
        return [None for _ in super().answered(session, sagas, step, undoes)]


@fault("step_after_its_compensation", "several_sagas_in_one_call")
class LeavesNoBar(Shipping):
    def answered(self, session, sagas, step, undoes):
        replies = super().answered(session, sagas, step, undoes)
        session.execute("DELETE FROM txc_saga_steps WHERE saga_id = ANY(%s::uuid[]) AND outcome = 'skipped'", (sagas,))
        return replies


@fault("refusal_is_remembered", "refuse_as_is_a_refusal")
class ForgetsRefusals(Shipping):
    def run_step(self, body, until):
        return super().run_step({**body, "must_succeed": True}, until)


@fault("refuse_as_is_a_refusal")
class NoDrills(Shipping):
    def perform(self, session, operations, refusals):
        return super().perform(session, operations, [""] * len(refusals))


@fault("refusals_that_are_not_remembered")
class RemembersEveryRefusal(Shipping):
    def run_step(self, body, until):
        return super().run_step({**body, "must_succeed": False}, until)


@fault("retry_is_not_remembered")
class RefusesForGoodWhatMayCome(Shipping):
    def perform(self, *arguments):
        return [{**reply, "status": "refused" if reply["status"] == "retry" else reply["status"]}
                for reply in super().perform(*arguments)]


@fault("several_sagas_in_one_call")
class RepliesOutOfOrder(Shipping):
    def run_step(self, body, until):
        return {"replies": super().run_step(body, until)["replies"][::-1]}


@fault("all_or_nothing")
class ATransactionForEachCall(Shipping):
    def run_step(self, body, until):
        once = super().run_step
        return {"replies": [once({**body, "calls": [call]}, until)["replies"][0] for call in body["calls"]]}


@fault("trimmed_steps")
class TrimsNoStep(Shipping):
    def trim_steps(self, body, until):
        return {}


@fault("listed_steps")
class ListsStepsOutOfOrder(Shipping):
    def list_steps(self, body, until):
        answer = super().list_steps(body, until)
        return {**answer, "sagas": answer["sagas"][::-1]}


# --- the wire -------------------------------------------------------------------------------------
@fault("unknown_members_are_ignored")
class KnowsItAll(Shipping):
    def prepare(self, body, until):
        if set(body) != {"gid", "survivors"}:
            raise Failure("error", "a member that is not known", 400)
        return super().prepare(body, until)


@fault("missing_members", "incomplete_operations")
class MakesUpWhatIsMissing(Shipping):
    def vote(self, body, until):
        made_up = {"correlation_id": "", "created_at": 0, "transaction_id": ""}
        operations = [{**made_up, **operation} for operation in body["operations"]]
        return super().vote({**body, "operations": operations}, until)

    def list_prepared(self, body, until):
        return super().list_prepared({"installation": "", **body}, until)


@fault("gids_that_are_none")
class TakesAnyGid(Shipping):
    def finish(self, verb, body, until):
        with self.finishing.session(until) as session:
            decide(session, f"{verb} '{body['gid'].strip()}_shipping'")
        return {}


@fault("nothing_found")
class NothingIsAFailure(Shipping):
    def shipment(self, body, until):
        answer = super().shipment(body, until)
        if answer["found"] is None:
            raise Failure("not_found", "no such shipment")
        return answer


@fault("shipments")
class TimesInSeconds(Shipping):
    def shipments(self, body, until):
        rows = super().shipments(body, until)["rows"]
        return {"rows": [{**row, "created_at": row["created_at"] // 1000000} for row in rows]}


class OtherHandler(Shipping):
    """What is wrong is on the wire: `members` replace those of the HTTP handler."""
    members = {}

    def __init__(self, *arguments):
        super().__init__(*arguments)
        for name, value in self.members.items():
            setattr(service.Handler, name, value)


def without_echo(self, name, value):
    if name != "X-Request-ID":
        service.http.server.BaseHTTPRequestHandler.send_header(self, name, value)


def taking_all_for_posts(self):
    self.command = "POST"
    self.do_POST()


PERFORM = service.Handler.perform


def letting_all_in(self, text, started):
    self.token = ""
    return PERFORM(self, text, started)


def calling_unknown_calls_not_found(self, text, started):
    try:
        return PERFORM(self, text, started)
    except Failure as failure:
        if failure.status == 404 and failure.body["failure"] == "error":
            raise Failure("not_found", "what?") from None
        raise


def falling_over_what_is_unreadable(self, text, started):
    try:
        return PERFORM(self, text, started)
    except (ValueError, RecursionError):
        raise SystemExit from None  # of this connection's thread


@fault("headers_are_echoed")
class NoEcho(OtherHandler):
    members = {"send_header": without_echo}


@fault("connections_are_kept")
class OneCallAConnection(OtherHandler):
    members = {"protocol_version": "HTTP/1.0"}


@fault("the_token_is_asked_for")
class AsksForNoToken(OtherHandler):
    members = {"perform": letting_all_in}


@fault("unknown_calls")
class UnknownIsNotFound(OtherHandler):
    members = {"perform": calling_unknown_calls_not_found}


@fault("other_methods")
class AnyMethodWillDo(OtherHandler):
    members = {"do_PUT": taking_all_for_posts}


@fault("unreadable_bodies")
class FallsOver(OtherHandler):
    members = {"perform": falling_over_what_is_unreadable}
