"""Faults of the wire, of identities, and of staying in step: see faults.py."""
import json

import service
from branches import decide
from faults import fault
from service import Failure
from shipping import Shipping


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


# --- identity, and staying in step ------------------------------------------------------------------
REPLY, READ_BODY, IDENTIFY = service.Handler.reply, service.Handler.read_body, service.Handler.identify


def replying_without(*names):
    def reply(self, status, body):
        REPLY(self, status, {name: value for name, value in body.items() if name not in names})
    return reply


def replying_as_the_header_says(self, status, body):
    REPLY(self, status, {**body, "request_id": self.headers.get("X-Request-ID", "")})


def believing_the_path(self, body, call):
    IDENTIFY(self, {**body, "call": call, "participant": self.participant.NAME}, call)


def performing_whatever_it_is(self, text, started):
    del self.headers["Content-Type"]
    self.headers["Content-Type"] = "application/json"
    return PERFORM(self, text, started)


def performing_the_last_of_two(self, text, started):
    return PERFORM(self, json.dumps(json.loads(text)).encode(), started)


def reading_what_there_is(self):
    return self.rfile.read1(service.BODY_BYTES_MAX)


def reading_what_comes_along(self):
    text = READ_BODY(self)
    self.connection.setblocking(False)
    while self.rfile.peek(1):
        self.rfile.read1(service.BODY_BYTES_MAX)
    self.connection.setblocking(True)
    return text


def reading_as_long_as_it_comes(self):
    return self.rfile.read(int(self.headers.get("Content-Length")))


@fault("answers_repeat_their_question", "older_callers_are_answered")
class RepeatsNothing(OtherHandler):
    members = {"reply": replying_without("call", "gid", "request_id")}


@fault("answers_repeat_their_question")
class RepeatsWhatAProxyWrote(OtherHandler):
    members = {"reply": replying_as_the_header_says}


@fault("older_callers_are_answered")
class KnowsNewCallersAlone(OtherHandler):
    members = {"identify": lambda self, body, call: self.identity.update(
        {name: body.get(name) for name in ("call", "request_id", "gid")})}


@fault("done_is_said")
class SaysNothing(OtherHandler):
    members = {"reply": replying_without("done")}


@fault("batches_name_their_members")
class NamesNobody(Shipping):
    def judge(self, body, until):
        votes = super().judge(body, until)["votes"]
        return {"votes": [{name: value for name, value in vote.items() if name != "order_id"} for vote in votes]}


@fault("a_foreign_call_is_refused")
class BelievesThePath(OtherHandler):
    members = {"identify": believing_the_path}


@fault("the_media_type_is_asked_for")
class TakesForms(OtherHandler):
    members = {"perform": performing_whatever_it_is}


@fault("a_member_named_twice")
class TakesTheLastOfTwo(OtherHandler):
    members = {"perform": performing_the_last_of_two}


@fault("requests_in_pieces")
class ReadsWhatThereIs(OtherHandler):
    members = {"read_body": reading_what_there_is}


@fault("two_requests_at_once", "bytes_after_a_request")
class SwallowsWhatComesAlong(OtherHandler):
    members = {"read_body": reading_what_comes_along}


@fault("a_request_cut_off_does_nothing", "two_lengths")
class CountsNoBytes(OtherHandler):
    members = {"read_body": reading_as_long_as_it_comes}
