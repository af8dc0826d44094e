"""The system under test: five private PostgreSQL servers (run.d/with-pg.sh) and coordinators.

A test file ends in `stack.main()`: it runs itself again under run.d/with-pg.sh, so the servers live
exactly as long as the tests of that file. Everything that is waited for has a deadline; nothing
sleeps in place of waiting. Clients are in load.py, the verdict over the databases in verdict.py.
"""
import atexit
import contextlib
import ctypes
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import psycopg

PARTICIPANTS = ("order", "inventory", "payment", "shipping")
DATABASES = PARTICIPANTS + ("log",)
ROOT = os.environ.get("TXCOORD_ROOT") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("TXCOORD_BIN") or os.path.join(ROOT, "build", "release", "txcoord")
SKIP = 77  # what ctest takes as "skipped"

SECONDS_TO_SETTLE = 5.0  # I7


class Deadline(AssertionError):
    """Something that had to happen did not."""


def wait_until(what, condition, seconds, pause=0.02):
    """Polls until condition() is true; returns how long that took. Raises Deadline."""
    start = time.monotonic()
    while True:
        if condition():
            return time.monotonic() - start
        if time.monotonic() - start > seconds:
            raise Deadline(f"not within {seconds} s: {what}")
        time.sleep(pause)


def seed_of_this_run():
    """TXC_SEED repeats a run's random choices; the seed is always printed."""
    seed = int(os.environ.get("TXC_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"seed: TXC_SEED={seed}", file=sys.stderr, flush=True)
    return seed


def die_with_parent():
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


# Below the range of outgoing connections: a client that connects to a free port inside that range
# can be given the same port as its own, and then talks to itself.
_ports = iter(random.Random(os.getpid()).sample(range(20000, 32000), 2000))


def free_port():
    for port in _ports:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port")


def _children_of(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            return [int(child) for child in children.read().split()]
    except FileNotFoundError:
        return []


def _send(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _gone(pid):
    """True also for a zombie that nobody has reaped yet."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


class Database:
    """One private server and the database in it."""

    def __init__(self, name):
        self.name = name
        self.dsn = os.environ[f"TXC_TEST_DSN_{name.upper()}"]
        self._data = os.path.join(os.environ["TXC_TEST_PGROOT"], name)
        self._frozen = []
        self._connection = None

    def pid(self):
        with open(os.path.join(self._data, "postmaster.pid"), encoding="utf-8") as file:
            return int(file.readline())

    def query(self, sql, *parameters):
        """Rows of one statement, in a transaction of its own; reconnects after a restart."""
        for fresh in (False, True):
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(self.dsn, autocommit=True, connect_timeout=5,
                                                   application_name="e2e",
                                                   options="-c statement_timeout=5000")
                fresh = True
            try:
                cursor = self._connection.execute(sql, parameters or None)
                return cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError:
                self._connection.close()
                if fresh:
                    raise
        raise AssertionError("unreachable")

    def as_superuser(self, sql, database=None):
        dsn = f"{self.dsn} user=postgres" + (f" dbname={database}" if database else "")
        with psycopg.connect(dsn, autocommit=True, application_name="e2e") as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    # --- faults ---------------------------------------------------------------------------------
    def stop(self):
        self._control("stop")

    def start(self):
        self._control("start")

    def kill(self):
        """The machine goes: every process of the server at once, nothing is flushed or told."""
        pids = self._stop_processes()
        for pid in pids:
            _send(pid, signal.SIGKILL)
        wait_until(f"the processes of {self.name} are gone", lambda: all(_gone(pid) for pid in pids), 10)

    def crash(self):
        """Immediate shutdown (SIGQUIT): backends end without a word, recovery at the next start."""
        pid = self.pid()
        _send(pid, signal.SIGQUIT)
        wait_until(f"{self.name} is down", lambda: _gone(pid), 10)

    def freeze(self):
        """Silence: connections stay open, nothing answers."""
        self._frozen = self._stop_processes()

    def thaw(self):
        for pid in self._frozen:
            _send(pid, signal.SIGCONT)
        self._frozen = []

    def backends(self, application):
        """Pids of the sessions that have this application_name."""
        rows = self.query("SELECT pid FROM pg_stat_activity WHERE application_name = %s", application)
        return [pid for (pid,) in rows]

    def _stop_processes(self):
        postmaster = self.pid()
        _send(postmaster, signal.SIGSTOP)  # first: it must not start another
        pids = [postmaster] + _children_of(postmaster)
        for pid in pids[1:]:
            _send(pid, signal.SIGSTOP)
        return pids

    def _control(self, action):
        subprocess.run([os.environ["TXC_TEST_PGCTL"], action, self.name], check=True, timeout=60,
                       stdin=subprocess.DEVNULL)


class Coordinator:
    """One `txcoord serve` process, started as often as a test likes, always on the same port."""

    def __init__(self, stack, identity="c1", settings=None):
        self.stack, self.identity = stack, identity
        self.port, self.admin_port = free_port(), free_port()
        self.process = None
        self.log_path = os.path.join(stack.folder, f"{identity}-{self.port}.log")
        self.config = os.path.join(stack.folder, f"{identity}-{self.port}.toml")
        self.configure(settings or {})

    def configure(self, settings):
        """`settings`: dotted names over what the tests need anyway; takes effect at the next start."""
        values = {"coordinator_id": self.identity, "http.port": self.port, "http.admin_port": self.admin_port,
                  "engine.trim": False, "log.dsn": self.stack.databases["log"].dsn}
        for name in PARTICIPANTS:
            values[f"participants.{name}.dsn"] = self.stack.databases[name].dsn
        values.update(settings)
        with open(self.config, "w", encoding="utf-8") as file:
            for name, value in values.items():
                file.write(f"{name} = {json.dumps(value)}\n")

    def start(self, crash_at=None, ready=True):
        assert not self.alive(), "it runs already"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TXCOORD_")}
        if crash_at:
            environment["TXCOORD_CRASH_AT"] = crash_at
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([BINARY, "serve", "--config", self.config], env=environment,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=die_with_parent)
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
        from load import Client, ConnectionLost  # load.py knows this module, so not at the top
        client = Client(self.port, timeout=2)
        try:
            answer = client.request("GET", "/readyz?verbose=true")
            return answer.status, answer.json
        except ConnectionLost:
            return 0, None
        finally:
            client.close()

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


class Stack:
    """The five databases, migrated and empty, and the coordinators on them."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="txce2e.")
        self.databases = {name: Database(name) for name in DATABASES}
        self.coordinators = []
        self.fresh = True
        atexit.register(self.close)

    def coordinator(self, identity="c1", settings=None):
        made = Coordinator(self, identity, settings)
        self.coordinators.append(made)
        if self.fresh:
            self.run("migrate", made)
            self.fresh = False
        return made

    def reset(self):
        """Empty databases again."""
        self.stop_coordinators()
        for name, database in self.databases.items():
            database.thaw()
            for gid, in database.query("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"):
                database.query(f"ROLLBACK PREPARED '{gid}'")
            database.as_superuser(f"DROP DATABASE txcoord_{name} WITH (FORCE)", "postgres")
            database.as_superuser(f"CREATE DATABASE txcoord_{name} OWNER txcoord", "postgres")
        self.fresh = True

    def run(self, command, coordinator, *arguments):
        """A txcoord command with a coordinator's settings, to its end; stdout."""
        done = subprocess.run([BINARY, command, "--config", coordinator.config, *arguments], timeout=60,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            raise AssertionError(f"txcoord {command} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def stop_coordinators(self):
        for coordinator in self.coordinators:
            coordinator.kill()
        self.coordinators = []

    def close(self):
        for database in self.databases.values():
            database.thaw()
        self.stop_coordinators()
        subprocess.run(["rm", "-rf", self.folder], check=False)

    # --- what stands in the databases -----------------------------------------------------------
    def prepared(self):
        """{participant: gids prepared there}."""
        found = {}
        for name in PARTICIPANTS:
            rows = self.databases[name].query(
                "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() AND gid LIKE 'txc\\_%'")
            found[name] = {gid[:-len(name) - 1] for gid, in rows}
        return found

    def decisions(self):
        """{gid: (outcome, participants, order_ids, complete, heuristic)}."""
        rows = self.databases["log"].query(
            "SELECT gid, outcome, participants, order_ids::text[], completed_at IS NOT NULL, heuristic FROM decisions")
        return {row[0]: row[1:] for row in rows}

    def witnesses(self):
        return {name: {gid for gid, in self.databases[name].query("SELECT gid FROM txc_branch")}
                for name in PARTICIPANTS}

    def unsettled(self):
        """What still stands in doubt, for people; empty: nothing."""
        try:
            standing = [f"{name}: {len(gids)} prepared" for name, gids in self.prepared().items() if gids]
            rows = self.databases["log"].query(
                "SELECT count(*) FROM decisions WHERE outcome = 'commit' AND completed_at IS NULL AND NOT heuristic")
        except psycopg.OperationalError as away:
            return [str(away)]
        return standing + ([f"log: {rows[0][0]} incomplete"] if rows[0][0] else [])

    def settled(self, seconds=SECONDS_TO_SETTLE):
        """I7: nothing prepared, no decision incomplete, within the time that I7 gives."""
        try:
            return wait_until("settled", lambda: not self.unsettled(), seconds)
        except Deadline:
            raise Deadline(f"I7: not settled within {seconds} s: {self.unsettled()}") from None

    def sessions_ended(self, seconds=5):
        """Waits until no session of a dead coordinator works on: what it sent has landed or is lost."""
        def ended():
            return all(not database.query("SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'txcoord%'"
                                          " AND pid <> pg_backend_pid()")
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
