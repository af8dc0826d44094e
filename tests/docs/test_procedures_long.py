#!/usr/bin/env python3
"""Whole situations of the documents, gone through by their own commands: from five empty servers to the first order,
the stack of ./run, a heuristic outcome repaired, a lost saga resolved, a participant run apart."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import unittest
import urllib.error
import urllib.request

from procedures import ROOT, Reader, runs, statuses, text_of
import stack as harness  # (found where procedures.py says)
from load import Client, ConnectionLost, Memory, Shop, place, send
from servers import Database, Deadline, wait_until
from test_log_restored import LostSaga

OPERATING = "docs/operating.md"
CURL_SCREEN = "README.md#a-screenful-of-curl/1"
# What the reader copies from the first answer.
ID = "ID=$(/usr/bin/curl -sS 'localhost:8080/v1/orders?customer_id=customer-001&limit=1' | grep -o '\"order_id\":\"[^\"]*\"'" \
     " | cut -d '\"' -f 4)"


def status_of(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return 0


def first_call():
    return text_of(CURL_SCREEN).split("# the same again")[0]


class FromNothing(unittest.TestCase):
    """Servers without a role, a database or a table of ours: the role is called `docs` here, because the tests' servers
    have a `txcoord` already."""

    def setUp(self):
        self.servers = {name: Database(name) for name in harness.DATABASES}
        self.addCleanup(lambda: [server.close() for server in self.servers.values()])
        dsns = {}
        for name, server in self.servers.items():
            words = dict(word.split("=", 1) for word in server.dsn.split())
            words.update(dbname=f"docs_{name}", user="docs")
            dsns[name] = " ".join(f"{word}={value}" for word, value in words.items())
        self.reader = Reader(dsns)
        self.addCleanup(self.reader.close)
        self.dsns = dsns

    def as_superuser(self, name, text):
        words = text.replace("txcoord_order", f"docs_{name}").replace("'…'", "'of the role'")
        self.reader.sql(f"{self.servers[name].dsn} dbname=postgres user=postgres", re.sub(r"\btxcoord\b", "docs", words))

    def write_configuration(self):
        """The example with five connection strings put in."""
        text, section = [], None
        for line in (ROOT / "txcoord.example.toml").read_text(encoding="utf-8").splitlines():
            if header := re.match(r"\[(?:participants\.)?(\w+)\]$", line):
                section = header[1]
            text.append(f'dsn = "{self.dsns[section]}"' if line.startswith("dsn = ") else line)
        (self.reader.folder / "txcoord.toml").write_text("\n".join(text) + "\n", encoding="utf-8")

    @runs(f"{OPERATING}#databases/1", f"{OPERATING}#configuration/1", "README.md#on-your-own-postgresql/1",
          "docs/databases.md#pgbouncer/1")
    def test_five_empty_servers_take_the_first_order(self):
        for name in harness.DATABASES:
            self.as_superuser(name, text_of(f"{OPERATING}#databases/1"))
            self.as_superuser(name, text_of("docs/databases.md#pgbouncer/1"))
        self.write_configuration()
        printed = self.reader.shell(text_of(f"{OPERATING}#configuration/1"))
        self.assertIn("settings and databases are as they must be", printed)
        self.reader.shell(text_of("README.md#on-your-own-postgresql/1"))
        self.addCleanup(self.reader.ends_what_serves)
        self.reader.takes_ports_of_what_serves()
        wait_until("it is ready", lambda: status_of(self.reader.port, "/readyz") == 200, 10)
        printed = self.reader.shell(first_call())
        self.assertEqual([201], statuses(printed), printed)
        self.assertIn('"status":"CONFIRMED"', printed)


class TheStackOfRun(unittest.TestCase):
    def setUp(self):
        self.state = tempfile.mkdtemp(prefix="txcrun.", dir="/tmp")
        os.chmod(self.state, 0o711)
        self.addCleanup(shutil.rmtree, self.state, ignore_errors=True)
        self.environment = {**{name: value for name, value in os.environ.items() if not name.startswith("TXCOORD_")},
                            "TXCOORD_STATE_DIR": self.state, "TXCOORD_BIN": harness.BINARY, "TXCOORD_SKIP_DEPS": "1",
                            "TXCOORD_PORT": "0"}
        self.process = subprocess.Popen([str(ROOT / "run"), "serve"], env=self.environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.stop)
        self.assertEqual("ready\n", self.process.stdout.readline())
        self.port = int(pathlib.Path(self.state, "run", "ready").read_text(encoding="ascii"))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=60)
        self.assertEqual(0, self.process.returncode, said)

    def ports(self):
        text = pathlib.Path(self.state, "run", "ports").read_text(encoding="ascii")
        return {name: int(value) for name, value in (line.split("=") for line in text.split())}

    @runs(CURL_SCREEN, "docs/api.md#placing-an-order/1")
    def test_a_screenful_of_curl(self):
        said = self.ports()
        self.assertEqual(self.port, said["port"])
        reader = Reader({}, said["port"], said["admin_port"])
        self.addCleanup(reader.close)
        text = text_of(CURL_SCREEN)
        self.assertIn("\nID=…", text)
        printed = reader.shell(text.replace("ID=…", ID), folder=ROOT, TXCOORD_STATE_DIR=self.state,
                               TXCOORD_SKIP_DEPS="1")
        found = statuses(printed)
        self.assertEqual(201, found[0], printed)
        self.assertEqual(text.count("curl "), len(found))
        self.assertLessEqual(set(found), {200, 201}, printed)
        self.assertRegex(printed, r"book-123 *\|")
        printed = reader.shell(text_of("docs/api.md#placing-an-order/1"))
        self.assertEqual([201], statuses(printed), printed)
        # What the comments of the block promise.
        self.assertIn("Idempotency-Replayed: true", reader.shell(first_call()))
        other = first_call().replace("order-1", "order-2").replace("book-123", "book-456").replace("3500", "8000")
        printed = reader.shell(other)
        self.assertEqual([409], statuses(printed))
        self.assertIn('"reason":"OUT_OF_STOCK"', printed)

    def test_on_free_ports_a_coordinator_that_died_gets_them_again(self):
        before = self.ports()
        os.kill(before["pid"], signal.SIGKILL)
        wait_until("another one is there", lambda: self.ports()["pid"] != before["pid"], 10)
        after = self.ports()
        self.assertEqual((before["port"], before["admin_port"]), (after["port"], after["admin_port"]))
        try:
            wait_until("it is ready", lambda: status_of(self.port, "/readyz") == 200, 10)
        except Deadline:
            self.fail(pathlib.Path(self.state, "log", "txcoord.log").read_text(encoding="utf-8")[-4000:])


class AHeuristicOutcome(unittest.TestCase):
    @runs(f"{OPERATING}#a-heuristic-outcome/2", f"{OPERATING}#a-heuristic-outcome/3")
    def test_the_lost_branch_is_written_again(self):
        stack = harness.Stack()
        self.addCleanup(stack.close)
        coordinator = stack.coordinator("c1").start(crash_at="decide.after")
        shop, client = Shop(coordinator.port), Client(coordinator.port)
        with self.assertRaises(ConnectionLost):
            send(client, Memory(), place(shop.order(sorted(shop.products)[:2])))
        wait_until("it died", coordinator.died_at_crash_point, 10)
        stack.sessions_ended()
        gid, = set().union(*stack.prepared().values())
        stack.databases["inventory"].query(f"ROLLBACK PREPARED '{gid}_inventory'")
        coordinator.start()
        log = stack.databases["log"]
        wait_until("it is shown", lambda: log.query("SELECT 1 FROM heuristic_outcomes WHERE participant = 'inventory'"), 10)
        # What is open is the log's: a coordinator that starts now says so too.
        coordinator.signal(signal.SIGTERM)
        coordinator.wait_exit(15)
        coordinator.start()
        wait_until("the gauge says so", lambda: self.open_at(coordinator).get("inventory") == 1, 10)
        reader = Reader({name: database.dsn for name, database in stack.databases.items()})
        self.addCleanup(reader.close)
        listed = reader.sql(log.dsn, text_of(f"{OPERATING}#a-heuristic-outcome/1"))
        self.assertIn(f"{gid}|inventory|", listed)
        printed = reader.shell(text_of(f"{OPERATING}#a-heuristic-outcome/2").replace("txc_…", gid), folder=ROOT)
        self.assertRegex(printed, r"place *\| *1")
        wait_until("the decision is complete", lambda: log.query(
            "SELECT 1 FROM decisions WHERE gid = %s AND completed_at IS NOT NULL", gid), 10)
        reader.port, reader.admin_port = coordinator.port, coordinator.admin_port
        printed = reader.shell(text_of(f"{OPERATING}#a-heuristic-outcome/3"), GID=gid)
        self.assertEqual([200], statuses(printed), printed)
        self.assertIn('"open":false', printed)
        wait_until("the gauge says so", lambda: self.open_at(coordinator) == {
            "order": 0, "inventory": 0, "payment": 0, "shipping": 0}, 10)
        self.assertEqual(0, stack.run("audit", coordinator).returncode)
        self.assertEqual("", reader.sql(log.dsn, text_of(f"{OPERATING}#a-heuristic-outcome/1")), "nothing is open")


    @staticmethod
    def open_at(coordinator):
        with urllib.request.urlopen(f"http://127.0.0.1:{coordinator.port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        return {name: int(value) for name, value in
                re.findall(r'^txcoord_heuristic_open{participant="(\w+)"} (\d+)$', text, re.MULTILINE)}


class RowsChangedByHand(unittest.TestCase):
    """A saga that is undone, while somebody has set statuses without what they count."""

    @runs(f"{OPERATING}#rows-that-were-changed-by-hand/1")
    def test_the_scripts_move_status_and_counters_together(self):
        stack = harness.Stack()
        self.addCleanup(stack.close)
        coordinator = stack.coordinator("c1").start(crash_at="saga.payment.charge.after")
        shop, client = Shop(coordinator.port), Client(coordinator.port)
        sku = sorted(shop.products)[0]
        body = shop.order([sku])
        body["shipping_address"] = {**body["shipping_address"], "postal_code": "nowhere"}
        with self.assertRaises(ConnectionLost):
            send(client, Memory(), place(body, mode="saga"))
        wait_until("it died", coordinator.died_at_crash_point, 10)
        stack.sessions_ended()
        inventory, payment, log = (stack.databases[name] for name in ("inventory", "payment", "log"))
        (order_id,), = log.query("SELECT order_id::text FROM saga_instances")
        inventory.query("UPDATE reservations SET status = 'SHIPPED' WHERE order_id = %s", order_id)
        payment.query("UPDATE payments SET status = 'REFUNDED' WHERE order_id = %s", order_id)
        coordinator.start()
        wait_until("it is stuck", lambda: log.query("SELECT 1 FROM saga_instances WHERE stuck_since IS NOT NULL"), 20)
        found = stack.run("audit", coordinator)
        self.assertEqual(1, found.returncode)
        self.assertRegex(found.stdout, r"wallet_not_conserved: .*expected \d+.*: \d+ too little")
        self.assertIn("next: docs/operating.md#a-violation-is-found", found.stdout)
        reader = Reader({name: database.dsn for name, database in stack.databases.items()})
        self.addCleanup(reader.close)
        for _ in range(2):  # they may be repeated
            reader.shell(text_of(f"{OPERATING}#rows-that-were-changed-by-hand/1"), folder=ROOT, ORDER_ID=order_id)
        stack.sagas_ended()
        self.assertEqual([("FAILED",)], stack.databases["order"].query(
            "SELECT status FROM orders WHERE order_id = %s", order_id))
        audit = stack.run("audit", coordinator)
        self.assertEqual(0, audit.returncode, audit.stdout)


class ALostSaga(LostSaga):
    @runs(f"{OPERATING}#sagas-that-the-log-has-lost/2")
    def test_is_resolved_on_the_admin_port(self):
        self.backed_up()
        order_id = self.lose("saga.payment.charge.after", place(self.shop.order(self.skus()), mode="saga"))
        self.coordinator.start()
        saga = self.shown(order_id)
        reader = Reader({}, self.coordinator.port, self.coordinator.admin_port)
        self.addCleanup(reader.close)
        printed = reader.shell(text_of(f"{OPERATING}#sagas-that-the-log-has-lost/2"), SAGA_ID=saga["saga_id"])
        self.assertEqual([202], statuses(printed), printed)
        self.stack.sagas_ended()
        self.assertEqual("REFUNDED", self.parts(order_id)[2])


class Apart(unittest.TestCase):
    @runs(f"{OPERATING}#participants-as-services/1")
    def test_a_participant_is_a_service_of_its_own(self):
        stack = harness.Stack()
        self.addCleanup(stack.close)
        reader = Reader({})
        self.addCleanup(reader.close)
        (reader.folder / "payment.toml").write_text(
            f'participants.payment.dsn = "{stack.databases["payment"].dsn}"\n', encoding="utf-8")
        reader.shell(text_of(f"{OPERATING}#participants-as-services/1"))
        self.addCleanup(reader.ends_what_serves)
        reader.takes_ports_of_what_serves()
        wait_until("it is ready", lambda: status_of(reader.port, "/readyz") == 200, 10)


if __name__ == "__main__":
    harness.main()
