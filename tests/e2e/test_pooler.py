"""PgBouncer between txcoord and its databases: session pooling serves; what cannot work is refused at
start, by name. Skipped (77) without the program (TXC_PGBOUNCER names it); docs/databases.md.
"""
import os
import pwd
import shutil
import signal
import subprocess
import unittest

import stack as harness
from load import Client, ConnectionLost, Memory, Shop, drive, place, send
from servers import wait_until
from verdict import Rows, verify

PGBOUNCER = harness.server_program("pgbouncer", "TXC_PGBOUNCER")
REFUSED = 3
# What docs/databases.md says to set for the role, where `options` do not come through.
ROLE_SETTINGS = {"lock_timeout": "1200ms", "statement_timeout": "3s", "idle_in_transaction_session_timeout": "15s",
                 "client_connection_check_interval": "1s", "plan_cache_mode": "force_custom_plan", "jit": "off",
                 "TimeZone": "UTC", "DateStyle": "ISO", "standard_conforming_strings": "on", "synchronous_commit": "on"}


class Pooler:
    """One PgBouncer in front of all five servers, on a socket of its own."""

    def __init__(self, stack, settings):
        self.folder = os.path.join(stack.folder, "pooler")
        os.mkdir(self.folder)
        os.chmod(stack.folder, 0o755)
        self.port = 6432  # it listens on no address: the number is the name of its socket
        sections = ["[databases]"]
        for name, database in stack.databases.items():
            sections.append(f"txcoord_{name} = {database.dsn}")
        server = os.stat(dict(word.split("=", 1) for word in stack.databases["log"].dsn.split())["host"])
        owner = pwd.getpwuid(server.st_uid)  # the servers' sockets are for their owner
        os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        lines = {"listen_addr": "", "listen_port": self.port, "unix_socket_dir": self.folder, "auth_type": "any",
                 "max_client_conn": 200, "default_pool_size": 40, **settings}
        if os.geteuid() == 0:  # it refuses to run as root
            lines["user"] = owner.pw_name
        sections += ["[pgbouncer]", *(f"{name} = {value}" for name, value in lines.items())]
        path = os.path.join(self.folder, "pgbouncer.ini")
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(sections) + "\n")
        os.chmod(path, 0o644)
        self.process = subprocess.Popen([PGBOUNCER, "-q", path], stdin=subprocess.DEVNULL,
                                        preexec_fn=harness.die_with_parent)
        wait_until("the pooler listens", self.listens, 10)

    def listens(self):
        assert self.process.poll() is None, "the pooler ended: see above"
        return os.path.exists(os.path.join(self.folder, f".s.PGSQL.{self.port}"))

    def dsn(self, name):
        return f"host={self.folder} port={self.port} dbname=txcoord_{name} user=txcoord"

    def stop(self):
        self.process.send_signal(signal.SIGINT)  # waits for nobody but the statement that runs
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


@unittest.skipIf(harness.APART, "the coordinator itself opens no participant's database then")
class Poolers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = harness.Stack()
        cls.stack.coordinator("c9")  # never started: it migrates, directly
        cls.addClassCleanup(cls.stack.close)

    def behind(self, role_settings=(), **settings):
        """A coordinator that reaches every database through a new pooler."""
        for database in self.stack.databases.values():
            database.query("ALTER ROLE txcoord RESET ALL")
            for name, value in dict(role_settings).items():
                database.query(f"ALTER ROLE txcoord SET {name} = '{value}'")
        pooler = Pooler(self.stack, settings)
        self.addCleanup(pooler.stop)
        dsn = {f"{'' if name == 'log' else 'participants.'}{name}.dsn": pooler.dsn(name) for name in harness.DATABASES}
        coordinator = self.stack.coordinator("c1", dsn)
        self.addCleanup(coordinator.kill)
        return coordinator

    def refusal(self, coordinator):
        """What `serve` says when it refuses all five."""
        done = subprocess.run(coordinator.command(), capture_output=True, text=True, timeout=60, check=False,
                              stdin=subprocess.DEVNULL)
        self.assertEqual(REFUSED, done.returncode, done.stdout + done.stderr)
        self.assertEqual(5, done.stderr.count("txcoord: refused: "), done.stderr)
        return done.stderr

    def test_session_pooling_with_settings_of_the_role_places_orders_and_recovers(self):
        coordinator = self.behind(ROLE_SETTINGS, pool_mode="session", ignore_startup_parameters="options")
        coordinator.start()
        memory, client = Memory(), Client(coordinator.port)
        self.addCleanup(client.close)
        shop = Shop(coordinator.port)
        for mode in ("2pc", "saga"):
            for _ in range(3):
                request = place({**shop.order(sorted(shop.products)[:2]), "mode": mode})
                answer = send(client, memory, request, {"Prefer": "applied"})
                self.assertEqual((201, "CONFIRMED"), (answer.status, answer.json.get("status")), answer.json)
                self.assertEqual(list(harness.PARTICIPANTS), Rows(self.stack).anywhere(answer.json["order_id"]))
        # Decided, and nothing committed yet: the pooler's sessions are another process's afterwards.
        coordinator.kill()
        coordinator.start(crash_at="decide.after")
        client.close()
        crashing = Client(coordinator.port)
        self.addCleanup(crashing.close)
        request = place(shop.order(sorted(shop.products)[:2]))
        with self.assertRaises(ConnectionLost):
            send(crashing, memory, request)
        wait_until("it died at its crash point", coordinator.died_at_crash_point, 10)
        self.assertEqual(4, sum(map(len, self.stack.prepared().values())), "a branch in each database is in doubt")
        coordinator.start()
        self.stack.settled()
        patient = Client(coordinator.port)
        self.addCleanup(patient.close)
        drive(patient, memory, request)
        self.assertEqual("confirmed", request.outcome)
        verify(self.stack, coordinator, memory)

    def test_transaction_pooling_is_refused_before_anything_is_sent_through_it(self):
        coordinator = self.behind(ROLE_SETTINGS, pool_mode="transaction", ignore_startup_parameters="options")
        said = self.refusal(coordinator)
        self.assertEqual(5, said.count("two sessions share one backend"), said)

    def test_pooler_that_drops_the_settings_is_refused_and_each_is_named(self):
        coordinator = self.behind((), pool_mode="session", ignore_startup_parameters="options")
        said = self.refusal(coordinator)
        for name, asked in (("lock_timeout", 1200), ("statement_timeout", 3000), ("plan_cache_mode", "force_custom_plan")):
            self.assertEqual(5, len([line for line in said.splitlines() if f"{name} (" in line
                                     and f"not {asked})" in line]), said)

    def test_role_that_acknowledges_before_the_flush_is_refused_behind_such_a_pooler(self):
        coordinator = self.behind({**ROLE_SETTINGS, "synchronous_commit": "off"}, pool_mode="session",
                                  ignore_startup_parameters="options")
        said = self.refusal(coordinator)
        self.assertEqual(5, said.count("at connect: synchronous_commit (off, not on)"), said)

    def test_pooler_that_refuses_the_settings_is_told_from_a_database_that_is_away(self):
        said = self.refusal(self.behind(ROLE_SETTINGS, pool_mode="session"))
        self.assertEqual(5, said.count("unsupported startup parameter"), said)


if __name__ == "__main__":
    harness.need(PGBOUNCER, "PgBouncer")
    harness.main()
