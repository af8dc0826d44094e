"""A coordinator that is stopped, and woken after another one has finished its work: nothing of what it still sends is
done, neither a step whose barriers are gone, nor a trim, a witness's end, a note of the log, or a settled outcome (I1,
I3, I8, I11). In one process, and with the participants apart."""
import os
import re
import signal
import threading
import unittest

import stack as harness
from load import Client, ConnectionLost, Memory, Shop, place, send
from servers import wait_until

FENCED = 4  # the exit code of a coordinator that was fenced
REFUSED = "refused: its owner was fenced"
# Long enough for a call to be held, and for its session to outlive its client's sleep.
PATIENT = {"engine.commit_ms_max": 20000,
           **{f"participants.payment.{name}": 20000 for name in ("lock_ms_max", "statement_ms_max")},
           "participants.payment.idle_in_transaction_ms_max": 60000, "participants.payment.connections_max": 32}
HELD = {"txc_saga_steps": "DELETE", "txc_branch": "DELETE", "txc_log_seen": "INSERT OR UPDATE"}


class Held:
    """Statements that wait, each inside its transaction, until they are let go."""

    def __init__(self, database):
        self.database, self.key = database, int.from_bytes(os.urandom(3), "big")

    def hold(self, table, event, deferred=False):
        self.database.query(f"SELECT pg_advisory_lock({self.key})")
        self.database.query(
            f"CREATE OR REPLACE FUNCTION hold_{self.key}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " PERFORM set_config('client_connection_check_interval', '0', true);"
            f" PERFORM pg_advisory_xact_lock_shared({self.key});"
            " RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END; END $$")
        self.database.query(
            (f"CREATE CONSTRAINT TRIGGER hold AFTER {event} ON {table} DEFERRABLE INITIALLY DEFERRED" if deferred else
             f"CREATE TRIGGER hold BEFORE {event} ON {table}") + f" FOR EACH ROW EXECUTE FUNCTION hold_{self.key}()")

    def waiting(self, words):
        return self.database.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ %s",
                                   words)

    def let_go(self):
        self.database.query("SELECT pg_advisory_unlock_all()")


class FenceCase(unittest.TestCase):
    apart = False

    def setUp(self):
        self.stack = harness.Stack(apart=self.apart)
        self.addCleanup(self.stack.close)
        self.log, self.order, self.payment = (self.stack.databases[name] for name in ("log", "order", "payment"))

    def coordinators(self, first, second=None):
        """Only the first is started."""
        return (self.stack.coordinator(name, {**harness.SHORT_LEASE, **settings})
                for name, settings in (("c1", first), ("c2", second or {})))

    def in_the_background(self, coordinator, request, answers):
        """Sends it, and notes the answer; a connection that ends without one is None."""
        def ask():
            try:
                answers.append(send(Client(coordinator.port, timeout=120), Memory(), request))
            except ConnectionLost:
                answers.append(None)
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 5)

    def stop(self, coordinator):
        coordinator.signal(signal.SIGSTOP)
        self.addCleanup(lambda: coordinator.alive() and coordinator.signal(signal.SIGCONT))

    def refusals(self):
        """How often payment told that it refused a fenced owner."""
        processes = self.stack.services.values() if self.apart else self.stack.coordinators
        text = "".join(open(process.log_path, encoding="utf-8", errors="replace").read() for process in processes
                       if os.path.exists(process.log_path))
        return len(re.findall(REFUSED, text))

    def at_step(self, step):
        return lambda: self.log.query("SELECT 1 FROM saga_instances WHERE current_step = %s AND ended_at IS NULL", step)

    def late_step(self):
        c1, c2 = self.coordinators({})
        c1.start()
        c2.start()
        shop = Shop(c2.port)
        c1.set_fault("payment", delay_ms=1500, failure_rate=0.0, mode="error")
        answers = []
        request = place(shop.order(sorted(shop.products)[:1], customer=shop.poor), mode="saga")
        self.in_the_background(c1, request, answers)
        wait_until("the charge is next", self.at_step("payment.charge"), 10, pause=0.005)
        self.stop(c1)
        wait_until("the other one ends it",
                   lambda: self.log.query("SELECT 1 FROM saga_instances WHERE status = 'FAILED'"), 30)
        # As trimming does once they are old; and now there is money.
        for name in harness.PARTICIPANTS:
            self.stack.databases[name].query("DELETE FROM txc_saga_steps")
        self.assertEqual(200, Client(c2.port).request("PUT", f"/v1/wallets/{shop.poor}", {"balance": 1000}).status)
        c1.signal(signal.SIGCONT)
        self.assertEqual(FENCED, c1.wait_exit(20))
        self.assertGreaterEqual(self.refusals(), 1, "the charge never came to the database")
        self.assertEqual([(1000,)], self.payment.query("SELECT balance FROM wallets WHERE customer_id = %s", shop.poor))
        self.assertEqual([], self.payment.query("SELECT status FROM payments WHERE status = 'CAPTURED'"))
        self.assertEqual([("FAILED",)], self.order.query("SELECT status FROM orders"))
        audit = self.stack.run("audit", c2)
        self.assertEqual(0, audit.returncode, audit.stdout)

    def late_housekeeping(self):
        c1, c2 = self.coordinators({**PATIENT, "engine.trim": True}, PATIENT)
        c1.start()
        shop, held = Shop(c1.port), Held(self.payment)
        for table, event in HELD.items():
            held.hold(table, event)
        client, skus = Client(c1.port), sorted(shop.products)[:1]
        for mode in ("2pc", "saga"):
            answer = send(client, Memory(), place(shop.order(skus), mode=mode), {"Prefer": "applied"})
            self.assertEqual(201, answer.status, answer.json)
        self.log.query("UPDATE saga_instances SET ended_at = ended_at - interval '1 day' WHERE ended_at IS NOT NULL")
        c1.set_fault("payment", delay_ms=30000, failure_rate=0.0, mode="error")
        self.assertEqual(202, send(client, Memory(), place(shop.order(skus), mode="saga", accept=True)).status)
        wait_until("a saga is unfinished", self.at_step("payment.charge"), 10)
        for words in ("DELETE FROM txc_saga_steps", "DELETE FROM txc_branch", "INSERT INTO txc_log_seen"):
            wait_until(f"it is under way: {words}", lambda: held.waiting(words), 15)
        ((epoch,),) = self.payment.query("SELECT epoch FROM txc_fence WHERE coordinator = 'c1'")
        self.stop(c1)
        c2.start(ready=False)
        wait_until("the fence is raised", lambda: self.payment.query(
            "SELECT 1 FROM txc_fence WHERE coordinator = 'c1' AND epoch > %s AND incarnation = ''", epoch), 30)
        held.let_go()
        c1.signal(signal.SIGCONT)
        self.assertEqual(FENCED, c1.wait_exit(30))
        wait_until("trim, witness and note are refused", lambda: self.refusals() >= 3, 10)
        self.assertEqual([(1,)], self.payment.query("SELECT count(*) FROM txc_branch"))
        ended = [saga for saga, in self.log.query("SELECT saga_id FROM saga_instances WHERE status = 'COMPLETED'"
                                                  " ORDER BY saga_id LIMIT 1")]
        self.assertEqual([(1,)], self.payment.query(
            "SELECT count(*) FROM txc_saga_steps WHERE saga_id = ANY(%s) AND step = 'charge'", ended))
        self.stack.sagas_ended(30)


class InOneProcess(FenceCase):
    def test_a_charge_that_was_stopped_takes_no_money_for_an_order_that_failed(self):
        self.late_step()

    def test_a_trim_a_witness_delete_and_a_note_that_were_stopped_change_nothing(self):
        self.late_housekeeping()

    def test_an_outcome_that_was_committed_and_trimmed_is_not_settled_as_aborted(self):
        c1, c2 = self.coordinators({"engine.decide_ms_max": 1000, "log.idle_in_transaction_ms_max": 60000},
                                   {"engine.trim": True, "engine.decisions_keep_s": 1})
        c1.start()
        shop, held, answers = Shop(c1.port), Held(self.log), []
        held.hold("decisions", "INSERT", deferred=True)
        request = place(shop.order(sorted(shop.products)[:1]), mode="2pc")
        self.in_the_background(c1, request, answers)
        wait_until("its decision is in flight, and its outcome is asked for", lambda: self.log.query(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'transactionid' AND query ~ 'abort'"), 15)
        self.stop(c1)
        held.let_go()
        wait_until("it is decided", lambda: self.log.query("SELECT 1 FROM decisions WHERE outcome = 'commit'"), 10)
        c2.start()
        wait_until("it is completed and trimmed", lambda: not self.log.query("SELECT 1 FROM decisions"), 40)
        c1.signal(signal.SIGCONT)
        self.assertEqual(FENCED, c1.wait_exit(30))
        self.assertEqual([], self.log.query("SELECT gid FROM decisions WHERE outcome = 'abort'"))
        wait_until("the client's connection has ended", lambda: answers, 10)
        if answers[0] is not None:
            self.assertEqual(202, answers[0].status, answers[0].json)
        again = send(Client(c2.port), Memory(), request)
        self.assertEqual(201, again.status, again.json)
        self.assertEqual([("CONFIRMED",)], self.order.query("SELECT status FROM orders"))


class Apart(FenceCase):
    apart = True

    def test_a_charge_that_was_stopped_takes_no_money_for_an_order_that_failed(self):
        self.late_step()

    def test_a_trim_a_witness_delete_and_a_note_that_were_stopped_change_nothing(self):
        self.late_housekeeping()


if __name__ == "__main__":
    harness.main()
