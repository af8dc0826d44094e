"""The rules of the calls for branches, one by one, and of groups and callers at once."""
import concurrent.futures

from fixtures import operation
from kit import NotHere, answers, expect, fails, rule


@rule("Branches: vote")
def refusal_has_a_reason(service, shop):
    """A refusal says no, its reason, and that it is final; the others of its group are judged all the same."""
    refused, reason = shop.refused()
    votes = service.vote(service.gid(), [shop.place(), refused, shop.place()])
    expect(answers(votes) == ["yes", "no", "yes"], f"got {votes}")
    expect(votes[1]["reason"] == reason and votes[1]["final"], f"expected a final {reason}, got {votes[1]}")


@rule("Branches: vote")
def no_work_is_yes(service, shop):
    """An operation that has no work here gets yes, and leaves nothing but the witness."""
    if shop.no_work is None:
        raise NotHere("every operation has work here")
    other = operation(shop.no_work, place=shop.place()["place"])
    service.committed(other)
    expect(shop.state(other) is None, f"it left {shop.state(other)}")


@rule("Branches: vote")
def earlier_taking_counts(service, shop):
    """A later operation counts what an earlier one of its group takes: it is refused, and not finally."""
    votes = service.vote(service.gid(), list(shop.rivals()))
    expect(answers(votes) == ["yes", "no"], f"got {votes}")
    expect(votes[1]["final"] is False, f"an earlier operation caused it, and it is final: {votes[1]}")


@rule("Branches: vote")
def earlier_giving_does_not_count(service, shop):
    """A later operation does not count what an earlier one of its group gives back or opens up."""
    votes = service.vote(service.gid(), list(shop.giver_and_taker()))
    expect(votes[0]["answer"] == "yes", f"the first is refused: {votes}")
    expect(votes[1]["answer"] != "yes", f"the second gets yes, and the first may fall: {votes}")


@rule("Branches: judge")
def judge_without_a_candidate(service, shop):
    """A refusal that an earlier operation caused is undone when that one is no candidate; judge changes nothing."""
    gid = service.gid()
    before = service.vote(gid, list(shop.rivals()))
    expect(answers(service.judge(gid, [False, True])) == ["yes", "yes"], "the refusal is not undone")
    expect(service.judge(gid, [True, True]) == before, "judged again as before, it answers otherwise than vote did")
    refused, _ = shop.refused()
    final = service.gid()
    service.vote(final, [shop.place(), refused])
    expect(answers(service.judge(final, [False, True]))[1] == "no", "a final refusal is undone")
    fails(service.ask("judge", gid=service.gid(), candidates=[True]), "error")  # never voted on


@rule("Branches: prepare")
def survivors_alone_are_applied(service, shop):
    """prepare applies the survivors and no others, whatever their votes were."""
    first, second = shop.rivals()
    alone, fallen = shop.place(), shop.place()
    gid = service.gid()
    service.vote(gid, [first, second, fallen, alone])
    service.do("prepare", gid=gid, survivors=[False, True, False, True])
    service.do("commit", gid=gid)
    expect(shop.state(second) == shop.rivals_done(), f"a survivor's row says {shop.state(second)}")
    expect((shop.state(fallen), shop.state(alone)) == (None, shop.placed),
           f"the rows say {shop.state(fallen)} of what fell and {shop.state(alone)} of what survived")


@rule("Branches: prepare")
def poison_ends_the_branch(service, shop):
    """A group that can never be applied fails with poison: nothing is prepared, and its locks are free."""
    placed, (first, second) = shop.place(), shop.rivals()
    service.committed(placed)
    gid = service.gid()
    votes = service.vote(gid, [first, placed])  # its ids are taken
    if answers(votes) != ["yes", "yes"]:
        raise NotHere(f"the vote knows that these ids are taken: {votes}")
    fails(service.ask("prepare", gid=gid, survivors=[True, True]), "poison")
    expect(gid not in service.listed() and not service.witness(gid), "it failed, and something was left")
    fails(service.ask("prepare", gid=gid, survivors=[True, True]), "error")
    votes = service.vote(service.gid(), [second])
    expect(answers(votes) == ["yes"], f"the failed branch keeps its lock: {votes}")


@rule("Branches: prepare")
def a_mask_of_another_group(service, shop):
    """prepare and judge with another number of operations than were voted on fail, and nothing is prepared."""
    gid = service.gid()
    service.vote(gid, [shop.place(), shop.place()])
    fails(service.ask("judge", gid=gid, candidates=[True]), "error")
    fails(service.ask("prepare", gid=gid, survivors=[True, True, True]), "error")
    expect(gid not in service.listed(), "it is prepared")


@rule("Branches: list-prepared")
def listed_by_installation(service, shop):
    """list-prepared lists what is prepared of the installation that is asked for, and of no other."""
    ours = service.installation
    theirs = ours[:-1] + ("0" if ours[-1] != "0" else "1")
    mine = service.prepared(shop.place())
    gid = service.gid(theirs)
    service.vote(gid, [shop.place()])
    service.do("prepare", gid=gid, survivors=[True])
    opened = service.gid()
    service.vote(opened, [shop.place()])
    expect(service.listed() == {mine}, f"ours is {mine}, listed is {service.listed()}")
    expect(service.listed(theirs) == {gid}, f"theirs is {gid}, listed is {service.listed(theirs)}")
    expect(service.listed("0" * 8) == set(), "an installation that never was has prepared branches")


@rule("Branches: list-prepared", needs="dsn")
def listed_by_participant(service, shop):
    """A branch of the same gid that another participant prepared in this database is not listed, nor committed."""
    gid = service.gid()
    name = f"{gid}_{'payment' if service.participant != 'payment' else 'order'}"
    service.dsn.query(f"BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION '{name}'")
    try:
        expect(gid not in service.listed(), f"{name} is listed")
        fails(service.ask("commit", gid=gid), "not_found")
    finally:
        service.dsn.query(f"ROLLBACK PREPARED '{name}'")


@rule("Branches: gauges")
def gauges_count(service, shop):
    """gauges counts the prepared branches of the installation, and the server's slots."""
    members = ("in_doubt_branches", "in_doubt_oldest_ms", "prepared_slots_max", "prepared_slots_used",
               "xmin_age_transactions", "blocked_sessions")

    def gauges(installation):
        found = service.do("gauges", installation=installation)
        wrong = [name for name in members if type(found.get(name)) is not int or found[name] < 0]
        expect(not wrong, f"{wrong} are no whole numbers in {found}")
        return found
    expect(gauges(service.installation)["in_doubt_branches"] == 0, "nothing is prepared, and it counts some")
    service.prepared(shop.place())
    one = gauges(service.installation)
    expect(one["in_doubt_branches"] == 1, f"one branch is prepared: {one}")
    expect(1 <= one["prepared_slots_used"] <= one["prepared_slots_max"], f"one slot is used at least: {one}")
    expect(gauges("0" * 8)["in_doubt_branches"] == 0, "it counts another installation's branches")


@rule("Branches: log-seen")
def log_seen_is_kept(service, shop):
    """note-log-seen is what log-seen answers, for each installation; the first is empty if nothing was noted."""
    def seen(installation):
        return service.do("log-seen", installation=installation)
    ours = service.installation
    expect(seen(ours).get("system_identifier") == "", f"nothing was noted, and it says {seen(ours)}")
    for point in ({"system_identifier": "7300000000000000001", "timeline": 1, "lsn": (1 << 53) + 1},
                  {"system_identifier": "7300000000000000002", "timeline": 2, "lsn": 17}):
        for _ in range(2):
            service.do("note-log-seen", installation=ours, **point)
        expect({name: seen(ours).get(name) for name in point} == point, f"noted {point}, it says {seen(ours)}")
    expect(seen("f" * 8).get("system_identifier") == "", "what was noted for one is told to another")


@rule("Branches")
def a_group_of_100(service, shop):
    """A group of 100 operations is judged, prepared and committed whole: the survivors, and no others."""
    group = [shop.place() for _ in range(100)]
    group[40], reason = shop.refused()
    gid = service.gid()
    votes = service.vote(gid, group)
    expect([index for index, vote in enumerate(votes) if vote["answer"] != "yes"] == [40], f"refused: {votes[40]}")
    expect(votes[40]["reason"] == reason, f"got {votes[40]}")
    survivors = [index not in (13, 40) for index in range(100)]  # 13 fell elsewhere
    service.do("prepare", gid=gid, survivors=survivors)
    service.do("commit", gid=gid)
    wrong = [index for index, made in enumerate(group)
             if (shop.state(made) == shop.placed) is not survivors[index]]
    expect(not wrong, f"the operations {wrong} are not what was prepared")


@rule("Branches")
def branches_in_parallel(service, shop):
    """Eight callers at once, forty branches: each is done, and none is in another's way."""
    placed = [shop.place() for _ in range(40)]
    with concurrent.futures.ThreadPoolExecutor(8) as callers:
        gids = list(callers.map(service.committed, placed))
    expect(not service.listed(), "all were committed, and some are prepared")
    expect(all(map(service.witness, gids)), "all were committed, and a witness is missing")
    seen = {shop.state(made) for made in placed}
    expect(seen == {shop.placed}, f"all were committed, and readers see {seen}")
