"""The rules of fences: what an owner that was fenced still sends is refused, and certainly not done."""
import secrets
import uuid

from fixtures import opposite
from kit import Asking, expect, fails, rule, wait_until


class Owner:
    """A coordinator of this case alone, in one epoch, and one of its processes."""

    def __init__(self, service, name=None, epoch=3):
        self.service, self.name, self.epoch = service, name or f"f{secrets.token_hex(3)}", epoch
        self.incarnation = secrets.token_hex(4)

    def members(self, **other):
        return {"installation": self.service.installation, "coordinator": self.name, "epoch": self.epoch,
                "incarnation": self.incarnation, **other}

    def gid(self):
        made = (f"txc_{self.service.installation}_{self.name}_{self.epoch}_{self.incarnation}"
                f"_{next(self.service.numbers)}")
        self.service.gids.append(made)
        return made

    def raise_to(self, epoch, incarnation="", **more):
        """What stands there then."""
        answer = self.service.do("raise-fence", **self.members(epoch=epoch, incarnation=incarnation), **more)
        return {name: answer.get(name) for name in self.members()}

    def step(self, step, saga, made, undoes=""):
        return {"gid": self.gid(), "step": step, "undoes": undoes, "must_succeed": False,
                "calls": [{"saga_id": saga, "operation": made}]}

    def do(self, shop, made, saga=None):
        """The answer to the service's step."""
        return self.service.ask("run-step", **self.step(shop.do_step[0], saga or str(uuid.uuid4()), made))


def is_done(answer):
    replies = answer.member("replies")
    expect(replies and replies[0].get("status") == "done", f"the step answered {answer}")


@rule("Fences")
def a_fenced_owner_does_no_step(service, shop):
    """Once its fence is raised, a step of the old owner fails with fenced, and nothing is done; others go on."""
    owner, before, after = Owner(service), shop.step(), shop.step()
    is_done(owner.do(shop, before))
    standing = owner.raise_to(owner.epoch + 1)
    expect(standing == owner.members(epoch=4, incarnation=""), f"raise-fence answered {standing}")
    fails(owner.do(shop, after), "fenced")
    expect(shop.state(after) is None, f"fenced, and a reader sees {shop.state(after)}")
    is_done(Owner(service).do(shop, after))


@rule("Fences")
def a_fence_goes_up_only(service, shop):
    """A fence goes up only. Within an epoch its own coordinator raises it once, or from the incarnation it replaces."""
    owner = Owner(service)
    mine, other = owner.incarnation, "0" * 8
    for epoch, incarnation, more, expected in (
            (3, "", {}, (3, "")), (3, mine, {}, (3, mine)), (3, "", {}, (3, mine)), (3, other, {}, (3, mine)),
            (2, other, {}, (3, mine)), (3, other, {"replaces": "1" * 8}, (3, mine)),
            (3, other, {"replaces": mine}, (3, other)), (4, "", {}, (4, "")), (3, mine, {}, (4, ""))):
        standing = owner.raise_to(epoch, incarnation, **more)
        expect((standing.get("epoch"), standing.get("incarnation")) == expected,
               f"raised to {epoch} {incarnation!r} {more}: expected {expected}, it says {standing}")


@rule("Fences")
def a_fence_is_its_owners_alone(service, shop):
    """Who is not exactly the owner is refused: the same epoch of another process too."""
    owner, other = Owner(service), Owner(service)
    other.name = owner.name
    owner.raise_to(owner.epoch, owner.incarnation)
    made = shop.step()
    fails(other.do(shop, made), "fenced")
    expect(shop.state(made) is None, f"refused, and a reader sees {shop.state(made)}")
    is_done(owner.do(shop, made))


@rule("Fences")
def an_owner_that_raised_none_is_not_locked_out(service, shop):
    """The first step of an owner makes its fence, so that a coordinator of an earlier version is served, and fenced."""
    owner = Owner(service)
    is_done(owner.do(shop, shop.step()))
    later = Owner(service, owner.name, epoch=5)
    is_done(later.do(shop, shop.step()))
    standing = [fence for fence in service.do("fences", installation=service.installation)["fences"]
                if fence["coordinator"] == owner.name]
    expect(standing == [later.members()], f"fences says {standing}")
    fails(owner.do(shop, shop.step()), "fenced")


@rule("Fences", needs="dsn")
def a_raise_passes_a_step_that_is_under_way(service, shop):
    """A step that waits for a row holds no raise up, and does not commit after it."""
    owner, made, saga = Owner(service), shop.step(), str(uuid.uuid4())
    is_done(owner.do(shop, made, saga))
    holder = service.gid()
    service.do("vote", gid=holder, operations=[opposite("cancel", made)])
    undo = Asking(service, "run-step", 5000, **owner.step(shop.undo_step[0], saga, shop.undo(made), shop.do_step[0]))
    wait_until("the step waits for the row", lambda: service.dsn.query(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"), 5)
    answer = service.ask("raise-fence", timeout_ms=1000, **owner.members(epoch=4, incarnation=""))
    expect(answer.status == 200, f"the step holds the raise up: {answer}")
    service.do("release", gid=holder)
    fails(undo.result(), "fenced")
    expect(shop.state(made) == shop.stepped, f"fenced, and a reader sees {shop.state(made)}")


@rule("Fences")
def a_fenced_owner_forgets_nothing(service, shop):
    """trim-steps, trim-witnesses and note-log-seen of a fenced owner fail with fenced; of a caller that names no
    owner, as one of an earlier version, they are done."""
    owner, made, saga = Owner(service), shop.step(), str(uuid.uuid4())
    service.run_step(shop.undo_step[0], (saga, shop.undo(made)), undoes=shop.do_step[0])
    gid = service.committed(shop.place())
    point = {"installation": service.installation, "system_identifier": "7300000000000000009", "timeline": 1}
    service.do("note-log-seen", **point, lsn=900, owner=owner.members())
    owner.raise_to(4)
    for call, body in (("trim-steps", {"saga_ids": [saga]}), ("trim-witnesses", {"gids": [gid]}),
                       ("note-log-seen", {**point, "lsn": 100})):
        fails(service.ask(call, **body, owner=owner.members()), "fenced")
    replies = service.run_step(shop.do_step[0], (saga, made))
    expect(replies[0].get("status") == "barred", f"the barrier is gone: {replies}")
    expect(service.witness(gid), "the witness is gone")
    seen = service.do("log-seen", installation=service.installation)
    expect(seen.get("lsn") == 900, f"the note was overwritten: {seen}")
    service.do("trim-witnesses", gids=[gid])
    expect(not service.witness(gid), "a caller without an owner was refused in silence")


@rule("Fences")
def fences_are_those_of_the_installation(service, shop):
    """fences tells the installation's own, and no others."""
    owner = Owner(service)
    owner.raise_to(owner.epoch)
    told = service.do("fences", installation=service.installation)["fences"]
    expect(owner.members(incarnation="") in told, f"its fence is missing in {told}")
    expect(service.do("fences", installation="f" * 8)["fences"] == [], "another installation is told of it")
