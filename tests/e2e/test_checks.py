"""One list of checks: what `serve` refuses, `config --check` and `migrate` refuse too, with the same exit code
and before anything is changed; and what passes by itself is a warning for all of them.
"""
import contextlib
import os
import socket
import subprocess
import unittest

import psycopg

import stack as harness
from load import Client, Memory, Shop, place, send
from servers import wait_until

GOOD, FAILED, USAGE, REFUSED = 0, 1, 2, 3
SECRET = "sS3cr3t"


@unittest.skipIf(harness.APART, "the coordinator itself opens no participant's database then")
class Checks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = harness.Stack()
        cls.addClassCleanup(cls.stack.close)
        cls.coordinator = cls.stack.coordinator("c1")  # migrates

    def setUp(self):
        self.databases = self.stack.databases

    def run_program(self, *arguments, settings=None, environment=None):
        """(exit code, what is said) of a command with settings over the coordinator's."""
        self.coordinator.configure(settings or {})
        clean = {k: v for k, v in os.environ.items() if not k.startswith("TXCOORD_")}
        done = subprocess.run([harness.BINARY, *arguments, "--config", self.coordinator.config], timeout=30, check=False,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, env={**clean, **(environment or {})})
        return done.returncode, done.stdout + done.stderr

    def all_refuse(self, code, words, settings):
        """The three commands end with this code, each with these words."""
        for command in (["config", "--check"], ["migrate"], ["serve"]):
            with self.subTest(" ".join(command), settings=settings):
                found, said = self.run_program(*command, settings=settings)
                self.assertEqual(code, found, said)
                self.assertIn(words, said)
                self.assertIn("nothing was changed" if command == ["migrate"] else "", said)

    def check(self, settings=None):
        return self.run_program("config", "--check", settings=settings)

    @contextlib.contextmanager
    def altered(self, name, change, back):
        self.databases[name].as_superuser(change, "postgres")
        try:
            yield
        finally:
            self.databases[name].as_superuser(back, "postgres")

    # --- what is wrong, for all three ------------------------------------------------------------
    def test_a_database_and_a_role_that_do_not_exist_are_wrong(self):
        dsn = self.databases["payment"].dsn
        self.all_refuse(REFUSED, "payment: its server does not let us in",
                        {"participants.payment.dsn": dsn + " dbname=nope"})
        self.all_refuse(REFUSED, "log: its server does not let us in", {"log.dsn": self.databases["log"].dsn + " user=nobody"})
        _, said = self.check({"participants.payment.dsn": dsn + " dbname=nope"})
        self.assertIn("there is no such database (SQLSTATE 3D000)", said)

    def test_settings_that_cannot_work_are_wrong(self):
        for settings, words in (({"http.address": "localhost"}, "http.address is not an IP address"),
                                ({"http.admin_address": "x"}, "http.admin_address is not an IP address"),
                                ({"participants.payment.url": "https://x:1"}, "participants.payment.url: it must begin with http://"),
                                ({"crash_at": "foo"}, "crash_at: "),
                                ({"participants.order.dsn": f"host=a {SECRET}"},
                                 "participants.order.dsn is not a valid libpq connection string")):
            self.all_refuse(USAGE, words, settings)

    def test_limits_that_all_sessions_together_do_not_fit_into_are_wrong(self):
        with self.altered("order", "ALTER ROLE txcoord CONNECTION LIMIT 10", "ALTER ROLE txcoord CONNECTION LIMIT -1"):
            self.all_refuse(REFUSED, "order: the role's CONNECTION LIMIT is 10, and we need 11 sessions", {})
        with self.altered("log", "ALTER DATABASE txcoord_log CONNECTION LIMIT 20", "ALTER DATABASE txcoord_log CONNECTION LIMIT -1"):
            self.all_refuse(REFUSED, "log: the database's CONNECTION LIMIT is 20", {})
        self.all_refuse(REFUSED, "payment: max_connections is 100", {"participants.payment.connections_max": 98})
        # Each fits alone, and both share a server.
        code, said = self.check({"participants.order.dsn": self.databases["payment"].dsn,
                                 "participants.order.connections_max": 50, "participants.payment.connections_max": 50})
        self.assertEqual(REFUSED, code)
        self.assertIn("order, payment: max_connections is 100", said)

    def test_one_database_for_two_is_refused_before_anything_is_changed(self):
        inventory = self.databases["inventory"]
        inventory.as_superuser("CREATE DATABASE same OWNER txcoord", "postgres")
        self.addCleanup(inventory.as_superuser, "DROP DATABASE same WITH (FORCE)", "postgres")
        same = inventory.dsn + " dbname=same"
        for settings, words in (({"participants.order.dsn": same, "participants.inventory.dsn": same},
                                 "same database as that of inventory"),
                                ({"log.dsn": same, "participants.shipping.dsn": same}, "same database as that of log")):
            code, said = self.run_program("migrate", settings=settings)
            self.assertEqual(REFUSED, code, said)
            self.assertIn(words, said)
            self.assertEqual([], inventory.as_superuser("SELECT 1 FROM pg_tables WHERE schemaname = 'public'", "same"))

    def test_a_role_that_is_only_a_member_of_the_owner_is_wrong(self):
        shipping = self.databases["shipping"]
        shipping.as_superuser("CREATE ROLE member LOGIN IN ROLE txcoord", "postgres")
        self.addCleanup(shipping.as_superuser, "DROP ROLE member", "postgres")
        self.all_refuse(REFUSED, "shipping: the role of the dsn does not own",
                        {"participants.shipping.dsn": shipping.dsn + " user=member"})

    # --- what passes by itself -------------------------------------------------------------------
    def test_a_server_without_a_connection_left_is_a_warning_at_whichever_question_it_comes(self):
        order, limit = self.databases["order"], 20
        order.close()
        with self.altered("order", f"ALTER DATABASE txcoord_order CONNECTION LIMIT {limit}",
                          "ALTER DATABASE txcoord_order CONNECTION LIMIT -1"):
            wait_until("nobody is connected", lambda: [(0,)] == order.as_superuser(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = 'txcoord_order'", "postgres"), 10)
            for left in (0, 1, 2):
                with contextlib.ExitStack() as held, self.subTest(left=left):
                    for _ in range(limit - left):
                        held.enter_context(psycopg.connect(order.dsn))
                    code, said = self.check()
                    self.assertEqual(GOOD, code, said)
                    self.assertIn("warning: order: c", said)
                    self.assertIn("53300", said)
                    self.assertIn("could not be looked at: see the warnings", said)
                    code, said = self.run_program("migrate")
                    self.assertEqual(FAILED, code, said)
                    self.assertIn("nothing was changed", said)

    def test_a_service_that_is_not_there_could_not_be_asked(self):
        with socket.socket() as reserved:  # bound, and not listening
            reserved.bind(("127.0.0.1", 0))
            code, said = self.check({"participants.payment.url": f"http://127.0.0.1:{reserved.getsockname()[1]}"})
        self.assertEqual(GOOD, code, said)
        self.assertIn("warning: payment: its service could not be asked", said)

    def test_all_is_well_when_it_is(self):
        code, said = self.check()
        self.assertEqual(GOOD, code, said)
        self.assertIn("settings and databases are as they must be", said)
        self.assertNotIn("warning", said)
        for name in harness.DATABASES:
            self.assertIn(f"good: {name}: reached, sessions, server, schema and its owner", said)

    # --- what a default of the database does, and what is shown of secrets -----------------------
    def test_defaults_of_the_database_hinder_no_order(self):
        with self.altered("payment", "ALTER DATABASE txcoord_payment SET default_transaction_isolation = 'serializable'",
                          "ALTER DATABASE txcoord_payment RESET default_transaction_isolation"):
            self.assertEqual(GOOD, self.check()[0])
            self.coordinator.configure({})
            self.coordinator.start()
            try:
                client, memory, shop = Client(self.coordinator.port), Memory(), Shop(self.coordinator.port)
                answer = send(client, memory, place(shop.order(list(shop.products)[:2])), {"Prefer": "applied"})
                self.assertEqual((201, "CONFIRMED"), (answer.status, answer.json.get("status")))
                client.close()
            finally:
                self.coordinator.kill()

    def listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.coordinator.port), timeout=1).close()
            return True
        except OSError:
            return False

    def test_a_database_that_somebody_made_read_only_is_shown_until_it_takes_writes(self):
        """By its default: that is how a person, or a provider whose disk is full, keeps writers out."""
        self.coordinator.configure({})
        client = memory = None

        def place_one():
            shop = Shop(self.coordinator.port)
            return send(client, memory, place(shop.order(list(shop.products)[:2]))).status

        def inventory():
            said = client.request("GET", "/readyz?verbose").json["participants"]
            return next(one for one in said if one["name"] == "inventory")

        try:
            with self.altered("inventory", "ALTER DATABASE txcoord_inventory SET default_transaction_read_only = on",
                              "ALTER DATABASE txcoord_inventory RESET default_transaction_read_only"):
                code, said = self.check()
                self.assertEqual(GOOD, code, said)
                self.assertIn("warning: inventory: it takes no writes", said)
                self.coordinator.start(ready=False)
                wait_until("it listens", self.listens, 10)
                client, memory = Client(self.coordinator.port), Memory()
                wait_until("it is shown", lambda: inventory()["reachable"] and not inventory()["writable"], 10)
                self.assertEqual(503, client.request("GET", "/readyz").status)
                self.assertEqual(503, client.request("PUT", "/v1/inventory/a", {"available": 1}).status)
            wait_until("it takes writes again", lambda: inventory()["writable"], 10)
            self.assertEqual(201, place_one())
            client.close()
        finally:
            self.coordinator.kill()

    def test_no_part_of_a_password_reaches_a_reader(self):
        """Not `config`, not standard error, not the log, not /readyz?verbose, whatever the DSN looks like."""
        for dsn in (f"postgresql://txcoord:p@{SECRET}@localhost/txcoord_payment",
                    f"postgresql://u:p?{SECRET}@127.0.0.1:1/db", f"postgresql://u:p/{SECRET}@127.0.0.1:1/db",
                    f"host=/nowhere dbname=x user=u password={SECRET}", f"host=/nowhere sslmode={SECRET}",
                    f"host=/nowhere options={SECRET}"):
            with self.subTest(dsn):
                settings = {"participants.payment.dsn": dsn}
                for command in (["config"], ["config", "--check"], ["migrate"]):
                    self.assertNotIn(SECRET, self.run_program(*command, settings=settings)[1])
        self.coordinator.configure({"participants.payment.dsn": f"postgresql://txcoord:p@{SECRET}@localhost/txcoord_payment"})
        self.coordinator.start(ready=False)
        try:
            seen = []

            def told():
                _, body = self.coordinator.readyz()
                seen[:] = [entry for entry in (body or {}).get("participants", []) if entry.get("last_error")]
                return "payment" in [entry["name"] for entry in seen]
            wait_until("payment is told to be away", told, 15)
            self.assertNotIn(SECRET, str(seen))
        finally:
            self.coordinator.kill()
        with open(self.coordinator.log_path, encoding="utf-8") as log:
            self.assertNotIn(SECRET, log.read())


if __name__ == "__main__":
    harness.main()
