"""Versions side by side (docs/rolling.md). This program on a schema that a newer one has migrated, with
payloads and messages that a newer one has written. With TXC_OTHER_BIN=/path/to/another/txcoord also that
program: coordinators and participants of both versions on one log, changed under load, there and back."""
import http.client
import http.server
import json
import os
import signal
import subprocess
import threading
import unittest

import stack as harness
from door import Listener
from load import Client, Load, Memory, Modes, Shop, drive, place, send
from one_try import OneTryLoad
from servers import wait_until
from stack import DATABASES, SHORT_LEASE
from verdict import verify

OTHER = os.environ.get("TXC_OTHER_BIN")
FUTURE = "9001_of_a_newer_version"

# A newer program's migration: a column in every table, a table, an index, all with what older programs
# need not know. Partitions get the column from their parent.
ADD_TO_ALL = """
SELECT format('ALTER TABLE %I ADD COLUMN of_a_newer_version text NOT NULL DEFAULT ''x''', relname)
  FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
   AND relname <> 'txc_migrations' ORDER BY relname"""


def migrate_to_the_future(stack, breaking=False):
    for name in DATABASES:
        database = stack.databases[name]
        for statement, in database.query(ADD_TO_ALL):
            database.query(statement)
        database.query("CREATE TABLE of_a_newer_version (i integer PRIMARY KEY)")
        database.query("INSERT INTO txc_migrations (name, sha256, breaking) VALUES (%s, repeat('0', 64), %s)",
                       FUTURE, breaking)


def stop(test, process):
    process.signal(signal.SIGTERM)
    test.assertEqual(0, process.wait_exit(25), process.log_tail())


def flows(load, more=20):
    before = len(load.memory.of(outcome="confirmed"))
    wait_until("orders flow", lambda: len(load.memory.of(outcome="confirmed")) > before + more, 60)


class NewerSchema(unittest.TestCase):
    def setUp(self):
        self.stack = harness.Stack()
        self.addCleanup(self.stack.close)
        self.coordinator = self.stack.coordinator().start()
        self.shop = Shop(self.coordinator.port)

    def test_migrated_under_load_to_what_only_adds_no_request_fails_and_it_starts_with_a_note(self):
        load = OneTryLoad(self.coordinator.port, self.shop, seed=harness.seed_of_this_run(), modes=Modes.ALL)
        try:
            flows(load)
            migrate_to_the_future(self.stack)
            flows(load)
        finally:
            memory = load.stop()
        stop(self, self.coordinator)
        self.stack.run("migrate", self.coordinator)  # nothing to do, and no reason to refuse
        self.coordinator.start()
        with open(self.coordinator.log_path, encoding="utf-8") as log:
            notes = [line for line in log if line.startswith("txcoord: warning:") and FUTURE in line]
        if not self.stack.services:  # they say it themselves
            self.assertEqual(len(DATABASES), len(notes), notes)
        load = OneTryLoad(self.coordinator.port, self.shop, memory=memory, modes=Modes.ALL)
        try:
            flows(load)
        finally:
            load.stop()
        verify(self.stack, self.coordinator, memory)

    def test_what_breaks_older_programs_is_refused_at_start_by_name(self):
        stop(self, self.coordinator)
        migrate_to_the_future(self.stack, breaking=True)
        done = subprocess.run(self.coordinator.command(), timeout=20, capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL)
        self.assertEqual(3, done.returncode, done.stderr)
        self.assertIn(FUTURE, done.stderr)
        self.assertIn("older programs cannot work with it", done.stderr)


class NewerPayload(unittest.TestCase):
    def test_a_saga_that_a_newer_program_wrote_down_is_adopted_and_ends(self):
        stack = harness.Stack()
        self.addCleanup(stack.close)
        coordinator, memory = stack.coordinator().start(), Memory()
        shop = Shop(coordinator.port)
        coordinator.set_fault("payment", failure_rate=1.0, mode="error")
        client = Client(coordinator.port)
        self.addCleanup(client.close)
        requests = [place(shop.order(list(shop.products)[:2]), mode=mode, accept=True) for mode in ("saga", "2pc")]
        for request in requests:
            self.assertEqual(202, send(client, memory, request).status)
        wait_until("they are tried", lambda: any(saga[3] for saga in stack.open_sagas()), 5)
        stop(self, coordinator)
        changed = stack.databases["log"].query(
            "UPDATE saga_instances SET payload = jsonb_set(payload::jsonb || '{\"of_a_newer_version\": [1]}',"
            " '{place,of_a_newer_version}', '{\"deep\": true}')::text WHERE ended_at IS NULL RETURNING saga_id")
        self.assertEqual(2, len(changed))
        coordinator.start()
        stack.sagas_ended()
        for request in requests:
            self.assertEqual("confirmed", drive(client, memory, request).outcome)
        verify(stack, coordinator, memory)


def add_members(value):
    """The same document from a newer version: a member more in every object."""
    if isinstance(value, dict):
        return {"of_a_newer_version": [1, {"a": None}], **{name: add_members(member) for name, member in value.items()}}
    return [add_members(member) for member in value] if isinstance(value, list) else value


class Newer:
    """Stands before a participant's service and makes requests and answers those of a newer version."""

    def __init__(self, behind):
        self.calls = 0
        newer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                newer.calls += 1
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, kind, answer = newer.ask(behind, self.path, self.headers, add_members(body))
                answer = json.dumps(add_members(json.loads(answer))).encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(answer)))
                self.send_header("X-Of-A-Newer-Version", "1")
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format, *args):
                pass

        self._server = Listener(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @staticmethod
    def ask(behind, path, headers, body):
        connection = http.client.HTTPConnection("127.0.0.1", behind, timeout=10)
        passed = {name: value for name, value in headers.items()
                  if name.lower() not in ("content-length", "connection", "host")}
        try:
            connection.request("POST", path, json.dumps(body), {**passed, "X-Of-A-Newer-Version": "1"})
            response = connection.getresponse()
            return response.status, response.headers["Content-Type"], response.read()
        finally:
            connection.close()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class NewerWire(unittest.TestCase):
    def test_members_and_headers_that_nobody_knows_are_passed_over_in_requests_and_answers(self):
        stack = harness.Stack(apart=True)
        self.addCleanup(stack.close)
        between = {name: Newer(service.port) for name, service in stack.services.items()}
        for one in between.values():
            self.addCleanup(one.close)
        coordinator = stack.coordinator(settings={
            f"participants.{name}.url": f"http://127.0.0.1:{one.port}" for name, one in between.items()}).start()
        load = OneTryLoad(coordinator.port, Shop(coordinator.port), clients=4, modes=Modes.ALL)
        try:
            flows(load)
        finally:
            memory = load.stop(30)
        for name, one in between.items():
            self.assertGreater(one.calls, 20, name)
        verify(stack, coordinator, memory)


@unittest.skipUnless(OTHER, "TXC_OTHER_BIN names no other program")
class TwoVersions(unittest.TestCase):
    """Both programs on one log, in both shapes."""

    def setUp(self):
        self.seed = harness.seed_of_this_run()

    def build(self, apart):
        self.stack = harness.Stack(apart=apart)
        self.addCleanup(self.stack.close)
        self.pair = [self.stack.coordinator(name, SHORT_LEASE) for name in ("c1", "c2")]
        # Whichever of the two is newer migrates; the older one has nothing to add.
        subprocess.run([OTHER, "migrate", "--config", self.pair[0].config], check=True, timeout=60,
                       capture_output=True, stdin=subprocess.DEVNULL)

    def change(self, process, binary):
        stop(self, process)
        process.binary = binary
        process.start()

    def there_and_back(self):
        # Participants before coordinators, and back in the opposite order: docs/rolling.md.
        everyone = [*self.stack.services.values(), *self.pair]
        for process in everyone:
            process.binary = OTHER
        for coordinator in self.pair:
            coordinator.start()
        load = Load([coordinator.port for coordinator in self.pair], Shop(self.pair[0].port), clients=12,
                    seed=self.seed, modes=Modes.ALL)
        try:
            for process in everyone:
                flows(load)
                self.change(process, harness.BINARY)
            # Once the hard way: each takes up what the other version left.
            for coordinator, binary in zip(self.pair, (OTHER, harness.BINARY)):
                flows(load)
                coordinator.kill()
                flows(load)
                coordinator.binary = binary
                coordinator.start()
            for process in reversed(everyone):
                flows(load)
                self.change(process, OTHER)
            flows(load)
        finally:
            memory = load.stop(30)
        verify(self.stack, self.pair[0], memory)
        print(f"two versions: {memory}", flush=True)

    def test_coordinators_of_both_versions_share_a_log(self):
        self.build(apart=False)
        self.there_and_back()

    def test_coordinators_and_participants_of_both_versions_are_mixed(self):
        known = subprocess.run([OTHER, "--help"], capture_output=True, text=True, check=True, timeout=20,
                               stdin=subprocess.DEVNULL).stdout
        if "\n  participant" not in known:
            self.skipTest("the other program has no participants apart")
        self.build(apart=True)
        self.there_and_back()


if __name__ == "__main__":
    harness.main()
