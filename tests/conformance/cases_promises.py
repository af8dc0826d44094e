"""The five promises of a participant."""
import subprocess
import time

from kit import Asking, Broken, answers, expect, fails, rule, wait_until

SLACK_SECONDS = 2.5     # over what a caller asked for, on a busy machine
RESTART_SECONDS = 30


# --- promise 1: a yes is kept -------------------------------------------------------------------
@rule("1 a yes is kept")
def prepare_then_commit(service, shop):
    """What was prepared is invisible; after commit it is there, and not prepared any more."""
    placed = shop.place()
    gid = service.prepared(placed)
    expect(gid in service.listed(), "prepare answered 200, and list-prepared does not know the gid")
    expect(shop.state(placed) is None, f"it is not committed, and a reader sees {shop.state(placed)}")
    service.do("commit", gid=gid)
    expect(shop.state(placed) == shop.placed, f"committed, and a reader sees {shop.state(placed)}")
    expect(gid not in service.listed(), "committed, and list-prepared still has it")


@rule("1 a yes is kept", needs="dsn")
def prepared_in_the_database(service, shop):
    """What prepare answers 200 for stands in pg_prepared_xacts, as the gid and the participant's name."""
    gid = service.prepared(shop.place())
    names = {name for name, in service.dsn.query("SELECT gid FROM pg_prepared_xacts WHERE starts_with(gid, %s)", gid)}
    expect(names == {f"{gid}_{service.participant}"}, f"pg_prepared_xacts has {sorted(names)}")


def restart(service):
    try:
        done = subprocess.run(service.restart_command, shell=True, timeout=RESTART_SECONDS, check=False,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        raise Broken(f"the restart command did not end within {RESTART_SECONDS} s") from None
    expect(done.returncode == 0, f"the restart command ended with {done.returncode}: {done.stderr[-200:]}")
    wait_until("the service answers again",
               lambda: service.ask("list-prepared", installation=service.installation).status == 200, RESTART_SECONDS)


@rule("1 a yes is kept", needs="restart")
def prepared_survives_a_kill(service, shop):
    """The service is killed and started again: what was prepared can be committed, what was open is gone."""
    committed, rolled_back, (open_one, rival) = shop.place(), shop.place(), shop.rivals()
    kept, dropped, gone = service.prepared(committed), service.prepared(rolled_back), service.gid()
    service.vote(gone, [open_one])
    restart(service)
    expect({kept, dropped} <= service.listed(), f"list-prepared has {service.listed()}, expected {kept} and {dropped}")
    service.do("commit", gid=kept)
    service.do("rollback", gid=dropped)
    expect(shop.state(committed) == shop.placed, f"committed, and a reader sees {shop.state(committed)}")
    expect(shop.state(rolled_back) is None, f"rolled back, and a reader sees {shop.state(rolled_back)}")
    expect(service.witness(kept) and not service.witness(dropped), "the witnesses do not say what happened")
    fails(service.ask("prepare", gid=gone, survivors=[True]), "error")
    votes = service.vote(service.gid(), [rival])
    expect(answers(votes) == ["yes"], f"the open branch died with the service, and its lock did not: {votes}")


# --- promise 2: the witness ---------------------------------------------------------------------
@rule("2 the witness")
def witness_after_commit(service, shop):
    """vote, prepare, commit: the witness is there, and was not before the commit."""
    gid = service.prepared(shop.place())
    expect(not service.witness(gid), "prepared, not committed, and there is a witness")
    service.do("commit", gid=gid)
    expect(service.witness(gid), "committed, and there is no witness")


@rule("2 the witness")
def rollback_leaves_no_witness(service, shop):
    """vote, prepare, rollback: nothing is left, and no witness."""
    placed = shop.place()
    gid = service.prepared(placed)
    service.do("rollback", gid=gid)
    expect(gid not in service.listed(), "rolled back, and list-prepared still has it")
    expect(not service.witness(gid), "rolled back, and there is a witness")
    expect(shop.state(placed) is None, f"rolled back, and a reader sees {shop.state(placed)}")


@rule("2 the witness")
def unknown_gid_is_not_found(service, shop):
    """commit and rollback of a gid that was never prepared fail with not_found; it has no witness."""
    gid = service.gid()
    fails(service.ask("commit", gid=gid), "not_found")
    fails(service.ask("rollback", gid=gid), "not_found")
    expect(not service.witness(gid), "a gid that never was has a witness")
    service.vote(gid, [shop.place()])
    fails(service.ask("commit", gid=gid), "not_found")  # open, not prepared


@rule("2 the witness")
def commit_twice(service, shop):
    """The second commit fails with not_found, so does a rollback; the witness stands, and so does what was done."""
    placed = shop.place()
    gid = service.committed(placed)
    fails(service.ask("commit", gid=gid), "not_found")
    fails(service.ask("rollback", gid=gid), "not_found")
    expect(service.witness(gid), "after a second commit the witness is gone")
    expect(shop.state(placed) == shop.placed, f"after a second commit a reader sees {shop.state(placed)}")


@rule("2 the witness")
def trimmed_witnesses(service, shop):
    """trim-witnesses deletes those that it names and no others; again: nothing happens."""
    kept, trimmed = service.committed(shop.place()), service.committed(shop.place())
    for _ in range(2):
        service.do("trim-witnesses", gids=[trimmed, service.gid()])
    expect(not service.witness(trimmed), "trimmed, and still there")
    expect(service.witness(kept), "trim-witnesses deleted a witness that it was not told of")


# --- promise 3: locks first ---------------------------------------------------------------------
def told_of_a_held_row(answer):
    vote, = answer.body["votes"]
    expect(vote["answer"] == "retry" and vote.get("busy"), f"the row is held, and the vote says {vote}")


def refused_in_time(service, other, rival):
    """A vote on `rival`, while `other` holds what it needs, says retry and names the row, or fails; either way
    not much later than it was told to."""
    start, timeout_ms, gid = time.monotonic(), 1000, service.gid()
    answer = service.ask("vote", timeout_ms=timeout_ms, gid=gid, operations=[rival])
    spent = time.monotonic() - start
    if answer.status == 200:
        told_of_a_held_row(answer)
        service.do("release", gid=gid)
    else:
        fails(answer, "lock_timeout", "timeout")
    expect(spent < timeout_ms / 1000 + SLACK_SECONDS,
           f"{other} holds the lock; told Txcoord-Timeout-Ms: {timeout_ms}, it answered after {spent:.1f} s")


@rule("3 locks first")
def release_frees_the_lock(service, shop):
    """vote then release: nothing is left, and whoever comes next gets the lock and yes."""
    first, second = shop.rivals()
    gid = service.gid()
    expect(answers(service.vote(gid, [first])) == ["yes"], "the first of two rivals is refused")
    service.do("release", gid=gid)
    service.do("release", gid=gid)  # may be sent again
    expect(gid not in service.listed() and not service.witness(gid), "released, and something was left")
    votes = service.vote(service.gid(), [second])
    expect(answers(votes) == ["yes"], f"the first was released, and the second gets {votes}")


@rule("3 locks first")
def a_vote_blocks_another(service, shop):
    """While one branch holds a lock, a vote that needs it does not answer yes: it fails within its time."""
    first, second = shop.rivals()
    gid = service.gid()
    service.vote(gid, [first])
    refused_in_time(service, "an open branch", second)
    service.do("release", gid=gid)
    votes = service.vote(service.gid(), [second])
    expect(answers(votes) == ["yes"], f"the first was released, and the second gets {votes}")


@rule("3 locks first")
def a_waiting_vote_gets_the_lock(service, shop):
    """A vote that waits for a lock gets it when the other branch is released, if its time has not run out."""
    first, second = shop.rivals()
    gid = service.gid()
    service.vote(gid, [first])
    waiting = Asking(service, "vote", 4000, gid=service.gid(), operations=[second])
    wait_until("the second vote waits", lambda: waiting.ended or blocked(service), 5)
    released = time.monotonic()
    service.do("release", gid=gid)
    answer = waiting.result()
    if answer.status == 200 and answers(answer.body["votes"]) == ["retry"]:
        told_of_a_held_row(answer)
        expect(waiting.ended < released + 0.5, f"the lock was free, and the vote that waited did not see it: {answer}")
    elif answer.status == 200:
        expect(answers(answer.body["votes"]) == ["yes"], f"the first was released, and the second gets {answer}")
    else:
        fails(answer, "lock_timeout", "timeout")
        expect(waiting.ended < released + 0.5, f"the lock was free, and the vote that waited for it failed: {answer}")


def blocked(service):
    return service.do("gauges", installation=service.installation)["blocked_sessions"] > 0


@rule("3 locks first")
def released_while_it_waits(service, shop):
    """A vote whose caller gave up and released it keeps nothing, whenever it gets its lock."""
    first, second = shop.rivals()
    holder, given_up = service.gid(), service.gid()
    service.vote(holder, [first])
    waiting = Asking(service, "vote", 4000, gid=given_up, operations=[second])
    wait_until("the second vote waits", lambda: waiting.ended or blocked(service), 5)
    service.do("release", gid=given_up)
    service.do("release", gid=holder)
    waiting.result()
    fails(service.ask("prepare", gid=given_up, survivors=[True]), "error")
    votes = service.vote(service.gid(), [second])
    expect(answers(votes) == ["yes"], f"both were released, and a third gets {votes}")


@rule("3 locks first")
def prepared_keeps_its_locks(service, shop):
    """What is prepared holds its locks until it ends; then what it did counts: committed, it is final."""
    first, second = shop.rivals()
    gid = service.prepared(first)
    refused_in_time(service, "a prepared branch", second)
    service.do("commit", gid=gid)
    vote, = service.vote(service.gid(), [second])
    expect(vote["answer"] == "no" and vote["final"], f"the first was committed, and the second gets {vote}")


@rule("3 locks first")
def rollback_frees_the_lock(service, shop):
    """After rollback the next one finds things as they were."""
    first, second = shop.rivals()
    service.do("rollback", gid=service.prepared(first))
    votes = service.vote(service.gid(), [second])
    expect(answers(votes) == ["yes"], f"the first was rolled back, and the second gets {votes}")


@rule("3 locks first")
def prepare_waits_for_nobody(service, shop):
    """Two branches are open at once: each prepares while the other is open, in either order."""
    first, second = shop.place(), shop.place()
    gids = service.gid(), service.gid()
    service.vote(gids[0], [first])
    service.vote(gids[1], [second])
    service.do("prepare", gid=gids[1], survivors=[True])
    service.do("prepare", gid=gids[0], survivors=[True])
    expect(set(gids) <= service.listed(), "both answered 200 to prepare, and list-prepared lacks one")
    service.do("commit", gid=gids[0])
    expect((shop.state(first), shop.state(second)) == (shop.placed, None), "the commit of one is not of that one alone")
    service.do("commit", gid=gids[1])


# --- promise 4: once ----------------------------------------------------------------------------
@rule("4 once")
def vote_twice(service, shop):
    """A gid that is voted on a second time gets an error; the first branch stands, and is the only one."""
    placed, other = shop.place(), shop.place()
    gid = service.gid()
    service.vote(gid, [placed])
    fails(service.ask("vote", gid=gid, operations=[other]), "error")
    service.do("prepare", gid=gid, survivors=[True])
    service.do("commit", gid=gid)
    expect((shop.state(placed), shop.state(other)) == (shop.placed, None),
           f"the rows say {shop.state(placed)} and {shop.state(other)}")


@rule("4 once")
def prepare_twice(service, shop):
    """The second prepare of a gid gets an error, also after its commit; there is one branch."""
    placed = shop.place()
    gid = service.prepared(placed)
    fails(service.ask("prepare", gid=gid, survivors=[True]), "error")
    service.do("commit", gid=gid)
    fails(service.ask("prepare", gid=gid, survivors=[True]), "error")
    expect(gid not in service.listed(), "committed, and prepared once more")
    fails(service.ask("prepare", gid=service.gid(), survivors=[True]), "error")  # never voted on


@rule("4 once")
def no_second_branch(service, shop):
    """A whole second branch of a gid that is prepared, or committed, fails at vote or at prepare."""
    gid, other = service.prepared(shop.place()), shop.place()
    for state in ("prepared", "committed"):
        answer = service.ask("vote", timeout_ms=1000, gid=gid, operations=[other])
        if answer.status == 200:
            answer = service.ask("prepare", timeout_ms=1000, gid=gid, survivors=[True])
        expect(answer.status != 200, f"{state} already, and prepared a second time")
        service.do("release", gid=gid)
        if state == "prepared":
            service.do("commit", gid=gid)
    expect(gid not in service.listed() and shop.state(other) is None, "there is a second branch")


@rule("4 once")
def no_vote_after_its_end(service, shop):
    """A vote that comes after its release, or once more after its branch has ended, gets an error: it was held up."""
    gid = service.gid()
    service.do("release", gid=gid)
    fails(service.ask("vote", gid=gid, operations=[shop.place()]), "error")
    gid = service.committed(shop.place())
    fails(service.ask("vote", gid=gid, operations=[shop.place()]), "error")
    gid = service.gid()
    service.vote(gid, [shop.place()])
    service.do("release", gid=gid)
    fails(service.ask("vote", gid=gid, operations=[shop.place()]), "error")


# --- promise 5: a bound on what is open ---------------------------------------------------------
@rule("5 a bound on what is open")
def open_branch_is_released(service, shop):
    """A branch that was voted on and then forgotten is released; a prepared one never is."""
    first, second = shop.rivals()
    forgotten, kept = service.gid(), service.prepared(shop.place())
    service.vote(forgotten, [first])

    def released():
        gid = service.gid()
        answer = service.ask("vote", timeout_ms=1000, gid=gid, operations=[second])
        return answer.status == 200 and answers(answer.body["votes"]) == ["yes"]
    wait_until("a branch that nobody asked for again is released", released, service.open_seconds_max + 5)
    fails(service.ask("prepare", gid=forgotten, survivors=[True]), "error")
    expect(kept in service.listed(), "the prepared branch is gone too")
    service.do("commit", gid=kept)
