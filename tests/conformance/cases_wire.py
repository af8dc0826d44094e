"""The rules of the wire: who may call, what is read, what is ignored, and how a failure is told."""
import json
import secrets
import uuid

from kit import answers, done, expect, fails, repeats, rule

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


@rule("Identity")
def answers_repeat_their_question(service, shop):
    """An answer repeats call, gid and request_id of the body, a failure's too, whatever a header says."""
    gid = service.gid()
    for call, status in (("witness", 200), ("commit", 404), ("list-prepared", 200), ("witness", 400)):
        identity = {"call": call, "request_id": secrets.token_hex(16)}
        about = {"installation": service.installation} if call == "list-prepared" else {"gid": gid}
        if status == 400:
            about["gid"] = "gid"
        sent = service.headers(**{"X-Request-ID": "of a proxy"})
        answer = service.send("POST", service.path(call), service.text_of(call, identity["request_id"], about), sent)
        expect(answer.status == status, f"{call} answered {answer}")
        repeats(answer, **identity, **({"gid": about["gid"]} if "gid" in about else {}))


@rule("Identity")
def older_callers_are_answered(service, shop):
    """A body without identity is answered with the call of the path and the header's X-Request-ID."""
    gid = service.gid()
    for call in ("witness", "commit"):
        sent = service.headers()
        answer = service.send("POST", service.path(call), json.dumps({"gid": gid}).encode(), sent)
        repeats(answer, call=call, request_id=sent["X-Request-ID"], gid=gid)


@rule("Identity")
def done_is_said(service, shop):
    """What has nothing to tell answers `done`, and nothing of another kind."""
    gid = service.gid()
    service.vote(gid, [shop.place()])
    done(service.do("release", gid=gid))
    gid = service.gid()
    service.vote(gid, [shop.place()])
    done(service.do("prepare", gid=gid, survivors=[True]))
    done(service.do("commit", gid=gid))
    done(service.do("trim-witnesses", gids=[service.gid()]))
    done(service.do("trim-steps", saga_ids=[]))


@rule("Identity")
def batches_name_their_members(service, shop):
    """Each vote repeats its order_id, each reply its saga_id, in the order of the question."""
    operations, gid = [shop.place() for _ in range(3)], service.gid()
    orders = [operation["order_id"] for operation in operations]
    for votes in (service.vote(gid, operations), service.judge(gid, [True, False, True])):
        expect([vote.get("order_id") for vote in votes] == orders, f"asked for {orders}, got {votes}")
    sagas = [str(uuid.uuid4()) for _ in range(3)]
    replies = service.run_step(shop.do_step[0], *((saga, shop.step()) for saga in sagas))
    expect([reply.get("saga_id") for reply in replies] == sagas, f"asked for {sagas}, got {replies}")


@rule("Identity")
def a_foreign_call_is_refused(service, shop):
    """A body that names another call or participant than the path is an error, and nothing is done."""
    gid = service.prepared(shop.place())
    for wrong in ({"call": "witness"}, {"participant": "warehouse"}, {"call": 7}):
        body = {"participant": service.participant, "call": "commit", "request_id": "r", "gid": gid, **wrong}
        answer = service.send("POST", service.path("commit"), json.dumps(body).encode(), service.headers())
        fails(answer, "error")
    expect(gid in service.listed() and not service.witness(gid), "it was committed by a foreign call")


@rule("Calls")
def the_media_type_is_asked_for(service, shop):
    """A body that is not said to be application/json is an error, and nothing is done."""
    gid = service.prepared(shop.place())
    for wrong in ("text/plain", "application/x-www-form-urlencoded"):
        headers = service.headers(**{"Content-Type": wrong})
        answer = service.send("POST", service.path("commit"), service.text_of("commit", "r", {"gid": gid}), headers)
        fails(answer, "error")
    expect(gid in service.listed() and not service.witness(gid), "it was committed by a form")


@rule("Calls")
def a_member_named_twice(service, shop):
    """A body that names a member twice is an error, at any depth, and nothing is done."""
    gid, other = service.prepared(shop.place()), service.gid()
    for text in (f'{{"gid": "{other}", "gid": "{gid}"}}', f'{{"gid": "{gid}", "gid": "{gid}"}}',
                 f'{{"gid": "{gid}", "more": [{{"a": 1, "a": 1}}]}}'):
        fails(service.send("POST", service.path("commit"), text.encode(), service.headers()), "error")
    expect(gid in service.listed() and not service.witness(gid), "it was committed")


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
                 "must_succeed": False, "calls": [], "saga_ids": [], "after": "", "limit": 1}
        for member in members:
            for wrong in ("missing", None, 17 if member not in ("timeline", "lsn", "limit") else "17", {"no": 1}):
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
