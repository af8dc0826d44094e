"""The system under test: five private PostgreSQL servers (run.d/with-pg.sh) and coordinators.

A test file ends in `stack.main()`: it runs itself again under run.d/with-pg.sh, so the servers live
exactly as long as the tests of that file. Everything that is waited for has a deadline; nothing
sleeps in place of waiting. Clients are in load.py, the verdict over the databases in verdict.py.
"""
import atexit
import concurrent.futures
import ctypes
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
import urllib.request

import psycopg

from load import Client, ConnectionLost
from ports import reserve_port
from servers import Database, Deadline, wait_until

free_port = reserve_port  # by this name scripts beside the project ask for one
PARTICIPANTS = ("order", "inventory", "payment", "shipping")
DATABASES = PARTICIPANTS + ("log",)
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.environ.get("TXCOORD_ROOT") or os.path.dirname(os.path.dirname(HERE))
BINARY = os.environ.get("TXCOORD_BIN") or os.path.join(ROOT, "build", "release", "txcoord")
SKIP = 77  # what ctest takes as "skipped"

SECONDS_TO_SETTLE = 5.0  # I7
SECONDS_TO_END = 10.0    # a saga or an accepted order, once nothing is in its way
# The other shape: each participant a process of its own, spoken to over HTTP. The same tests.
APART = os.environ.get("TXC_SHAPE") == "apart"
THOROUGH = bool(os.environ.get("TXC_THOROUGH"))  # more cases, and the whole verdict after each

# For tests with two coordinators: a lease that runs out soon, and sessions of a silent coordinator
# that the servers end soon.
LEASE_SECONDS = 1.5
SHORT_LEASE = {"engine.lease_ms": 1500, "engine.recovery_interval_ms": 300, "engine.vote_ms_max": 700,
               "engine.prepare_ms_max": 700, "log.idle_in_transaction_ms_max": 2000,
               **{f"participants.{name}.idle_in_transaction_ms_max": 2000 for name in PARTICIPANTS}}


def seed_of_this_run():
    """TXC_SEED repeats a run's random choices; the seed is always printed."""
    seed = int(os.environ.get("TXC_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"seed: TXC_SEED={seed}", file=sys.stderr, flush=True)
    return seed


def die_with_parent():
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def server_program(name, variable):
    """A server's program: named by the variable, installed, or unpacked by run.d/deps.sh; None: nowhere."""
    dependencies = os.environ.get("TXCOORD_DEPS_DIR") or os.path.join(ROOT, "build", "deps")
    for candidate in (os.environ.get(variable), shutil.which(name, path=os.defpath + ":/usr/sbin"),
                      os.path.join(dependencies, "prefix", "sbin", name)):
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    return None


def need(program, name):
    """Ends a test file that cannot run here."""
    if program is None:
        print(f"skipped: {name} is not installed (run.d/deps.sh test fetches it)", file=sys.stderr)
        sys.exit(SKIP)


class Process:
    """A txcoord process that serves, started as often as a test likes, always on the same ports (ports.py)."""

    def __init__(self, stack, identity, binary=BINARY):
        self.stack, self.identity, self.binary = stack, identity, binary
        self.port, self.admin_port = reserve_port(), reserve_port()
        self.process = None
        self.log_path = os.path.join(stack.folder, f"{identity}-{self.port}.log")
        self.config = os.path.join(stack.folder, f"{identity}-{self.port}.toml")

    def write(self, values):
        with open(self.config, "w", encoding="utf-8") as file:
            for name, value in values.items():
                file.write(f"{name} = {json.dumps(value)}\n")

    def command(self):
        """What is run."""
        raise NotImplementedError

    def start(self, crash_at=None, ready=True, stdout=None, stderr=None, **variables):
        """`stdout`, `stderr`: in place of its log; `variables`: of its environment, beside ours."""
        assert not self.alive(), "it runs already"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TXCOORD_")}
        if crash_at:
            environment["TXCOORD_CRASH_AT"] = crash_at
        environment.update(variables)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), env=environment, stdin=subprocess.DEVNULL,
                                            stdout=stdout or log, stderr=stderr or log, preexec_fn=die_with_parent)
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=10):
        def ready():
            if not self.alive():
                raise Deadline(f"{self.identity} ended with {self.process.returncode} before it was ready:\n"
                               + self.log_tail())
            return self.readyz()[0] == 200
        return wait_until(f"{self.identity} is ready", ready, seconds)

    def readyz(self):
        """(status, body) of /readyz?verbose=true; status 0: nobody answers."""
        client = Client(self.port, timeout=2)
        try:
            answer = client.request("GET", "/readyz?verbose=true")
            return answer.status, answer.json
        except ConnectionLost:
            return 0, None
        finally:
            client.close()

    def metric(self, name, labels=""):
        """A sample of /metrics; 0 when there is none yet."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        found = re.search(rf"^{name}{re.escape(labels)} (\S+)$", text, re.MULTILINE)
        return float(found.group(1)) if found else 0.0

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self, seconds):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Deadline(f"{self.identity} still runs after {seconds} s") from None

    def died_at_crash_point(self):
        return self.process.poll() == -signal.SIGKILL

    def log_tail(self, lines=15):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-lines:])


class Service(Process):
    """One participant as a process of its own."""

    def __init__(self, stack, name):
        super().__init__(stack, name)
        self.url = f"http://127.0.0.1:{self.port}"
        self.configure({})

    @staticmethod
    def has(name):
        """Whether a participant's service does something else with this setting."""
        return (name in ("engine.vote_ms_max", "engine.prepare_ms_max", "engine.commit_ms_max")
                or name.startswith("participants.") and not name.endswith((".url", ".dsn")))

    def configure(self, settings):
        """Those of a coordinator's settings that a participant has too."""
        own = {name: value for name, value in settings.items()
               if self.has(name) and (name.startswith("engine.") or f".{self.identity}." in name)}
        self.write({"http.port": self.port, "http.admin_port": self.admin_port,
                    "http.hosts_allowed": f"{self.identity}.test",  # for tests with a resolver of their own
                    f"participants.{self.identity}.dsn": self.stack.databases[self.identity].dsn,
                    "engine.branch_open_ms_max": 2500, **own})

    def command(self):
        return [self.binary, "participant", self.identity, "--config", self.config]


class Coordinator(Process):
    """One `txcoord serve` process."""

    def __init__(self, stack, identity="c1", settings=None, binary=BINARY):
        super().__init__(stack, identity, binary)
        self.configure(settings or {})

    def command(self):
        return [self.binary, "serve", "--config", self.config]

    def configure(self, settings):
        """`settings`: dotted names over what the tests need anyway; takes effect at the next start."""
        values = {"coordinator_id": self.identity, "http.port": self.port, "http.admin_port": self.admin_port,
                  "engine.trim": False, "log.dsn": self.stack.databases["log"].dsn}
        for name in PARTICIPANTS:
            values[f"participants.{name}.dsn"] = self.stack.databases[name].dsn
        for name, service in self.stack.services.items():
            values[f"participants.{name}.url"] = service.url
        values.update(settings)
        self.trims = values["engine.trim"]
        self.write(values)
        self.settings = settings

    def start(self, crash_at=None, ready=True, **how):
        self.stack.start_services(self.settings)
        return super().start(crash_at, ready, **how)

    def admin(self, method, path, body=None):
        client = Client(self.admin_port, timeout=5)
        try:
            return client.request(method, path, body)
        finally:
            client.close()

    def set_fault(self, participant, **fault):
        """failure_rate, delay_ms, mode (error, lost_answer, refuse, down)."""
        answer = self.admin("PUT", f"/admin/v1/faults/{participant}", fault)
        assert answer.status == 200, (answer.status, answer.json)

    def clear_faults(self):
        for participant in PARTICIPANTS:
            assert self.admin("DELETE", f"/admin/v1/faults/{participant}").status == 204


class Stack:
    """The five databases, migrated and empty, and the coordinators on them."""

    def __init__(self, apart=APART):
        self.folder = tempfile.mkdtemp(prefix="txce2e.")
        self.databases = {name: Database(name) for name in DATABASES}
        self.coordinators = []
        self.services = {name: Service(self, name) for name in PARTICIPANTS} if apart else {}
        self.services_settings = {}
        self.migrated = False
        atexit.register(self.close)
        self._empty_databases()

    def coordinator(self, identity="c1", settings=None, binary=BINARY):
        made = Coordinator(self, identity, settings, binary)
        self.coordinators.append(made)
        if not self.migrated:
            self.run("migrate", made)
            self.migrated = True
        return made

    def start_services(self, settings):
        """Those that do not run; all anew, when their settings are to be others."""
        settings = {name: value for name, value in settings.items() if Service.has(name)}
        changed = settings != self.services_settings
        self.services_settings = settings
        for service in self.services.values():
            if changed:
                service.kill()
                service.configure(settings)
            if not service.alive():
                service.start(ready=False)
        for service in self.services.values():
            service.wait_ready()

    def _empty_databases(self):
        """Whatever an earlier test of this process left behind is gone."""
        with concurrent.futures.ThreadPoolExecutor(len(DATABASES)) as pool:
            for done in [pool.submit(database.make_empty) for database in self.databases.values()]:
                done.result()

    def run(self, command, coordinator, *arguments):
        """A txcoord command with a coordinator's settings, to its end; stdout."""
        done = subprocess.run([BINARY, command, "--config", coordinator.config, *arguments], timeout=60,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            raise AssertionError(f"txcoord {command} ended with {done.returncode}:\n"
                                 f"{done.stdout}{done.stderr}")
        return done

    def close(self):
        for database in self.databases.values():
            database.thaw()
            database.close()
        for process in (*self.coordinators, *self.services.values()):
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- what stands in the databases -----------------------------------------------------------
    def prepared(self):
        """{participant: gids prepared there}."""
        found = {}
        for name in PARTICIPANTS:
            rows = self.databases[name].query(
                "SELECT gid FROM pg_prepared_xacts"
                " WHERE database = current_database() AND gid LIKE 'txc\\_%'")
            found[name] = {gid[:-len(name) - 1] for gid, in rows}
        return found

    def decisions(self):
        """{gid: (outcome, participants, order_ids, complete, heuristic)}."""
        rows = self.databases["log"].query(
            "SELECT gid, outcome, participants, order_ids::text[], completed_at IS NOT NULL, heuristic"
            " FROM decisions")
        return {row[0]: row[1:] for row in rows}

    def witnesses(self):
        return {name: {gid for gid, in self.databases[name].query("SELECT gid FROM txc_branch")}
                for name in PARTICIPANTS}

    def unsettled(self):
        """What still stands in doubt, for people; empty: nothing."""
        try:
            standing = [f"{name}: {len(gids)} prepared" for name, gids in self.prepared().items() if gids]
            rows = self.databases["log"].query(
                "SELECT count(*) FROM decisions"
                " WHERE outcome = 'commit' AND completed_at IS NULL AND NOT heuristic")
        except psycopg.OperationalError as away:
            return [str(away)]
        return standing + ([f"log: {rows[0][0]} incomplete"] if rows[0][0] else [])

    def settled(self, seconds=SECONDS_TO_SETTLE):
        """I7: nothing prepared, no decision incomplete, within the time that I7 gives."""
        try:
            return wait_until("settled", lambda: not self.unsettled(), seconds)
        except Deadline:
            raise Deadline(f"I7: not settled within {seconds} s: {self.unsettled()}") from None

    def open_sagas(self):
        """(type, status, current_step, attempts, last_error) of each saga that has not ended."""
        return self.databases["log"].query(
            "SELECT saga_type, status, current_step, attempts, last_error FROM saga_instances"
            " WHERE ended_at IS NULL")

    def sagas_ended(self, seconds=SECONDS_TO_END):
        """I8: no saga is open, no key and no order pending."""
        def standing():
            pending = self.databases["log"].query("SELECT order_id FROM operations WHERE outcome = 'pending'")
            return (self.open_sagas() + pending
                    + self.databases["order"].query("SELECT order_id FROM orders WHERE status = 'PENDING'"))
        try:
            return wait_until("sagas ended", lambda: not standing(), seconds)
        except Deadline:
            raise Deadline(f"I8: not ended within {seconds} s: {standing()[:5]}") from None

    def sessions_ended(self, seconds=5):
        """Waits until no session of a dead coordinator works on: what it sent has landed or is lost."""
        # A service outlives the coordinator, and so do its sessions: then it is their transactions that end.
        what = " AND state <> 'idle'" if self.services else ""

        def ended():
            return not any(database.query("SELECT 1 FROM pg_stat_activity"
                                          " WHERE application_name LIKE 'txcoord%'" + what)
                           for database in self.databases.values())
        wait_until("the sessions of the dead coordinator end", ended, seconds)


def main():
    """Runs the calling file's tests beside servers of their own."""
    if not os.access(BINARY, os.X_OK):
        print(f"skipped: {BINARY} is not built", file=sys.stderr)
        sys.exit(SKIP)
    if "TXC_TEST_PGROOT" not in os.environ:
        wrapper = os.path.join(ROOT, "run.d", "with-pg.sh")
        os.execv(wrapper, [wrapper, sys.executable, "-u", *sys.argv])
    unittest.main(module="__main__", verbosity=2)
