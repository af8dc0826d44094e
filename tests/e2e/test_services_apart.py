"""Each participant a service of its own, spoken to over HTTP: a service killed, frozen, started again, under
load, by 2PC and by saga; what clients are told; the breaker; the coordinator gone with branches open."""
import json
import os
import signal
import subprocess
import sys
import unittest

import stack as harness
from load import Client, Load, Memory, Mix, Modes, Shop, drive, place, send
from servers import send_signal, wait_until
from stack import PARTICIPANTS
from verdict import verify

PYTHON_SHIPPING = os.path.join(harness.ROOT, "tests", "conformance", "shipping.py")


class ServicesApart(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = harness.Stack(apart=True)
        cls.coordinator = cls.stack.coordinator()
        cls.seed = harness.seed_of_this_run()
        cls.coordinator.start()
        cls.shop = Shop(cls.coordinator.port)

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def setUp(self):
        if not self.coordinator.alive():
            self.coordinator.start()

    def tearDown(self):
        for process in (*self.stack.services.values(), self.coordinator):
            if not process.alive():
                process.start()
        wait_until("ready again", lambda: self.coordinator.readyz()[0] == 200, 10)

    def health(self, name):
        _, body = self.coordinator.readyz()
        return next(entry for entry in body["participants"] if entry["name"] == name)

    def client(self, coordinator=None):
        made = Client((coordinator or self.coordinator).port)
        self.addCleanup(made.close)
        return made

    def order(self):
        return self.shop.order(list(self.shop.products)[:2])

    # --- what clients are told ----------------------------------------------------------------------
    def test_a_coordinator_that_knows_no_participants_database_places_an_order_in_all_four(self):
        urls_alone = {f"participants.{name}.dsn": "" for name in PARTICIPANTS}
        coordinator = self.stack.coordinator("urls", {**urls_alone})
        self.addCleanup(coordinator.kill)
        super(harness.Coordinator, coordinator).start()
        request = drive(self.client(coordinator), Memory(), place(self.order()))
        self.assertEqual(request.outcome, "confirmed")
        self.stack.settled()
        self.assertEqual({name for name, gids in self.stack.witnesses().items() if gids}, set(PARTICIPANTS))
        self.assertEqual({self.health(name)["breaker"] for name in PARTICIPANTS}, {"closed"})
        verify(self.stack, self.coordinator)

    def test_a_service_that_is_away_is_503_with_retry_after_and_its_breaker_opens(self):
        self.stack.services["shipping"].kill()
        client, memory = self.client(), Memory()

        def refused():
            answer = send(client, memory, place(self.order()))
            return answer.status == 503 and answer.headers["Retry-After"] and answer.seconds < 2
        wait_until("503", refused, 3)
        wait_until("open", lambda: self.health("shipping")["breaker"] in ("open", "half_open"), 5)
        self.assertGreater(self.coordinator.metric("txcoord_breaker_state", '{participant="shipping"}'), 0)
        self.stack.services["shipping"].start()
        self.assertEqual(drive(client, memory, place(self.order())).outcome, "confirmed")
        wait_until("closed", lambda: self.health("shipping")["breaker"] == "closed", 5)
        verify(self.stack, self.coordinator, memory)

    def test_a_service_that_is_late_is_504_and_nothing_was_done(self):
        service, memory = self.stack.services["inventory"], Memory()
        client = self.client()
        drive(client, memory, place(self.order()))
        send_signal(service.process.pid, signal.SIGSTOP)
        try:
            answer = send(client, memory, place(self.order()))
            self.assertEqual((answer.status, answer.reason), (504, "PARTICIPANT_UNAVAILABLE"))
            self.assertIn("Retry-After", answer.headers)
        finally:
            send_signal(service.process.pid, signal.SIGCONT)
        self.assertEqual(drive(client, memory, place(self.order())).outcome, "confirmed")
        verify(self.stack, self.coordinator, memory)

    # --- kills --------------------------------------------------------------------------------------
    def test_each_service_killed_once_under_load_of_both_modes(self):
        load = Load(self.coordinator.port, self.shop, modes=Modes.ALL, seed=self.seed)
        try:
            for name in PARTICIPANTS:
                with self.subTest(killed=name):
                    before = len(load.memory.of(outcome="confirmed"))
                    wait_until("orders flow", lambda: len(load.memory.of(outcome="confirmed")) > before + 20, 20)
                    self.stack.services[name].kill()
                    wait_until("it is noticed", lambda: not self.health(name)["reachable"], 5)
                    self.stack.services[name].start()
                    wait_until("it is back", lambda: self.health(name)["reachable"], 5)
        finally:
            load.stop()
        verify(self.stack, self.coordinator, load.memory)

    def test_the_coordinator_killed_leaves_no_lock_behind_and_nothing_in_doubt(self):
        for point in ("vote.after", "prepare.after", "decide.after"):
            with self.subTest(point=point):
                self.coordinator.kill()
                self.coordinator.start(crash_at=f"{point}:3")
                load = Load(self.coordinator.port, self.shop, mix=Mix.PLAIN, seed=self.seed)
                try:
                    wait_until("it died", self.coordinator.died_at_crash_point, 15)
                    load.pause()
                    self.coordinator.start()
                    self.stack.settled()
                    load.resume()
                    before = len(load.memory.of(outcome="confirmed"))
                    wait_until("orders flow", lambda: len(load.memory.of(outcome="confirmed")) > before + 20, 5)
                finally:
                    load.stop()
                verify(self.stack, self.coordinator, load.memory)

    # --- another language ---------------------------------------------------------------------------
    def test_shipping_in_python_takes_part(self):
        self.coordinator.kill()
        self.stack.services["shipping"].kill()
        python = subprocess.Popen(
            [sys.executable, PYTHON_SHIPPING, "--port", "0", "--dsn", self.stack.databases["shipping"].dsn],
            stdout=subprocess.PIPE, text=True, preexec_fn=harness.die_with_parent)
        self.addCleanup(python.stdout.close)
        self.addCleanup(python.wait, 10)
        self.addCleanup(python.kill)
        port = json.loads(python.stdout.readline())["port"]
        coordinator = self.stack.coordinator("py", {"participants.shipping.url": f"http://127.0.0.1:{port}"})
        self.addCleanup(coordinator.kill)
        super(harness.Coordinator, coordinator).start()
        load = Load(coordinator.port, self.shop, modes=Modes.ALL, seed=self.seed)
        try:
            wait_until("orders flow", lambda: len(load.memory.of(outcome="confirmed")) > 60, 20)
        finally:
            load.stop()
        verify(self.stack, coordinator, load.memory)


class Fulfilment(harness.Service):
    """Payment and shipping in one process, and in one database: a schema each."""

    def configure(self, settings):
        databases = self.stack.databases
        self.write({"http.port": self.port, "http.admin_port": self.admin_port,
                    "participants.payment.dsn": databases["payment"].dsn,
                    "participants.shipping.dsn": databases["shipping"].dsn, **settings})

    def command(self):
        return [self.binary, "participant", "payment", "shipping", "--config", self.config]


class ThreeServices(unittest.TestCase):
    def setUp(self):
        self.stack = harness.Stack(apart=False)
        self.addCleanup(self.stack.close)
        together = self.stack.databases["payment"]
        home = together.dsn
        for schema in ("pay", "ship"):
            together.query(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
            together.query(f"CREATE SCHEMA {schema}")
        together.close()
        for name, schema in (("payment", "pay"), ("shipping", "ship")):
            self.stack.databases[name].options = f"-c search_path={schema}"
            self.stack.databases[name].dsn = f"{home} options='-csearch_path={schema}'"
        self.service = Fulfilment(self.stack, "fulfil")
        self.addCleanup(self.service.kill)
        self.service.configure({})
        self.coordinator = self.stack.coordinator(settings={
            "participants.payment.url": self.service.url, "participants.shipping.url": self.service.url})

    def test_payment_and_shipping_share_a_process_and_a_database(self):
        self.service.start()
        self.coordinator.start()
        shop = Shop(self.coordinator.port)
        load = Load(self.coordinator.port, shop, modes=Modes.ALL, seed=1)
        try:
            wait_until("orders flow", lambda: len(load.memory.of(outcome="confirmed")) > 50, 20)
            self.service.kill()
            self.service.start()
            wait_until("orders flow again", lambda: len(load.memory.of(outcome="confirmed")) > 100, 20)
        finally:
            load.stop()
        verify(self.stack, self.coordinator, load.memory)


if __name__ == "__main__":
    harness.main()
