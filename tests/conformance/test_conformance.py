#!/usr/bin/python3
"""The conformance suite, run against the shipping service in Python, against `txcoord participant` for each of the
four, and against services that break one rule each: those it must tell.

    TXCOORD_BIN=build/release/txcoord /usr/bin/python3 tests/conformance/test_conformance.py
"""
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import unittest
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]
import faulty_shipping  # noqa: E402,F401  (fills FAULTS)
import stack as harness  # noqa: E402
import suite  # noqa: E402,F401  (fills RULES)
from carriers import CARRIERS, SUFFIXES, carrier_of, tracking_number  # noqa: E402
from faults import FAULTS  # noqa: E402
from fixtures import Shipping  # noqa: E402
from kit import RULES, Service  # noqa: E402
from servers import Deadline, wait_until  # noqa: E402
from ports import reserve_port  # noqa: E402
from stack import BINARY, die_with_parent  # noqa: E402

TOKEN = secrets.token_hex(16)
BRANCH_OPEN_MS_MAX = 1500
NOT_HERE = {  # rules about what a service does not have
    "order": {"no_work_is_yes", "refusal_is_remembered", "retry_is_not_remembered", "judged_in_order",
              "a_step_waits_for_a_branch"},
    "inventory": set(), "payment": set(),
    "shipping": {"judged_in_order", "a_step_waits_for_a_branch", "whole_64_bits"}}
SHIPPING_RULES = {name for _, name, _, _, only, _ in RULES if not only or "shipping" in only}
VERDICT = re.compile(r"(ok|FAIL|skip) +[\d.]+ s  .{26} (\w+)")


class Participant:
    """A participant's process at one URL; started again at once when it dies, until it is closed."""

    def __init__(self, folder, command_at, **environment):
        """`command_at(port)`: what is run."""
        self.port = reserve_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.pid_file = os.path.join(folder, f"{self.port}.pid")
        self.log_path = os.path.join(folder, f"{self.port}.log")
        self.command = command_at(self.port)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("TXCOORD_")}
        self.environment.update(environment, TXCOORD_INTERNAL_TOKEN=TOKEN, PYTHONDONTWRITEBYTECODE="1")
        self.closing, self.process = threading.Event(), None
        # In a thread that lives as long as they do: what die_with_parent() calls the parent is a thread.
        self.keeper = threading.Thread(target=self._keep, daemon=True)
        self.keeper.start()
        try:
            wait_until("it is ready", self.ready, 15)
        except Deadline:
            self.close()
            raise Deadline(f"{self.command} is not ready within 15 s:\n{self.log_tail()}") from None

    def _keep(self):
        while not self.closing.is_set():
            with open(self.log_path, "ab") as log:
                self.process = subprocess.Popen(self.command, env=self.environment, stdin=subprocess.DEVNULL,
                                                stdout=log, stderr=log, preexec_fn=die_with_parent)
            with open(self.pid_file + ".new", "w", encoding="ascii") as file:
                file.write(str(self.process.pid))
            os.replace(self.pid_file + ".new", self.pid_file)
            self.process.wait()
            self.closing.wait(0.1)  # one that cannot start is not started a thousand times

    def ready(self):
        try:
            with urllib.request.urlopen(self.url + "/readyz", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def restart_command(self, meanwhile="true"):
        """For a shell: kills it, does `meanwhile`, and returns once there is another one."""
        return (f'old=$(cat {self.pid_file}); kill -9 "$old"; {meanwhile}; '
                f'while [ "$(cat {self.pid_file})" = "$old" ]; do sleep 0.02; done')

    def close(self):
        self.closing.set()
        if self.process:
            self.process.kill()
        self.keeper.join(10)

    def log_tail(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-10:])


class ConformanceTest(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.stack = harness.Stack(apart=False)
        cls.addClassCleanup(cls.stack.close)
        cls.stack.coordinator()  # migrates; it is not started

    def python_shipping(self, program="shipping.py", lock_ms=1200, **environment):
        def command_at(port):
            return [sys.executable, os.path.join(HERE, program), "--port", str(port), "--lock-ms", str(lock_ms),
                    "--dsn", self.stack.databases["shipping"].dsn, "--branch-open-ms-max", str(BRANCH_OPEN_MS_MAX)]
        return self.participant(command_at, **environment)

    def participant(self, command_at, **environment):
        made = Participant(self.stack.folder, command_at, **environment)
        self.addCleanup(self.roll_back_what_is_prepared)
        self.addCleanup(made.close)  # before that
        return made

    def roll_back_what_is_prepared(self):
        for name, gids in self.stack.prepared().items():
            for gid in gids:
                self.stack.databases[name].query(f"ROLLBACK PREPARED '{gid}_{name}'")

    def suite(self, participant, name, *more, meanwhile="true"):
        """(exit code, {case: verdict}, what it printed but for what holds)."""
        done = subprocess.run(
            [sys.executable, os.path.join(HERE, "suite.py"), "--url", participant.url, "--participant", name,
             "--dsn", self.stack.databases[name].dsn, "--branch-open-ms-max", str(BRANCH_OPEN_MS_MAX),
             "--restart-command", participant.restart_command(meanwhile), *more], timeout=120, check=False,
            env={**os.environ, "TXCOORD_INTERNAL_TOKEN": TOKEN, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True)
        verdicts = {match[2]: match[1] for match in map(VERDICT.match, done.stdout.splitlines()) if match}
        found = [line for line in done.stdout.splitlines() if not line.startswith("ok ")]
        return done.returncode, verdicts, "\n".join(["", *found, done.stderr])

    def assert_conforms(self, participant, name, *more, absent=(), **how):
        code, verdicts, text = self.suite(participant, name, *more, **how)
        failed = {case for case, verdict in verdicts.items() if verdict == "FAIL"}
        self.assertEqual((code, failed), (0, set()), f"{text}\n{participant.log_tail()}")
        self.assertEqual({case for case, verdict in verdicts.items() if verdict == "skip"}, set(absent), text)
        return verdicts


class PythonShipping(ConformanceTest):
    def test_every_rule_holds(self):
        verdicts = self.assert_conforms(self.python_shipping(), "shipping", absent=NOT_HERE["shipping"])
        self.assertEqual(set(verdicts), SHIPPING_RULES)

    def test_a_yes_is_kept_when_service_and_database_crash(self):
        control = os.environ["TXC_TEST_PGCTL"]
        self.assert_conforms(self.python_shipping(), "shipping", "--only", "prepared_survives_a_kill",
                             meanwhile=f"{control} kill shipping && {control} start shipping")

    def test_sigterm_ends_it_cleanly_and_keeps_what_is_prepared(self):
        process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "shipping.py"), "--dsn", self.stack.databases["shipping"].dsn],
            env={**os.environ, "TXCOORD_INTERNAL_TOKEN": TOKEN}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, preexec_fn=die_with_parent)
        self.addCleanup(self.roll_back_what_is_prepared)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait, 10)
        self.addCleanup(process.kill)
        port = json.loads(process.stdout.readline())["port"]  # --port 0: any, and it says which
        service = Service(f"http://127.0.0.1:{port}", "shipping", TOKEN)
        self.addCleanup(service.close)
        shop = Shipping(service)
        rival, other = shop.rivals()
        gid = service.prepared(shop.place())
        service.vote(service.gid(), [rival])
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(8), 0)
        self.assertEqual(self.stack.prepared()["shipping"], {gid})
        order = other["order_id"]
        self.stack.databases["shipping"].query(
            "SELECT status FROM shipments WHERE order_id = %s FOR UPDATE NOWAIT", order)  # its lock is free


class PlantedFaults(ConformanceTest):
    """Each is a service that breaks a rule; the suite says which, by the cases that fail."""

    def test_each_is_told(self):
        for name, (_, cases) in FAULTS.items():
            with self.subTest(fault=name):
                service = self.python_shipping("faulty_shipping.py", lock_ms=5000, CONFORMANCE_FAULT=name)
                only = [argument for case in sorted(cases) for argument in ("--only", case)]
                code, verdicts, text = self.suite(service, "shipping", *only)
                self.assertEqual((code, verdicts), (1, {case: "FAIL" for case in cases}), text)
            self.doCleanups()

    def test_each_rule_is_told_by_one_of_them(self):
        told = set().union(*(cases for _, cases in FAULTS.values()))
        self.assertEqual(SHIPPING_RULES - told, NOT_HERE["shipping"])


def program_has_participants():
    usage = subprocess.run([BINARY, "--help"], capture_output=True, text=True, check=False, timeout=10,
                           stdin=subprocess.DEVNULL).stdout
    return re.search(r"^\s+participant\b", usage, re.MULTILINE) is not None


class Program(ConformanceTest):
    """`txcoord participant NAME`."""

    def setUp(self):
        if not program_has_participants():
            self.skipTest(f"{BINARY} has no `participant`")

    def serve(self, name):
        config = os.path.join(self.stack.folder, f"{name}.toml")

        def command_at(port):
            settings = {"http.port": port, "http.admin_port": reserve_port(),
                        "engine.branch_open_ms_max": BRANCH_OPEN_MS_MAX,
                        f"participants.{name}.dsn": self.stack.databases[name].dsn}
            with open(config, "w", encoding="utf-8") as file:
                file.writelines(f"{setting} = {json.dumps(value)}\n" for setting, value in settings.items())
            return [BINARY, "participant", name, "--config", config]
        return self.participant(command_at)

    def conforms(self, name):
        verdicts = self.assert_conforms(self.serve(name), name, absent=NOT_HERE[name])
        self.assertEqual(set(verdicts), {case for _, case, _, _, only, _ in RULES if not only or name in only})

    def test_order_conforms(self):
        self.conforms("order")

    def test_inventory_conforms(self):
        self.conforms("inventory")

    def test_payment_conforms(self):
        self.conforms("payment")

    def test_shipping_conforms(self):
        self.conforms("shipping")

    def test_its_carriers_are_those_of_carriers_py(self):
        service = Service(self.serve("shipping").url, "shipping", TOKEN)
        self.addCleanup(service.close)
        shop, spelled = Shipping(service), {}
        for _, _, words in CARRIERS:
            names = words.split()
            for name, romaji in zip(names[::2], names[1::2]):
                for prefecture in (name, romaji, romaji.upper() + SUFFIXES[name[-1]].upper()):
                    placed = shop.place(prefecture=prefecture)
                    spelled[placed["place"]["shipment_id"]] = (prefecture, placed)
        service.committed(*(placed for _, placed in spelled.values()))
        rows = self.stack.databases["shipping"].query(
            "SELECT shipment_id::text, carrier, tracking_number FROM shipments WHERE shipment_id = ANY(%s::uuid[])",
            list(spelled))
        ours = {shipment: carrier_of(prefecture) for shipment, (prefecture, _) in spelled.items()}
        self.assertEqual({shipment: (carrier, number) for shipment, carrier, number in rows},
                         {shipment: (carrier, tracking_number(prefix, shipment))
                          for shipment, (carrier, prefix) in ours.items()})
        self.assertEqual(len(rows), 3 * 47)


if __name__ == "__main__":
    harness.main()
