"""Faults of fences: see faults.py."""
from branches import decide
from faults import fault
from service import Failure
from shipping import Shipping


@fault("a_fenced_owner_does_no_step", "a_fence_is_its_owners_alone", "a_raise_passes_a_step_that_is_under_way")
class ChecksNoFence(Shipping):
    def fenced(self, session, owner, work):
        session.execute("BEGIN")
        answer = work()
        decide(session, "COMMIT")
        return answer


@fault("a_raise_passes_a_step_that_is_under_way")
class ChecksTheFenceAtBegin(Shipping):
    def fenced(self, session, owner, work):
        self.raised(session, owner)
        session.execute("BEGIN")
        if not session.execute("SELECT 1 FROM txc_fence WHERE installation = %s AND coordinator = %s AND epoch = %s"
                               " AND incarnation = %s FOR SHARE", owner).fetchone():
            raise Failure("fenced", "fenced")
        answer = work()
        decide(session, "COMMIT")
        return answer


@fault("a_fence_goes_up_only")
class LowersFences(Shipping):
    def raised(self, session, owner, replaces=""):
        session.execute("DELETE FROM txc_fence WHERE installation = %s AND coordinator = %s", owner[:2])
        return super().raised(session, owner, replaces)


@fault("a_fence_is_its_owners_alone")
class LooksAtTheEpochAlone(Shipping):
    def fenced(self, session, owner, work):
        standing = [fence for fence in self.standing(session, owner[0]) if fence["coordinator"] == owner[1]]
        if standing and standing[0]["epoch"] == owner[2]:
            owner = (*owner[:3], standing[0]["incarnation"])
        return super().fenced(session, owner, work)


@fault("an_owner_that_raised_none_is_not_locked_out")
class LocksStrangersOut(Shipping):
    def fenced(self, session, owner, work):
        if not any(fence["coordinator"] == owner[1] for fence in self.standing(session, owner[0])):
            raise Failure("fenced", "who is this?")
        return super().fenced(session, owner, work)


@fault("a_fenced_owner_does_no_step")
class CallsItPoison(Shipping):
    def fenced(self, session, owner, work):
        try:
            return super().fenced(session, owner, work)
        except Failure as failure:
            if failure.body["failure"] == "fenced":
                raise Failure("poison", "a division by zero", sqlstate="22012") from None
            raise


@fault("a_fenced_owner_forgets_nothing")
class ForgetsForAnybody(Shipping):
    def carelessly(self, body, until, statement, parameters):
        body.pop("owner", None)
        return super().carelessly(body, until, statement, parameters)


@fault("fences_are_those_of_the_installation")
class TellsEverybodysFences(Shipping):
    def fences(self, body, until):
        with self.finishing.session(until) as session:
            rows = session.execute("SELECT DISTINCT installation FROM txc_fence").fetchall()
            return {"fences": [fence for row in rows for fence in self.standing(session, row[0])]}
