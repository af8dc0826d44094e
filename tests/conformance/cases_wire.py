"""The rules of the wire: who may call, what is read, what is ignored, and how a failure is told."""
import json
import secrets

from kit import answers, expect, fails, rule

OPERATION_MEMBERS = ("kind", "order_id", "correlation_id", "created_at", "transaction_id", "place")
MEMBERS = {  # of each call, what it cannot do without
    "vote": ("gid", "operations"), "judge": ("gid", "candidates"), "prepare": ("gid", "survivors"),
    "release": ("gid",), "commit": ("gid",), "rollback": ("gid",), "witness": ("gid",),
    "list-prepared": ("installation",), "trim-witnesses": ("gids",), "gauges": ("installation",),
    "log-seen": ("installation",), "note-log-seen": ("installation", "system_identifier", "timeline", "lsn"),
    "run-step": ("gid", "step", "calls"), "trim-steps": ("saga_ids",),
    "list-steps": ("installation", "saga_ids", "limit")}


@rule("Calls")
def unknown_members_are_ignored(service, shop):
    """Members that are not known, at any depth, change nothing."""
    made = shop.place()
    made["colour"], made["place"]["ribbon"] = "blue", {"length": [1, 2.5, None]}
    made["place"]["items"][0]["colour"] = "blue"
    if "address" in made["place"]:
        made["place"]["address"]["floor"] = 3
    gid = service.gid()
    votes = service.do("vote", gid=gid, operations=[made], hint={"urgent": True})["votes"]
    expect(answers(votes) == ["yes"], f"got {votes}")
    service.do("prepare", gid=gid, survivors=[True], hint=1)
    service.do("commit", gid=gid, hint=None)
    expect(shop.state(made) == shop.placed, f"a reader sees {shop.state(made)}")


@rule("Calls")
def headers_are_echoed(service, shop):
    """X-Correlation-ID and X-Request-ID come back, with an answer and with a failure."""
    gid = service.gid()
    for call in ("witness", "commit"):
        sent = service.headers(**{"X-Correlation-ID": gid, "X-Request-ID": secrets.token_hex(16)})
        answer = service.send("POST", service.path(call), json.dumps({"gid": gid}).encode(), sent)
        for name in ("X-Correlation-ID", "X-Request-ID"):
            expect(answer.headers.get(name) == sent[name],
                   f"{call} {answer.status}: {name} is {answer.headers.get(name)!r}, sent {sent[name]!r}")


@rule("Calls")
def connections_are_kept(service, shop):
    """A connection outlives an answer, and a failure of the business."""
    gid = service.gid()
    service.witness(gid)
    expect(service.connected(), "the connection was closed after a 200")
    fails(service.ask("commit", gid=gid), "not_found")
    expect(service.connected(), "the connection was closed after a failure")


@rule("Calls", needs="token")
def the_token_is_asked_for(service, shop):
    """Without the deployment's token, or with another, a call gets 401, and nothing is done."""
    placed = shop.place()
    gid = service.gid()
    body = json.dumps({"gid": gid, "operations": [placed]}).encode()
    for wrong in (None, "Bearer ", "Bearer wrong", f"Bearer {service.token}x", f"Bearer {service.token[:-1]}",
                  f"Basic {service.token}", service.token):
        headers = service.headers()
        del headers["Authorization"]
        if wrong is not None:
            headers["Authorization"] = wrong
        answer = service.send("POST", service.path("vote"), body, headers)
        expect(answer.status == 401, f"Authorization: {'none' if wrong is None else 'a wrong one'}: {answer}")
    expect(answers(service.vote(gid, [placed])) == ["yes"], "a call without the token was a vote")


@rule("Failures")
def unknown_calls(service, shop):
    """A call, a version or a participant that is not there: 404, as error, never not_found."""
    body = json.dumps({"gid": service.gid()}).encode()
    for path in (service.path("conquer"), service.path(""), service.path("witness").replace("/v1/", "/v9/"),
                 "/participant/v1/warehouse/witness"):
        answer = service.send("POST", path, body, service.headers())
        fails(answer, "error")
        expect(answer.status == 404, f"{path}: {answer}")


@rule("Failures")
def other_methods(service, shop):
    """A call that is no POST is refused, and nothing is done."""
    gid = service.prepared(shop.place())
    body = json.dumps({"gid": gid}).encode()
    for method in ("GET", "PUT", "DELETE"):
        answer = service.send(method, service.path("commit"), body, service.headers())
        expect(400 <= answer.status < 600, f"{method} answered {answer}")
    expect(gid in service.listed() and not service.witness(gid), "it was committed by another method")


@rule("Failures")
def unreadable_bodies(service, shop):
    """What is no JSON, or no object, fails as error, and the service goes on."""
    for text in (b"", b"{", b"[]", b'"vote"', b"null", b'{"gid": txc}', b'{"gid": "\xff"}', b"{} {}", b"[" * 5000):
        for call in ("vote", "witness", "run-step"):
            answer = service.send("POST", service.path(call), text, service.headers())
            fails(answer, "error")
    expect(not service.witness(service.gid()), "a gid that never was has a witness")


@rule("Failures")
def missing_members(service, shop):
    """A call without one of its members, or with one of another type, fails as error, and nothing is done."""
    for call, members in MEMBERS.items():
        whole = {"gid": service.gid(), "operations": [], "candidates": [], "survivors": [], "installation": "0" * 8,
                 "gids": [], "system_identifier": "1", "timeline": 1, "lsn": 1, "step": "step", "undoes": "",
                 "must_succeed": False, "calls": [], "saga_ids": []}
        for member in members:
            for wrong in ("missing", None, 17 if member not in ("timeline", "lsn") else "17", {"no": 1}):
                body = {name: whole[name] for name in whole if name != member}
                if wrong != "missing":
                    body[member] = wrong
                answer = service.ask(call, **body)
                expect(answer.status != 200, f"{call} with {member} {json.dumps(wrong)} answered {answer}")
                fails(answer, "error")


@rule("Failures")
def incomplete_operations(service, shop):
    """An operation without one of the members that it always has is an error at the vote, and nothing is open."""
    first, second = shop.rivals()
    for member in OPERATION_MEMBERS[:-1] + (("place",) if first["kind"] == "place" else ()):
        incomplete = {name: first[name] for name in first if name != member}
        answer = service.ask("vote", gid=service.gid(), operations=[incomplete])
        expect(answer.status != 200, f"a vote on an operation without {member}: {answer}")
        fails(answer, "error")
    votes = service.vote(service.gid(), [second])
    expect(answers(votes) == ["yes"], f"after votes that failed: {votes}")


@rule("Failures")
def gids_that_are_none(service, shop):
    """A gid that is none is an error: it never reaches the database as SQL."""
    good = service.prepared(shop.place())
    for wrong in ("", "txc_", "gid", "txc_x'; ROLLBACK; --", f"{good}' OR 'a'='a", f"{good} ", f"TXC{good[3:]}",
                  good + "x" * 60):
        for call in ("commit", "rollback", "witness"):
            fails(service.ask(call, gid=wrong), "error")
    expect(good in service.listed(), "it was ended by a gid that is none")
