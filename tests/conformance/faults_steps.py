"""Faults of sagas' steps: see faults.py."""
import threading

import branches
from faults import fault
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
