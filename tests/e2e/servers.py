"""The private PostgreSQL servers that run.d/with-pg.sh started, and what can befall them."""
import contextlib
import os
import signal
import subprocess
import time

import psycopg


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


def _children_of(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            return [int(child) for child in children.read().split()]
    except FileNotFoundError:
        return []


def send_signal(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _reaped(pid):
    return not os.path.exists(f"/proc/{pid}")


def is_dead(pid):
    """Gone, or waiting to be reaped."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Database:
    """One private server and the database in it."""

    def __init__(self, name):
        self.name = name
        self.dsn = os.environ[f"TXC_TEST_DSN_{name.upper()}"]
        self.data = os.path.join(os.environ["TXC_TEST_PGROOT"], name)
        self.options = ""  # of our own sessions
        self._frozen = []
        self._connection = None

    def alive(self):
        try:
            return not is_dead(self.pid())
        except FileNotFoundError:
            return False

    def pid(self):
        with open(os.path.join(self.data, "postmaster.pid"), encoding="utf-8") as file:
            return int(file.readline())

    def query(self, sql, *parameters):
        """Rows of one statement, in a transaction of its own; reconnects after a restart."""
        for fresh in (False, True):
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(self.dsn, autocommit=True, connect_timeout=5,
                                                   application_name="e2e",
                                                   options="-c statement_timeout=5000 " + self.options)
                fresh = True
            try:
                cursor = self._connection.execute(sql, parameters or None)
                return cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError:
                self._connection.close()
                if fresh:
                    raise
        raise AssertionError("unreachable")

    def close(self):
        if self._connection is not None:
            self._connection.close()

    def as_superuser(self, sql, database=None):
        dsn = f"{self.dsn} user=postgres" + (f" dbname={database}" if database else "")
        with psycopg.connect(dsn, autocommit=True, application_name="e2e") as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def make_empty(self):
        # A server that was killed starts in 0.4 s instead of 5: its data directory is made durable by
        # one call, not file by file. fsync stays on.
        self.as_superuser("ALTER SYSTEM SET recovery_init_sync_method = 'syncfs'", "postgres")
        if not self.query("SELECT 1 FROM pg_tables WHERE schemaname = 'public' LIMIT 1"):
            return
        # What an earlier test's coordinator sent last may still be under way: then its branch is busy.
        # Autovacuum's workers are not ours to end.
        sessions = ("FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    " AND backend_type = 'client backend'")
        self.query(f"SELECT pg_terminate_backend(pid) {sessions}")
        wait_until("its sessions end", lambda: not self.query(f"SELECT 1 {sessions}"), 5)
        for gid, in self.query("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"):
            self.query(f"ROLLBACK PREPARED '{gid}'")
        self.close()
        self.as_superuser(f"DROP DATABASE txcoord_{self.name} WITH (FORCE)", "postgres")
        self.as_superuser(f"CREATE DATABASE txcoord_{self.name} OWNER txcoord", "postgres")

    # --- faults ---------------------------------------------------------------------------------
    def stop(self):
        self._control("stop")

    def start(self):
        # To PostgreSQL a zombie is a server that still holds its lock file.
        with contextlib.suppress(FileNotFoundError):
            dead = self.pid()
            wait_until(f"the dead {self.name} is reaped", lambda: _reaped(dead), 5)
        self._control("start")

    def kill(self):
        """The machine goes: every process of the server at once, nothing is flushed or told."""
        pids = self._stop_processes()
        for pid in pids:
            send_signal(pid, signal.SIGKILL)
        wait_until(f"the processes of {self.name} are dead", lambda: all(is_dead(pid) for pid in pids), 10)

    def crash(self):
        """Immediate shutdown (SIGQUIT): backends end without a word, recovery at the next start."""
        pid = self.pid()
        send_signal(pid, signal.SIGQUIT)
        wait_until(f"{self.name} is down", lambda: is_dead(pid), 10)

    def freeze(self):
        """Silence: connections stay open, nothing answers."""
        self._frozen += self._stop_processes()

    def silence(self, pids):
        """Freezes single sessions; the rest of the server works on."""
        assert pids, "no session to silence"
        for pid in pids:
            send_signal(pid, signal.SIGSTOP)
        self._frozen += pids

    def thaw(self):
        for pid in self._frozen:
            send_signal(pid, signal.SIGCONT)
        self._frozen = []

    def backends(self, application):
        """Pids of the sessions that have this application_name."""
        rows = self.query("SELECT pid FROM pg_stat_activity WHERE application_name = %s", application)
        return [pid for (pid,) in rows]

    def _stop_processes(self):
        postmaster = self.pid()
        send_signal(postmaster, signal.SIGSTOP)  # first: it must not start another
        pids = [postmaster] + _children_of(postmaster)
        for pid in pids[1:]:
            send_signal(pid, signal.SIGSTOP)
        return pids

    def _control(self, action):
        subprocess.run([os.environ["TXC_TEST_PGCTL"], action, self.name], check=True, timeout=60,
                       stdin=subprocess.DEVNULL)
