"""The log is restored from a backup that lacks its last decisions (docs/operating.md, "The log was
restored or failed over"): what the participants remember of it, and their witnesses, decide."""
import os
import shutil
import subprocess
import unittest

import stack as harness
from load import Client, ConnectionLost, Memory, Shop, cancel, drive, new_key, place, send
from servers import Deadline, wait_until
from stack import PARTICIPANTS
from verdict import Rows, audit, outside, verify

EPOCHS_APART = 1000  # the runbook's step 3: above every epoch that was ever used


class RestoredLog(unittest.TestCase):
    settings = {}

    def setUp(self):
        self.stack = harness.Stack()
        self.addCleanup(self.stack.close)
        self.log = self.stack.databases["log"]
        self.data = os.path.join(os.environ["TXC_TEST_PGROOT"], "log")
        self.backup = os.path.join(self.stack.folder, "log-backup")
        self.epoch_above_all = 0
        self.coordinator = self.stack.coordinator("c1", self.settings).start()
        self.shop = Shop(self.coordinator.port)
        self.memory = Memory()

    def order(self):
        client = Client(self.coordinator.port)
        self.addCleanup(client.close)
        request = place(self.shop.order(sorted(self.shop.products)[:2]))
        return client, request

    def flushed(self):
        return self.log.query("SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint")[0][0]

    def back_up(self):
        self.coordinator.kill()
        self.stack.sessions_ended()
        point = self.flushed()
        self.log.close()
        self.log.stop()
        subprocess.run(["cp", "-a", self.data, self.backup], check=True)
        self.log.start()
        self.coordinator.start()
        return point

    def restore(self):
        self.log.close()
        self.log.stop()
        shutil.rmtree(self.data)
        subprocess.run(["cp", "-a", self.backup, self.data], check=True)
        self.log.start()
        self.epoch_above_all += EPOCHS_APART
        self.log.query("UPDATE coordinator_epoch SET epoch = %s", self.epoch_above_all)

    def seen(self, name):
        rows = self.stack.databases[name].query("SELECT lsn FROM txc_log_seen")
        return rows[0][0] if rows else 0

class LogRestored(RestoredLog):
    def lose_the_decision(self, crash_at):
        """An order whose decision is only in the part of the log that the backup lacks: its key."""
        client, request = self.order()
        drive(client, self.memory, request)
        self.stack.settled()
        point = self.back_up()
        # Each database was told that the log had come further than the backup will have.
        client, request = self.order()
        drive(client, self.memory, request)
        self.stack.settled()
        wait_until("every database has seen more of the log",
                   lambda: all(self.seen(name) > point for name in PARTICIPANTS), 10)
        self.coordinator.kill()
        self.coordinator.start(crash_at=f"{crash_at}:2")
        client, request = self.order()
        drive(client, self.memory, request)  # opens the sessions
        self.stack.settled()
        # Shipping never hears of the decision: its session is silent, then its machine goes.
        shipping = self.stack.databases["shipping"]
        shipping.silence(shipping.backends("txcoord-shipping-finish"))
        client, request = self.order()
        try:
            send(client, Memory(), request)
        except ConnectionLost:
            pass
        wait_until(f"death at {crash_at}", lambda: not self.coordinator.alive(), 15)
        shipping.close()
        shipping.kill()
        shipping.start()
        self.stack.sessions_ended()
        prepared = set().union(*self.stack.prepared().values())
        self.assertEqual(1, len(prepared), "one global transaction is left prepared")
        gid = prepared.pop()
        self.assertEqual("commit", self.stack.decisions()[gid][0])
        self.restore()
        self.assertNotIn(gid, self.stack.decisions())
        return gid

    def test_one_witness_commits_what_the_log_has_forgotten(self):
        gid = self.lose_the_decision("commit.inventory.after")
        witnesses = self.stack.witnesses()
        self.assertTrue(any(gid in found for found in witnesses.values()), "one branch has committed")
        self.coordinator.start()
        self.stack.settled()
        self.assertEqual("commit", self.stack.decisions()[gid][0], "the decision is written again")
        orders = Rows(self.stack).orders
        placed = self.stack.databases["order"].query("SELECT order_id::text FROM orders WHERE transaction_id = %s", gid)
        self.assertEqual(1, len(placed))
        self.assertEqual("CONFIRMED", orders[placed[0][0]][0])
        for name, table in (("inventory", "reservations"), ("payment", "payments"), ("shipping", "shipments")):
            rows = self.stack.databases[name].query(f"SELECT 1 FROM {table} WHERE order_id = %s", placed[0][0])
            self.assertTrue(rows, f"{name} has its part (I1)")
        self.assertIn("the log went back", self.coordinator.log_tail(200))

    def test_without_a_witness_nobody_has_committed_and_nobody_will(self):
        gid = self.lose_the_decision("decide.after")
        self.coordinator.start()
        self.stack.settled()
        self.assertEqual("abort", self.stack.decisions()[gid][0])
        self.assertFalse(any(gid in found for found in self.stack.witnesses().values()))
        client, request = self.order()
        drive(client, Memory(), request)
        self.assertEqual("confirmed", request.outcome, "orders flow")


STEPS = {  # killed after this step: what is at risk
    "saga.order.create.after": ("PENDING", set(), None, None),
    "saga.inventory.reserve.after": ("PENDING", {"RESERVED"}, None, None),
    "saga.payment.charge.after": ("PENDING", {"RESERVED"}, "CAPTURED", None),
    "saga.shipping.arrange.after": ("PENDING", {"RESERVED"}, "CAPTURED", "ARRANGED"),
}


class LostSaga(RestoredLog):
    """A saga, or an accepted order, was begun after the backup that the log is restored from. Its steps were
    done, and the log does not know it."""
    settings = {"engine.recovery_interval_ms": 300}

    def setUp(self):
        super().setUp()
        self.client = Client(self.coordinator.port)
        self.addCleanup(self.client.close)
        self.memory = Memory()

    def backed_up(self, *requests):
        """A backup of the log after these."""
        for request in requests or [place(self.shop.order(self.skus()), mode="saga")]:
            drive(self.client, self.memory, request)
        self.stack.sagas_ended()
        self.back_up()

    def skus(self):
        return sorted(self.shop.products)[:2]

    def lose(self, crash_at, request):
        """The coordinator dies there, and the log is restored without the saga: its order's id."""
        self.coordinator.kill()
        self.coordinator.start(crash_at=f"{crash_at}:1")
        self.client.close()  # the kept connection ended with the process before
        try:
            send(self.client, Memory(), request)
        except ConnectionLost:
            pass
        wait_until(f"death at {crash_at}", lambda: not self.coordinator.alive(), 15)
        self.client.close()  # where it was answered before the death
        self.stack.sessions_ended()
        self.restore()
        found = self.stack.databases["order"].query("SELECT order_id::text FROM orders WHERE correlation_id = %s",
                                                    request.key)
        return found[0][0] if found else request.order_id

    def parts(self, order_id):
        """(order, reservations, payment, shipment), as they stand."""
        rows = Rows(self.stack)
        payments, shipments = rows.payments.get(order_id), rows.shipments.get(order_id)
        return (rows.orders[order_id][0], {row[2] for row in rows.reservations.get(order_id, [])},
                payments[0][3] if payments else None, shipments[0][0] if shipments else None)

    def ask(self, path):
        return self.client.request("GET", path).json

    def lost(self):
        return self.ask("/v1/sagas?state=lost")["sagas"]

    def shown(self, order_id):
        """The lost saga of this order, after it was looked for in every place where a person would."""
        try:
            wait_until("it is shown as lost", lambda: [s for s in self.lost() if s["order_id"] == order_id], 10)
        except Deadline:
            self.fail(self.coordinator.log_tail(40))
        saga, = (one for one in self.lost() if one["order_id"] == order_id)
        self.assertIn(saga["saga_id"], [one["saga_id"] for one in self.ask("/v1/sagas?state=stuck")["sagas"]])
        self.assertEqual("LOST", self.ask(f"/v1/sagas/{saga['saga_id']}")["status"])
        wait_until("its order says so", lambda: self.ask(f"/v1/orders/{order_id}").get("at_risk"), 5)
        self.assertEqual(saga["at_risk"], self.ask(f"/v1/orders/{order_id}")["at_risk"])
        wait_until("it is counted", lambda: self.coordinator.metric("txcoord_sagas_lost") == len(self.lost()), 5)
        report = audit(self.stack, self.coordinator)
        self.assertIn((saga["saga_id"], order_id), [(one["saga_id"], one["order_id"]) for one in report["sagas_lost"]])
        self.assertEqual([], outside(self.stack, self.coordinator), "shown as needing a person, and no more")
        return saga

    def resolve(self, saga, action, key=None):
        client = Client(self.coordinator.admin_port)
        try:
            return client.request("POST", f"/admin/v1/sagas/{saga['saga_id']}/resolve", {"action": action},
                                  key or new_key("resolve"))
        finally:
            client.close()

    def resolved(self, saga, action):
        """Asked for, repeated, and done; nothing else is open to choose any more."""
        key = new_key("resolve")
        answer = self.resolve(saga, action, key)
        self.assertEqual((202, False), (answer.status, answer.replayed), answer.json)
        again = self.resolve(saga, action, key)
        self.assertEqual((202, True), (again.status, again.replayed), again.json)
        other = "complete" if action == "compensate" else "compensate"
        self.assertEqual((422, "KEY_REUSED"), (self.resolve(saga, other, key).status,
                                               self.resolve(saga, other, key).reason))
        self.assertEqual((409, "ILLEGAL_STATE"), (self.resolve(saga, other).status, self.resolve(saga, other).reason))
        self.stack.sagas_ended()
        wait_until("nothing is lost any more", lambda: not self.lost(), 5)
        wait_until("and none is counted", lambda: self.coordinator.metric("txcoord_sagas_lost") == 0, 5)
        verify(self.stack, self.coordinator)


class SagasLost(LostSaga):
    def test_killed_in_each_step_it_is_shown_and_compensated(self):
        self.backed_up()
        for crash_at, standing in STEPS.items():
            with self.subTest(crash_at):
                order_id = self.lose(crash_at, place(self.shop.order(self.skus()), mode="saga"))
                self.assertEqual(standing, self.parts(order_id))
                self.assertIn(("I8", "pending_without_saga", order_id),
                              [(v["invariant"], v["check"], v["subject"])
                               for v in audit(self.stack, self.coordinator)["violations"]])
                self.coordinator.start()
                saga = self.shown(order_id)
                if standing[2]:
                    self.assertIn(f"taken from {self.shop.customers[0]} (CAPTURED)", saga["at_risk"])
                if standing[1]:
                    self.assertIn(f"1 {self.skus()[0]}, 1 {self.skus()[1]} held", saga["at_risk"])
                complete = crash_at == "saga.shipping.arrange.after"
                self.assertEqual(["compensate"] + ["complete"] * complete, saga["resolutions"])
                if not complete:
                    self.assertEqual((409, "ILLEGAL_STATE"), (self.resolve(saga, "complete").status,
                                                              self.resolve(saga, "complete").reason))
                self.resolved(saga, "compensate")
                self.assertEqual(("FAILED", {"RELEASED"} if standing[1] else set(), standing[2] and "REFUNDED",
                                  standing[3] and "CANCELLED"), self.parts(order_id))
                self.assertEqual("SAGA_LOST", self.ask(f"/v1/orders/{order_id}")["reason"])

    def test_with_every_step_before_the_confirmation_done_it_is_completed(self):
        self.backed_up()
        for crash_at in ("saga.shipping.arrange.after", "saga.order.confirm.before"):
            with self.subTest(crash_at):
                order_id = self.lose(crash_at, place(self.shop.order(self.skus()), mode="saga"))
                self.coordinator.start()
                self.resolved(self.shown(order_id), "complete")
                self.assertEqual(("CONFIRMED", {"RESERVED"}, "CAPTURED", "ARRANGED"), self.parts(order_id))

    def test_what_had_ended_is_not_shown(self):
        self.backed_up()
        for request in (place(self.shop.order(self.skus()), mode="saga"),
                        place(self.shop.order(sorted(self.shop.sold_out)), mode="saga")):
            drive(self.client, self.memory, request)
        order_id = self.lose("saga.order.create.after", place(self.shop.order(self.skus()), mode="saga"))
        self.coordinator.start()
        self.assertEqual([order_id], [self.shown(order_id)["order_id"]])
        self.assertEqual(1, len(self.lost()), "one completed, one was undone: nobody is needed for them")

    def test_a_lost_cancel_goes_forward(self):
        placed = place(self.shop.order(self.skus()), mode="saga")
        self.backed_up(placed)
        order_id = self.lose("saga.order.cancel.after", cancel(placed.order_id, mode="saga"))
        self.assertEqual(("CANCELLED", {"RESERVED"}, "CAPTURED", "ARRANGED"), self.parts(order_id))
        self.coordinator.start()
        saga = self.shown(order_id)
        self.assertEqual(["complete"], saga["resolutions"])
        self.assertEqual(409, self.resolve(saga, "compensate").status)
        self.resolved(saga, "complete")
        self.assertEqual(("CANCELLED", {"RELEASED"}, "REFUNDED", "CANCELLED"), self.parts(order_id))

    def test_a_lost_accepted_order_is_failed(self):
        self.backed_up()
        order_id = self.lose("saga.transact.before", place(self.shop.order(self.skus()), mode="2pc", accept=True))
        self.coordinator.start()
        saga = self.shown(order_id)
        self.assertEqual(["compensate"], saga["resolutions"])
        self.resolved(saga, "compensate")
        self.assertEqual("FAILED", self.parts(order_id)[0])

    def test_its_key_is_gone_and_a_client_that_repeats_it_is_served_as_new(self):
        """What no database remembers cannot be kept (I5): docs/operating.md tells operators to warn."""
        self.backed_up()
        request = place(self.shop.order(self.skus()), mode="saga")
        order_id = self.lose("saga.payment.charge.after", request)
        self.coordinator.start()
        saga = self.shown(order_id)
        drive(self.client, self.memory, request)
        self.assertNotEqual(order_id, request.order_id)
        self.resolved(saga, "compensate")


class LostReservationsExpire(LostSaga):
    settings = {**LostSaga.settings, "saga.reservation_ttl_s": 2}

    def expired(self):
        wait_until("no reservation is left to expire", lambda: not self.stack.databases["inventory"].query(
            "SELECT 1 FROM reservations WHERE expires_at IS NOT NULL"), 15)

    def test_the_stock_of_a_paid_order_is_never_freed(self):
        self.backed_up()
        order_id = self.lose("saga.payment.charge.after", place(self.shop.order(self.skus()), mode="saga"))
        self.coordinator.start()
        self.expired()
        self.assertEqual(("PENDING", {"RESERVED"}, "CAPTURED", None), self.parts(order_id))
        self.resolved(self.shown(order_id), "compensate")
        self.assertEqual(("FAILED", {"RELEASED"}, "REFUNDED", None), self.parts(order_id))

    def test_an_unpaid_one_expires_and_needs_nobody(self):
        self.backed_up()
        order_id = self.lose("saga.inventory.reserve.after", place(self.shop.order(self.skus()), mode="saga"))
        self.coordinator.start()
        self.expired()
        wait_until("nothing is lost any more", lambda: not self.lost(), 10)
        self.assertEqual(("FAILED", {"RELEASED"}, None, None), self.parts(order_id))
        verify(self.stack, self.coordinator)


if __name__ == "__main__":
    harness.main()
