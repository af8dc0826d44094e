"""The log is restored from a backup that lacks its last decisions (docs/operating.md, "The log was
restored or failed over"): what the participants remember of it, and their witnesses, decide."""
import os
import shutil
import subprocess
import unittest

import stack as harness
from load import Client, ConnectionLost, Memory, Shop, drive, place, send
from servers import wait_until
from stack import PARTICIPANTS
from verdict import Rows

EPOCH_ABOVE_ALL = 1000  # the runbook's step 3


class LogRestored(unittest.TestCase):
    def setUp(self):
        self.stack = harness.Stack()
        self.addCleanup(self.stack.close)
        self.log = self.stack.databases["log"]
        self.data = os.path.join(os.environ["TXC_TEST_PGROOT"], "log")
        self.backup = os.path.join(self.stack.folder, "log-backup")
        self.coordinator = self.stack.coordinator("c1").start()
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
        self.log.query("UPDATE coordinator_epoch SET epoch = %s", EPOCH_ABOVE_ALL)

    def seen(self, name):
        rows = self.stack.databases[name].query("SELECT lsn FROM txc_log_seen")
        return rows[0][0] if rows else 0

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


if __name__ == "__main__":
    harness.main()
