"""Each of the five databases dies, is stopped, or falls silent, under load. Orders are refused in
time and come back by themselves; nothing hangs, nothing is left in doubt."""
import time
import unittest

import stack as harness
from load import Client, Load, Shop, new_key
from servers import wait_until
from stack import DATABASES, SECONDS_TO_SETTLE
from verdict import verify

SECONDS_TO_REFUSE = 2.0
# An order that was under way when its database fell silent: the longest deadline of a phase.
SECONDS_TO_NOTICE_SILENCE = 5.5
PROBES = 4


class DatabaseFaults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = harness.Stack()
        cls.coordinator = cls.stack.coordinator().start()
        cls.shop = Shop(cls.coordinator.port)
        cls.seed = harness.seed_of_this_run()

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def setUp(self):
        self.assertTrue(self.coordinator.alive(), self.coordinator.log_tail())
        self.coordinator.wait_ready()
        self.pid = self.coordinator.process.pid

    def under_load(self, fault, repair, seconds_to_notice):
        load = Load(self.coordinator.port, self.shop, clients=6, seed=self.seed)
        self.addCleanup(load.stop)  # the stack is shared: a test that fails leaves no load to the next
        wait_until("orders flow", lambda: len(load.memory.of(outcome="confirmed")) > 20, 10)
        fault()
        try:
            self.refuses_in_time(seconds_to_notice)
        finally:
            repair()
        self.flows_again()
        memory = load.stop()
        self.assertLess(max(memory.slowest.values()), SECONDS_TO_NOTICE_SILENCE, "an answer took too long")
        verify(self.stack, self.coordinator, memory)
        self.assertEqual(self.pid, self.coordinator.process.pid)
        self.assertTrue(self.coordinator.alive())

    def refuses_in_time(self, seconds_to_notice):
        """503 with Retry-After to each order, from the fault on. Those that come before it is known may
        have to find it out, or wait for a row of one that does."""
        client = Client(self.coordinator.port)
        started = time.monotonic()
        self.refused(client, seconds_to_notice)
        while client.request("GET", "/readyz").status == 200:
            self.refused(client, seconds_to_notice)
            self.assertLess(time.monotonic() - started, seconds_to_notice, "nobody noticed the fault")
        for _ in range(PROBES):
            self.refused(client, SECONDS_TO_REFUSE)
        self.assertEqual(503, client.request("GET", "/readyz").status)
        self.assertEqual(200, client.request("GET", "/livez").status)
        client.close()

    def refused(self, client, seconds):
        answer = client.request("POST", "/v1/orders", self.shop.order(list(self.shop.products)[:2]), key=new_key())
        self.assertEqual(503, answer.status, answer.json)
        self.assertGreaterEqual(int(answer.headers["Retry-After"]), 1)
        self.assertLess(answer.seconds, seconds)

    def flows_again(self):
        client = Client(self.coordinator.port)
        body = self.shop.order(list(self.shop.products)[:2])
        wait_until("orders flow again", lambda: client.request("POST", "/v1/orders", body,
                                                               key=new_key()).status == 201,
                   SECONDS_TO_SETTLE)
        client.close()

    def stopped(self, name):
        database = self.stack.databases[name]
        self.under_load(database.stop, database.start, SECONDS_TO_REFUSE)

    def killed(self, name):
        database = self.stack.databases[name]
        self.under_load(database.kill, database.start, SECONDS_TO_REFUSE)

    def crashed(self, name):
        database = self.stack.databases[name]
        self.under_load(database.crash, database.start, SECONDS_TO_REFUSE)

    def frozen(self, name):
        database = self.stack.databases[name]
        self.under_load(database.freeze, database.thaw, SECONDS_TO_NOTICE_SILENCE)

    def incomplete(self, order_id):
        return bool(self.stack.databases["log"].query(
            "SELECT 1 FROM decisions WHERE order_ids @> ARRAY[%s::uuid] AND outcome = 'commit' AND completed_at IS NULL",
            order_id))

    def test_reads_answer_in_time_while_a_database_is_away(self):
        client = Client(self.coordinator.port)
        self.addCleanup(client.close)
        sku = sorted(self.shop.products)[0]
        placed = client.request("POST", "/v1/orders", self.shop.order([sku]), key=new_key(),
                                headers={"Prefer": "applied"})
        self.assertEqual(201, placed.status, placed.json)
        shipping = self.stack.databases["shipping"]
        shipping.freeze()
        try:
            # Whether the decision still holds the parts: until its completion is recorded.
            held = self.incomplete(placed.json["order_id"])
            whole = client.request("GET", f"/v1/orders/{placed.json['order_id']}")
            if whole.status == 200:
                self.assertTrue(held, "it is told from a decision that is complete")
                self.assertEqual(("CONFIRMED", "CAPTURED", ["shipping"]),
                                 (whole.json["status"], whole.json["payment"]["status"], whole.json["waiting_for"]))
            else:
                self.assertFalse(self.incomplete(placed.json["order_id"]), "the decision has the parts")
                self.assertEqual((503, "PARTICIPANT_UNAVAILABLE"), (whole.status, whole.reason))
            self.assertLess(whole.seconds, SECONDS_TO_REFUSE)
            alone = client.request("GET", f"/v1/shipments?order_id={placed.json['order_id']}")
            self.assertEqual((503, "PARTICIPANT_UNAVAILABLE"), (alone.status, alone.reason))
            self.assertLess(alone.seconds, SECONDS_TO_REFUSE)
            self.assertEqual(200, client.request("GET", f"/v1/inventory/{sku}").status)
        finally:
            shipping.thaw()
        self.flows_again()


class AwayAtStart(unittest.TestCase):
    def setUp(self):
        self.stack = harness.Stack()
        self.addCleanup(self.stack.close)
        self.coordinator = self.stack.coordinator().start()
        self.shop = Shop(self.coordinator.port)
        self.coordinator.kill()

    def test_only_the_participant_that_is_away_waits_for_its_recovery(self):
        self.coordinator.start(crash_at="prepare.after:5")
        load = Load(self.coordinator.port, self.shop, clients=4)
        wait_until("death", lambda: not self.coordinator.alive(), 10)
        load.pause()
        self.stack.sessions_ended()
        left = self.stack.prepared()
        self.assertTrue(left["payment"] and left["order"])
        payment = self.stack.databases["payment"]
        payment.stop()
        try:
            self.coordinator.start(ready=False)
            others = [name for name in left if name != "payment"]
            wait_until("the others are resolved while payment is away", lambda: not any(
                self.stack.databases[name].query("SELECT 1 FROM pg_prepared_xacts") for name in others),
                SECONDS_TO_SETTLE)
            self.tells_who_is_away("payment")
        finally:
            payment.start()
        self.coordinator.wait_ready(SECONDS_TO_SETTLE)
        self.stack.settled()
        load.resume()
        verify(self.stack, self.coordinator, load.stop())

    def tells_who_is_away(self, away):
        def told():
            status, body = self.coordinator.readyz()
            if status == 0:
                return False
            self.assertEqual(503, status)
            said = {entry["name"]: (entry["reachable"], entry["recovered"]) for entry in body["participants"]}
            return said == {name: (False, False) if name == away else (True, True) for name in DATABASES}
        wait_until(f"readyz tells that {away} alone is away", told, SECONDS_TO_SETTLE)

    def test_log_away_at_start(self):
        self.stack.databases["log"].stop()
        try:
            self.coordinator.start(ready=False)
            wait_until("it answers", lambda: self.coordinator.readyz()[0] == 503, 10)
        finally:
            self.stack.databases["log"].start()
        self.coordinator.wait_ready(SECONDS_TO_SETTLE)
        client = Client(self.coordinator.port)
        body = self.shop.order(list(self.shop.products)[:1])
        self.assertEqual(201, client.request("POST", "/v1/orders", body, key=new_key()).status)
        client.close()


# An immediate shutdown lies between stopped and killed.
for _fault in ("stopped", "killed", "frozen") + (("crashed",) if harness.THOROUGH else ()):
    for _name in DATABASES:
        setattr(DatabaseFaults, f"test_{_name}_{_fault}",
                lambda self, fault=_fault, name=_name: getattr(self, fault)(name))

if __name__ == "__main__":
    harness.main()
