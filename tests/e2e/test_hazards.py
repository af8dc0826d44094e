"""Hazards that need the whole program: what comes between the decision and COMMIT PREPARED, a
prepared state that was lost, and sessions with the log that die or fall silent at the decision."""
import threading
import time
import unittest

import stack as harness
from load import Client, ConnectionLost, Load, Memory, Shop, cancel, drive, place, send
from servers import wait_until
from stack import LEASE_SECONDS, PARTICIPANTS, SECONDS_TO_SETTLE, SHORT_LEASE
from verdict import Rows, audit, outside, verify

LOG_SESSIONS = "txcoord-log"                 # they claim keys and decide


class Hazard(unittest.TestCase):
    settings = {}

    def setUp(self):
        self.stack = harness.Stack()
        self.addCleanup(self.stack.close)
        self.coordinator = self.stack.coordinator("c1", self.settings).start()
        self.shop = Shop(self.coordinator.port)
        self.memory = Memory()
        self.client = Client(self.coordinator.port)
        self.addCleanup(self.client.close)

    def order(self):
        return place(self.shop.order(sorted(self.shop.products)[:2]))

    def silence(self, name, application):
        database = self.stack.databases[name]
        database.silence(database.backends(application))

    def speak(self):
        for database in self.stack.databases.values():
            database.thaw()

    def verify(self):
        verify(self.stack, self.coordinator, self.memory)


class Unapplied(Hazard):
    """A participant's COMMIT PREPARED is on its way and not answered, for commit_ms_max at most."""

    def decided_and_not_applied(self, name="shipping"):
        """An order that its client was told, and that one participant has not committed."""
        self.assertEqual(201, send(self.client, self.memory, self.order()).status)  # opens the sessions
        self.stack.settled()
        self.silence(name, f"txcoord-{name}-finish")  # they send COMMIT PREPARED
        request = self.order()
        answer = send(self.client, self.memory, request)
        self.assertEqual((201, False), (answer.status, answer.json["applied"]), answer.json)
        return request


class BetweenDecisionAndCommit(Unapplied):
    settings = {"engine.commit_ms_max": 5000}  # the time to look and act, on a busy machine too

    def test_unapplied_order_is_seen_as_confirmed(self):
        request = self.decided_and_not_applied()
        others = ["order", "inventory", "payment"]
        wait_until("the others have committed",
                   lambda: Rows(self.stack).anywhere(request.order_id) == others, 2)
        seen = self.client.request("GET", f"/v1/orders/{request.order_id}").json
        self.assertEqual(("CONFIRMED", False, ["shipping"]),
                         (seen["status"], seen["applied"], seen["waiting_for"]))
        self.assertEqual("CAPTURED", seen["payment"]["status"])
        self.speak()
        wait_until("it is applied", lambda: self.client.request(
            "GET", f"/v1/orders/{request.order_id}").json["applied"], SECONDS_TO_SETTLE)
        self.verify()

    def test_lost_prepare_of_a_live_coordinator_is_shown(self):
        request = self.decided_and_not_applied()
        gid, = self.stack.prepared()["shipping"]
        self.stack.databases["shipping"].query(f"ROLLBACK PREPARED '{gid}_shipping'")
        self.speak()
        LostPrepare.check_shown(self, gid, request)


class CancelBetweenDecisionAndCommit(Unapplied):
    settings = {"engine.commit_ms_max": 800}  # the cancel waits this long

    def test_cancel_at_once_waits_and_releases_everything(self):
        for name in PARTICIPANTS:
            with self.subTest(unapplied=name):
                request = self.decided_and_not_applied(name)
                change = cancel(request.order_id)
                drive(self.client, self.memory, change)
                self.assertEqual("confirmed", change.outcome, change)
                self.speak()
                self.stack.settled()
        self.verify()


class CancelThroughAnother(Hazard):
    settings = SHORT_LEASE

    def test_cancel_through_c2_of_what_dead_c1_decided(self):
        """c1 dies between its decision and a COMMIT PREPARED, or all of them; c2 must not judge on what
        it cannot see (I9)."""
        second = self.stack.coordinator("c2", SHORT_LEASE).start()
        client = Client(second.port)
        self.addCleanup(client.close)
        for point in ("decide.after", "commit.shipping.before"):
            with self.subTest(point):
                self.cancel_after_death_at(point, client)
        verify(self.stack, second, self.memory)

    def cancel_after_death_at(self, point, client):
        self.coordinator.kill()
        self.coordinator.start(crash_at=f"{point}:1")
        known = set(self.stack.decisions())
        request = self.order()
        with self.assertRaises(ConnectionLost):
            send(self.client, self.memory, request)
        wait_until("c1 dies", lambda: not self.coordinator.alive(), 5)
        (_, _, (order_id,), _, _), = [decision for gid, decision in self.stack.decisions().items()
                                      if gid not in known]
        change = cancel(order_id)
        self.assertIn(send(client, self.memory, change).status, (200, 503))
        drive(client, self.memory, change, LEASE_SECONDS + SECONDS_TO_SETTLE)
        self.assertEqual("confirmed", change.outcome, change)
        drive(client, self.memory, request)
        self.assertEqual(("confirmed", order_id), (request.outcome, request.order_id))

class LostPrepare(Hazard):
    def test_found_by_recovery_is_recorded_and_shown(self):
        """Somebody rolled a decided branch back by hand while no coordinator ran."""
        self.coordinator.kill()
        self.coordinator.start(crash_at="commit.shipping.before:1")
        request = self.order()
        with self.assertRaises(ConnectionLost):
            send(self.client, self.memory, request)
        wait_until("death", lambda: not self.coordinator.alive(), 5)
        self.stack.sessions_ended()
        gid, = self.stack.prepared()["shipping"]
        self.stack.databases["shipping"].query(f"ROLLBACK PREPARED '{gid}_shipping'")
        self.coordinator.start()
        LostPrepare.check_shown(self, gid, request)

    @staticmethod
    def check_shown(test, gid, request):
        log = test.stack.databases["log"]
        recorded = "SELECT 1 FROM heuristic_outcomes WHERE gid = %s AND participant = 'shipping'"
        wait_until("the heuristic outcome is recorded", lambda: log.query(recorded, gid), SECONDS_TO_SETTLE)
        wait_until("it is counted",
                   lambda: test.coordinator.metric("txcoord_heuristic_outcomes_total") >= 1, 2)
        listed = test.client.request("GET", "/v1/transactions?state=heuristic").json["transactions"]
        test.assertEqual([gid], [entry["transaction_id"] for entry in listed])
        report = audit(test.stack, test.coordinator)
        test.assertEqual(1, report["heuristics"])
        test.assertTrue(report["violations"], "the audit must not call this clean")
        test.assertTrue(outside(test.stack, test.coordinator))
        # What was told stays told (I10), and other orders go on.
        again = send(test.client, test.memory, request)
        test.assertEqual((201, True), (again.status, again.replayed))
        test.assertEqual(201, send(test.client, test.memory, test.order()).status)


class LogSessions(Hazard):
    settings = {"engine.decide_ms_max": 1000}

    def test_log_sessions_cut_again_and_again_under_load(self):
        load = Load(self.coordinator.port, self.shop, clients=8, seed=harness.seed_of_this_run())
        memory = load.memory
        for cut in range(600):
            if cut >= 30 and len(memory.of(outcome="confirmed")) > 20:
                break
            time.sleep(0.05)
            self.stack.databases["log"].query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
                " AND state <> 'idle'", LOG_SESSIONS)
        self.assertGreater(len(load.stop().of(outcome="confirmed")), 20)
        verify(self.stack, self.coordinator, memory)

    def test_decision_that_lands_after_its_tombstone_fails(self):
        """The session with the log is silent from the claim on; its COMMIT arrives when all is over."""
        shipping = self.stack.databases["shipping"]
        self.assertEqual(201, send(self.client, self.memory, self.order()).status)
        shipping.freeze()  # holds the group between vote and decide
        request = self.order()
        other = Client(self.coordinator.port)
        self.addCleanup(other.close)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(send(other, self.memory, request)))
        thread.start()
        log = self.stack.databases["log"]
        try:
            claimed = ("SELECT 1 FROM pg_stat_activity"
                       " WHERE application_name = %s AND state = 'idle in transaction'")
            wait_until("the keys are claimed", lambda: log.query(claimed, LOG_SESSIONS), 1.5)
            self.silence("log", LOG_SESSIONS)
        finally:
            shipping.thaw()
        thread.join(10)
        self.assertEqual(503, answers[0].status, answers[0].json)
        wait_until("the tombstone stands", lambda: "abort" in [
            decision[0] for decision in self.stack.decisions().values()], SECONDS_TO_SETTLE)
        self.stack.settled()
        self.speak()  # now the COMMIT is executed
        drive(self.client, self.memory, request)
        self.assertEqual("confirmed", request.outcome)
        self.verify()


if __name__ == "__main__":
    harness.main()
