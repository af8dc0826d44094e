"""What the cases are written with: a caller of the protocol, the list of rules, and expectations that say what was
seen instead. Standard library only."""
import http.client
import itertools
import json
import secrets
import threading
import time
import urllib.parse

ANSWER_SECONDS_MAX = 10  # longer than any call may take: then the service is silent
TIMEOUT_MS = 3000        # what a call is given, unless a case says otherwise
RULES = []               # (where in the document, name, sentence, what it needs, the case), in order


class Broken(Exception):
    """A rule of the protocol that does not hold here; says what was seen."""


class NotHere(Exception):
    """What the rule is about is not there: this service has no such thing, or the suite was not told how."""


def rule(where, needs=None, only=None):
    """Makes a function a case. Its docstring is the rule; `needs`: dsn, restart or token; `only`: participants."""
    def register(case):
        RULES.append((where, case.__name__, " ".join(case.__doc__.split()), needs, only, case))
        return case
    return register


class Answer:
    def __init__(self, status, headers, text):
        self.status, self.headers = status, headers
        try:
            self.body = json.loads(text)
        except ValueError:
            self.body = None

    def member(self, name):
        return self.body.get(name) if isinstance(self.body, dict) else None

    def __str__(self):
        return f"{self.status} {json.dumps(self.body, ensure_ascii=False)}"[:300]


class Service:
    """The participant under test, from outside. A connection for each thread, kept alive."""

    def __init__(self, url, participant, token, restart_command=None, dsn=None, open_ms_max=15000):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port, self.prefix = parts.hostname, parts.port or 80, parts.path.rstrip("/")
        self.participant, self.token, self.restart_command, self.dsn = participant, token, restart_command, dsn
        self.open_seconds_max = open_ms_max / 1000
        self.installation, self.incarnation = secrets.token_hex(4), secrets.token_hex(4)
        self.numbers, self.gids, self.local = itertools.count(1), [], threading.local()

    # --- calls ----------------------------------------------------------------------------------
    def send(self, method, path, text=b"", headers=None):
        """One request; ConnectionError or TimeoutError when nothing comes back."""
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=ANSWER_SECONDS_MAX)
            self.local.connection = connection
        try:
            connection.request(method, self.prefix + path, text, headers or {})
            reply = connection.getresponse()
            return Answer(reply.status, reply.headers, reply.read())
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise ConnectionError(f"no answer to {method} {path}: {type(error).__name__} {error}") from None

    def close(self):
        """This thread's connection."""
        if getattr(self.local, "connection", None) is not None:
            self.local.connection.close()
            self.local.connection = None

    def connected(self):
        """Whether this thread's connection outlived its last answer."""
        connection = getattr(self.local, "connection", None)
        return connection is not None and connection.sock is not None

    def headers(self, timeout_ms=TIMEOUT_MS, **more):
        made = {"Content-Type": "application/json", "Txcoord-Timeout-Ms": str(timeout_ms),
                "X-Correlation-ID": f"conformance-{self.incarnation}", "X-Request-ID": secrets.token_hex(8)}
        if self.token:
            made["Authorization"] = f"Bearer {self.token}"
        made.update(more)
        return made

    def path(self, call):
        return f"/participant/v1/{self.participant}/{call}"

    def ask(self, call, timeout_ms=TIMEOUT_MS, **body):
        """The Answer, whatever it is."""
        headers = self.headers(timeout_ms)
        return self.send("POST", self.path(call), self.text_of(call, headers["X-Request-ID"], body), headers)

    def text_of(self, call, request_id, body):
        """A request's body, with its identity."""
        return json.dumps({"participant": self.participant, "call": call, "request_id": request_id, **body}).encode()

    def bytes_of(self, call, request_id, body):
        """A whole request, for those who send it themselves."""
        text = self.text_of(call, request_id, body)
        headers = {"Host": self.host, **self.headers(**{"X-Request-ID": request_id}), "Content-Length": len(text)}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {self.prefix}{self.path(call)} HTTP/1.1\r\n{lines}\r\n".encode() + text

    def do(self, call, **body):
        """The body of a 200."""
        answer = self.ask(call, **body)
        expect(answer.status == 200, f"{call} answered {answer}")
        expect(isinstance(answer.body, dict), f"{call} answered no object: {answer}")
        return answer.body

    # --- global transactions ----------------------------------------------------------------------
    def gid(self, installation=None):
        """A new one. What the case leaves behind of it is ended after the case."""
        made = f"txc_{installation or self.installation}_suite_1_{self.incarnation}_{next(self.numbers)}"
        self.gids.append(made)
        return made

    def vote(self, gid, operations):
        votes = self.do("vote", gid=gid, operations=operations).get("votes")
        return checked_votes(votes, len(operations), "vote")

    def judge(self, gid, candidates):
        return checked_votes(self.do("judge", gid=gid, candidates=candidates).get("votes"), len(candidates), "judge")

    def prepared(self, *operations):
        """The gid of a branch with these operations, each of which must get yes."""
        gid = self.gid()
        votes = self.vote(gid, list(operations))
        expect(all(vote["answer"] == "yes" for vote in votes), f"refused: {votes}")
        self.do("prepare", gid=gid, survivors=[True] * len(operations))
        return gid

    def committed(self, *operations):
        gid = self.prepared(*operations)
        self.do("commit", gid=gid)
        return gid

    def witness(self, gid):
        present = self.do("witness", gid=gid).get("present")
        expect(isinstance(present, bool), f"witness: present is {present!r}")
        return present

    def listed(self, installation=None):
        gids = self.do("list-prepared", installation=installation or self.installation).get("gids")
        expect(isinstance(gids, list), f"list-prepared: gids is {gids!r}")
        expect(len(set(gids)) == len(gids), f"list-prepared names a gid twice: {gids}")
        return set(gids)

    def run_step(self, step, *calls, undoes="", must_succeed=False):
        """`calls`: (saga, operation) or (saga, operation, refuse_as). The replies, in order."""
        body = {"gid": self.gid(), "step": step, "undoes": undoes, "must_succeed": must_succeed,
                "calls": [{"saga_id": saga, "operation": operation, **({"refuse_as": more[0]} if more else {})}
                          for saga, operation, *more in calls]}
        replies = self.do("run-step", **body).get("replies")
        expect(isinstance(replies, list) and len(replies) == len(calls), f"run-step: replies are {replies!r}")
        return replies

    def clean_up(self):
        """Ends whatever a case left open or prepared; that it was left is the case's finding, if it is one."""
        for gid in self.gids:
            for call in ("release", "rollback"):
                try:
                    self.ask(call, gid=gid)
                except ConnectionError:
                    pass
        self.gids.clear()


def expect(holds, seen):
    if not holds:
        raise Broken(seen)


def fails(answer, *kinds):
    """An answer that is a failure of one of these kinds, told as the document says."""
    expect(answer.status != 200, f"expected a failure ({' or '.join(kinds)}), got {answer}")
    expect(answer.member("failure") in kinds, f"expected a failure ({' or '.join(kinds)}), got {answer}")
    expect(answer.headers.get_content_type() == "application/problem+json",
           f"a failure as {answer.headers.get_content_type()}")
    statuses = {"unavailable": 503, "timeout": 504, "deadlock": 409, "lock_timeout": 409, "busy": 409,
                "not_found": 404, "poison": 422, "fenced": 409}
    expected = statuses.get(answer.member("failure"), answer.status)
    expect(answer.status == expected and answer.status >= 400, f"the status of this failure is {expected}: {answer}")
    for name, kind in (("outcome_unknown", bool), ("sqlstate", str), ("detail", str)):
        expect(isinstance(answer.member(name), kind), f"{name} is missing or of another type: {answer}")
    expect(answer.member("outcome_unknown") is False, f"the outcome is known here: {answer}")


def checked_votes(votes, count, call):
    expect(isinstance(votes, list) and len(votes) == count, f"{call}: expected {count} votes, got {votes!r}")
    for vote in votes:
        expect(vote.get("answer") in ("yes", "no", "retry"), f"{call}: no vote: {vote}")
        expect(isinstance(vote.get("final"), bool), f"{call}: a vote without final: {vote}")
        expect(vote["answer"] != "no" or vote.get("reason"), f"{call}: a no without a reason: {vote}")
    return votes


def answers(votes):
    return [vote["answer"] for vote in votes]


def done(body):
    """An answer that says that it was done, and nothing else."""
    others = set(body) & {"votes", "replies", "gids", "present", "found", "rows", "failure", "error", "status"}
    expect(body.get("done") is True and not others, f"expected done, got {body}")


def repeats(answer, **identity):
    """An answer, of a success or of a failure, that repeats these members."""
    seen = {name: answer.member(name) for name in identity}
    expect(seen == identity, f"asked {identity}, answered {seen} ({answer.status})")


def statuses(replies):
    return [reply.get("status") for reply in replies]


def wait_until(what, condition, seconds):
    """Polls; raises Broken. Calls that nobody answers count as not yet."""
    until = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except ConnectionError:
            pass
        expect(time.monotonic() < until, f"not within {seconds} s: {what}")
        time.sleep(0.02)


class Asking(threading.Thread):
    """A call that is expected to wait: made in a thread of its own."""

    def __init__(self, service, call, timeout_ms, **body):
        super().__init__(daemon=True)
        self.service, self.arguments, self.answer, self.ended = service, (call, timeout_ms), None, None
        self.body = body
        self.start()

    def run(self):
        try:
            self.answer = self.service.ask(*self.arguments, **self.body)
        except ConnectionError as error:
            self.answer = Answer(0, None, json.dumps({"detail": str(error)}))
        self.ended = time.monotonic()
        self.service.close()

    def result(self, seconds=ANSWER_SECONDS_MAX):
        self.join(seconds + 1)
        expect(self.answer is not None, f"{self.arguments[0]} did not answer within {seconds} s")
        expect(self.answer.status != 0, str(self.answer))
        return self.answer
