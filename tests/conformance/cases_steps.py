"""The rules of sagas' steps: done once, whoever repeats them, and never after their compensation."""
import uuid

from kit import Asking, NotHere, expect, fails, rule, statuses


def saga():
    return str(uuid.uuid4())


def done(service, shop, identity, made):
    """Runs the service's step of one saga; its reply must be done."""
    replies = service.run_step(shop.do_step[0], (identity, made))
    expect(statuses(replies) == ["done"], f"the step answered {replies}")


def undo(service, shop, *calls):
    return service.run_step(shop.undo_step[0], *calls, undoes=shop.do_step[0])


@rule("Steps: run-step")
def step_is_done(service, shop):
    """A step is done and committed when it is answered; nothing of it is prepared, and it leaves no witness."""
    made = shop.step()
    done(service, shop, saga(), made)
    expect(shop.state(made) == shop.stepped, f"the step is done, and a reader sees {shop.state(made)}")
    expect(not service.listed(), "a step left something prepared")
    expect(not any(service.witness(gid) for gid in service.gids), "a step left a witness")


@rule("Steps: run-step")
def step_repeated(service, shop):
    """A step that is asked again, by another gid, answers done and does nothing."""
    made, identity = shop.step(), saga()
    done(service, shop, identity, made)
    once = shop.history(made)
    done(service, shop, identity, made)
    expect(shop.state(made) == shop.stepped, f"repeated, and a reader sees {shop.state(made)}")
    expect(shop.history(made) == once, f"it was done again: {shop.history(made)}")


@rule("Steps: run-step")
def step_twice_at_once(service, shop):
    """The same step from two callers at once: done for both, and done once."""
    made, identity = shop.step(), saga()
    body = {"step": shop.do_step[0], "undoes": "", "must_succeed": False,
            "calls": [{"saga_id": identity, "operation": made}]}
    for asked in [Asking(service, "run-step", 5000, gid=service.gid(), **body) for _ in range(4)]:
        answer = asked.result()
        if answer.status == 200:
            expect(statuses(answer.body["replies"]) == ["done"], f"got {answer}")
        else:
            fails(answer, "lock_timeout", "timeout", "deadlock")
    expect(shop.state(made) == shop.stepped, f"a reader sees {shop.state(made)}")
    expect(len(shop.history(made)) == 1, f"it was done more than once: {shop.history(made)}")


@rule("Steps: compensation")
def step_compensated(service, shop):
    """A compensation undoes its step; asked again, it answers done and does nothing."""
    made, identity = shop.step(), saga()
    done(service, shop, identity, made)
    for _ in range(2):
        replies = undo(service, shop, (identity, shop.undo(made)))
        expect(statuses(replies) == ["done"], f"the compensation answered {replies}")
        expect(shop.state(made) == shop.unstepped, f"compensated, and a reader sees {shop.state(made)}")
        expect(len(shop.history(made)) == 2, f"done and undone, each once: {shop.history(made)}")
    done(service, shop, identity, made)  # it was done, says its row
    expect(shop.state(made) == shop.unstepped, f"the step came again, and a reader sees {shop.state(made)}")


@rule("Steps: compensation")
def empty_compensation(service, shop):
    """A compensation of a step that never came answers done and undoes nothing."""
    made, identity = shop.step(), saga()
    for _ in range(2):
        replies = undo(service, shop, (identity, shop.undo(made)))
        expect(statuses(replies) == ["done"], f"it answered {replies}")
        expect(shop.state(made) == shop.never_stepped, f"a reader sees {shop.state(made)}")


@rule("Steps: compensation")
def step_after_its_compensation(service, shop):
    """A step that comes after its compensation is barred, however often; nothing is done."""
    made, identity = shop.step(), saga()
    undo(service, shop, (identity, shop.undo(made)))
    for _ in range(2):
        replies = service.run_step(shop.do_step[0], (identity, made))
        expect(statuses(replies) == ["barred"], f"its compensation came first, and it answered {replies}")
        expect(shop.state(made) == shop.never_stepped, f"a reader sees {shop.state(made)}")


@rule("Steps: run-step")
def refusal_is_remembered(service, shop):
    """A refused step is refused the same way ever after, and its compensation has nothing to undo."""
    if shop.participant == "order":
        raise NotHere("the order service refuses no new order")
    made, reason = shop.refused()
    made, identity = shop.step(made), saga()
    first, = service.run_step(shop.do_step[0], (identity, made))
    expect((first["status"], first["reason"]) == ("refused", reason), f"expected {reason}, got {first}")
    possible = {**shop.step(), "order_id": made["order_id"]}
    again, = service.run_step(shop.do_step[0], (identity, possible))
    expect(again == first, f"first {first}, asked again {again}")
    replies = undo(service, shop, (identity, shop.undo(made)))
    expect(statuses(replies) == ["done"] and shop.state(made) is None, f"its compensation answered {replies}")


@rule("Steps: refuse_as")
def refuse_as_is_a_refusal(service, shop):
    """refuse_as refuses a new call with that reason, for good; a call that was done before stays done."""
    made, identity = shop.step(), saga()
    first, = service.run_step(shop.do_step[0], (identity, made, "CARRIER_UNAVAILABLE"))
    expect((first["status"], first["reason"]) == ("refused", "CARRIER_UNAVAILABLE"), f"got {first}")
    again, = service.run_step(shop.do_step[0], (identity, made))
    expect((again["status"], again["reason"]) == ("refused", "CARRIER_UNAVAILABLE"), f"asked again: {again}")
    expect(shop.state(made) is None, f"refused, and a reader sees {shop.state(made)}")
    other, identity = shop.step(), saga()
    done(service, shop, identity, other)
    replies = service.run_step(shop.do_step[0], (identity, other, "CARRIER_UNAVAILABLE"))
    expect(statuses(replies) == ["done"], f"it was done before the drill: {replies}")


@rule("Steps: must_succeed")
def refusals_that_are_not_remembered(service, shop):
    """A refusal of a compensation, or of a step that must succeed, is not remembered: asked again it can be done."""
    made, identity = shop.step(), saga()
    replies = service.run_step(shop.do_step[0], (identity, made, "CARRIER_UNAVAILABLE"), must_succeed=True)
    expect(statuses(replies) == ["refused"], f"got {replies}")
    replies = service.run_step(shop.do_step[0], (identity, made), must_succeed=True)
    expect(statuses(replies) == ["done"] and shop.state(made) == shop.stepped, f"the step, asked again: {replies}")
    replies = undo(service, shop, (identity, shop.undo(made), "CARRIER_UNAVAILABLE"))
    expect(statuses(replies) == ["refused"] and shop.state(made) == shop.stepped, f"got {replies}")
    replies = undo(service, shop, (identity, shop.undo(made)))
    expect(statuses(replies) == ["done"] and shop.state(made) == shop.unstepped,
           f"the compensation, asked again: {replies}")


@rule("Steps: run-step")
def retry_is_not_remembered(service, shop):
    """A step on rows that are not here yet answers retry, and is done once they have come."""
    if not shop.missing_is_retry:
        raise NotHere("rows that are missing here never come")
    made, identity = shop.step(), saga()
    cancel = {**made, "kind": "cancel"}
    replies = service.run_step("cancel", (identity, cancel), must_succeed=True)
    expect(statuses(replies) == ["retry"], f"nothing is here yet, and it answered {replies}")
    done(service, shop, saga(), made)
    replies = service.run_step("cancel", (identity, cancel), must_succeed=True)
    expect(statuses(replies) == ["done"] and shop.state(made) == shop.undone, f"asked again: {replies}")


@rule("Steps: run-step")
def several_sagas_in_one_call(service, shop):
    """One call for several sagas: each is answered by itself, in order, those of before as before."""
    before, fresh, refused, barred = (shop.step() for _ in range(4))
    sagas = [saga() for _ in range(4)]
    done(service, shop, sagas[0], before)
    undo(service, shop, (sagas[3], shop.undo(barred)))
    replies = service.run_step(shop.do_step[0], (sagas[2], refused, "CARRIER_UNAVAILABLE"), (sagas[0], before),
                               (sagas[3], barred), (sagas[1], fresh))
    expect(statuses(replies) == ["refused", "done", "barred", "done"], f"got {replies}")
    seen = [shop.state(made) for made in (before, fresh, refused, barred)]
    expect(seen == [shop.stepped, shop.stepped, None, shop.never_stepped], f"readers see {seen}")
    expect(len(shop.history(before)) == 1, f"the one of before was done again: {shop.history(before)}")


@rule("Steps: run-step")
def judged_in_order(service, shop):
    """Rivals in one call: the first is done, the second refused, by its reason."""
    if shop.do_step[1] != "place" or shop.participant == "shipping":
        raise NotHere("no two steps here are in each other's way")
    first, second = map(shop.step, shop.rivals())
    replies = service.run_step(shop.do_step[0], (saga(), first), (saga(), second))
    expect(statuses(replies) == ["done", "refused"] and replies[1]["reason"], f"got {replies}")
    expect((shop.state(first), shop.state(second)) == (shop.stepped, None), "the rows do not say what was answered")


@rule("Steps: run-step")
def all_or_nothing(service, shop):
    """One call that can never be applied fails all: poison, nothing is done; the others can be asked again."""
    made, taken, identity = shop.step(), shop.step(), saga()
    done(service, shop, saga(), taken)
    body = {"step": shop.do_step[0], "undoes": "", "must_succeed": False,
            "calls": [{"saga_id": identity, "operation": made}, {"saga_id": saga(), "operation": taken}]}
    fails(service.ask("run-step", gid=service.gid(), **body), "poison")
    expect(shop.state(made) is None, f"the call failed, and a reader sees {shop.state(made)}")
    done(service, shop, identity, made)
    expect(shop.state(made) == shop.stepped, f"asked again alone, and a reader sees {shop.state(made)}")


@rule("Steps: run-step")
def a_step_waits_for_a_branch(service, shop):
    """A step and a branch that need the same row: the step does not pass by the branch that holds it."""
    if shop.do_step[1] != "place" or shop.participant == "shipping":
        raise NotHere("no step here meets a branch's row")
    first, second = shop.rivals()
    gid = service.prepared(first)
    body = {"step": shop.do_step[0], "undoes": "", "must_succeed": False,
            "calls": [{"saga_id": saga(), "operation": shop.step(second)}]}
    answer = service.ask("run-step", timeout_ms=1000, gid=service.gid(), **body)
    if answer.status == 200:
        expect(statuses(answer.body["replies"]) == ["retry"], f"the branch holds the row, and the step answered {answer}")
    else:
        fails(answer, "lock_timeout", "timeout")
    service.do("commit", gid=gid)
    replies = service.ask("run-step", gid=service.gid(), **body).member("replies")
    expect(replies and statuses(replies) == ["refused"], f"the branch took it all, and the step answered {replies}")


@rule("Steps: trim-steps")
def trimmed_steps(service, shop):
    """trim-steps forgets the sagas that it names and no others; again: nothing happens."""
    forgotten, kept = (shop.step(), saga()), (shop.step(), saga())
    for made, identity in (forgotten, kept):
        undo(service, shop, (identity, shop.undo(made)))
    for _ in range(2):
        service.do("trim-steps", saga_ids=[forgotten[1], saga()])
    replies = service.run_step(shop.do_step[0], (kept[1], kept[0]))
    expect(statuses(replies) == ["barred"], f"trim-steps forgot a saga that it was not told of: {replies}")
    fresh = shop.step()
    replies = service.run_step(shop.do_step[0], (forgotten[1], fresh))
    expect(statuses(replies) == ["done"], f"trimmed, and its barrier still stands: {replies}")


@rule("Steps: list-steps")
def listed_steps(service, shop):
    """list-steps tells of each saga its order and what its steps came to, by id, a page at a time or by name."""
    made, other = shop.step(), shop.step()
    first, second = sorted((saga(), saga()))
    expect(statuses(service.run_step(shop.do_step[0], (first, made))) == ["done"], "the step was not done")
    undo(service, shop, (second, shop.undo(other)))
    named = service.do("list-steps", installation=service.installation, saga_ids=[first, second, saga()], limit=0)
    told = {one["saga_id"]: one for one in named["sagas"]}
    expect(set(told) == {first, second}, f"asked for two sagas, got {sorted(told)}")
    expect([told[first]["order_id"], told[second]["order_id"]] == [made["order_id"], other["order_id"]],
           f"whose orders: {named}")
    expect({one["step"]: one["outcome"] for one in told[first]["steps"]} == {shop.do_step[0]: "done"}, f"got {named}")
    outcomes = {one["step"]: one["outcome"] for one in told[second]["steps"]}
    expect(outcomes.get(shop.do_step[0]) == "skipped", f"undone before it came: got {outcomes}")
    page = service.do("list-steps", installation=service.installation, saga_ids=[], after=first, limit=1000)["sagas"]
    ids = [one["saga_id"] for one in page]
    expect(ids == sorted(ids) and all(one > first for one in ids), f"not in order, or not after {first}: {ids}")
    expect(second in ids, f"{second} is missing")
