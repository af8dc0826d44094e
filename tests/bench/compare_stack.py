"""The stack that ./run compare measures: six private PostgreSQL servers that run.d/compare.sh started,
and one coordinator at a time. Every run begins with the same rows: tables are emptied and loaded anew.
"""
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time

import psycopg

from observer import SERVICES

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from ports import reserve_port  # noqa: E402 (the path is set above)

DATABASES = (*SERVICES, "log")
PRODUCTS, WALLETS = 1000, 10_000
# What says who we are and which migrations stand; everything else is emptied between runs. Event ids begin
# anew too: the observer takes ids that it never saw for transactions under way.
KEPT_TABLES = ("txc_migrations", "txc_installation", "coordinator_epoch", "coordinator_lease", "key_periods",
               "txc_fence")
EMPTY = """
  SELECT 'TRUNCATE ' || string_agg(format('%%I.%%I', schemaname, tablename), ', ') || ' RESTART IDENTITY'
    FROM pg_tables
   WHERE schemaname = ANY (%s) AND tablename <> ALL (%s)"""
LOAD = {
    "inventory": f"""
      INSERT INTO inventory (sku, title, category, unit_price, available)
      SELECT 'cold-' || n, 'Product ' || n, 'bench', 100, 1000000000 FROM generate_series(0, {PRODUCTS - 1}) n;
      INSERT INTO inventory (sku, title, category, unit_price) VALUES ('sold-out', 'Sold out', 'bench', 100);
      INSERT INTO stock_ledger (sku, delta, cause) SELECT sku, available, 'LOAD' FROM inventory WHERE available > 0;
      ANALYZE inventory; ANALYZE stock_ledger""",
    "payment": f"""
      INSERT INTO wallets (customer_id, balance)
      SELECT 'bench-' || n, 1000000000000 FROM generate_series(0, {WALLETS - 1}) n;
      INSERT INTO wallets (customer_id, balance) VALUES ('poor', 0);
      INSERT INTO wallet_ledger (customer_id, delta, cause)
      SELECT customer_id, balance, 'LOAD' FROM wallets WHERE balance > 0;
      ANALYZE wallets; ANALYZE wallet_ledger""",
}


def wait_until(what, condition, seconds, pause=0.02):
    """Polls; returns how long it took. Raises TimeoutError."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(pause)
    return time.monotonic() - start


def execute(dsn, *statements):
    """Runs statements, each for itself; the rows of the last."""
    with psycopg.connect(dsn, autocommit=True, application_name="compare") as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        while cursor.nextset():
            pass
        return cursor.fetchall() if cursor.description else []


class Server:
    """One PostgreSQL server and what can befall it."""

    def __init__(self, name, dsn, data, control):
        self.name, self.dsn, self.data, self.control = name, dsn, pathlib.Path(data), control
        self.frozen = []

    def as_superuser(self, *statements):
        return execute(f"{self.dsn} user=postgres", *statements)

    def pid(self):
        return int((self.data / "postmaster.pid").read_text(encoding="ascii").split("\n", 1)[0])

    def freeze(self):
        """Cut off: connections stay open, nothing answers. The postmaster first, so that it starts no other."""
        pid = self.pid()
        self.frozen = [pid]
        os.kill(pid, signal.SIGSTOP)
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        for child in map(int, children.split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGSTOP)
                self.frozen.append(child)

    def thaw(self):
        for pid in self.frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.frozen = []

    def kill(self):
        """The machine goes: all processes at once, nothing is flushed."""
        self.freeze()
        for pid in self.frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        pids, self.frozen = self.frozen, []
        wait_until(f"the processes of {self.name} are dead", lambda: all(dead(pid) for pid in pids), 10)

    def start(self):
        subprocess.run([self.control, "start", self.name], check=True, timeout=60, stdin=subprocess.DEVNULL)

    def set_commit_delay(self, microseconds):
        """Every flush of the log waits this long first: XLogFlush sleeps, whoever calls it (COMMIT, PREPARE
        TRANSACTION, COMMIT PREPARED), and those who wait meanwhile share the flush, as on a disk."""
        self.as_superuser(f"ALTER SYSTEM SET commit_delay = {int(microseconds)}",
                          "ALTER SYSTEM SET commit_siblings = 0", "SELECT pg_reload_conf()")
        wait_until("the setting is in force", lambda: self.as_superuser("SHOW commit_delay")[0][0] ==
                   str(int(microseconds)), 5)

    def flush_costs(self, tries=20):
        """Median milliseconds of a small COMMIT, PREPARE TRANSACTION and COMMIT PREPARED: what the setting
        above really delays, measured each time."""
        took = {"commit": [], "prepare": [], "commit_prepared": []}
        with psycopg.connect(self.dsn, autocommit=True, application_name="compare") as session:
            session.execute("CREATE TABLE IF NOT EXISTS compare_probe (n bigint)")

            def timed(kind, statement):
                begun = time.perf_counter()
                session.execute(statement)
                took[kind].append(1000 * (time.perf_counter() - begun))

            for number in range(tries):
                session.execute("BEGIN")
                session.execute("INSERT INTO compare_probe VALUES (1)")
                timed("commit", "COMMIT")
                session.execute("BEGIN")
                session.execute("INSERT INTO compare_probe VALUES (1)")
                timed("prepare", f"PREPARE TRANSACTION 'compare_probe_{number}'")
                timed("commit_prepared", f"COMMIT PREPARED 'compare_probe_{number}'")
            session.execute("DROP TABLE compare_probe")
        return {kind: round(statistics.median(times), 3) for kind, times in took.items()}


def dead(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        return text.rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Stack:
    def __init__(self, environment=None):
        environment = os.environ if environment is None else environment
        self.state = pathlib.Path(environment["TXC_STATE"])
        self.root = pathlib.Path(environment["TXC_ROOT"])
        self.program = environment["TXC_BIN"]
        data = pathlib.Path(environment["TXC_PG_DATA"])
        control = str(self.root / "run.d" / "pg-ctl.sh")
        self.servers = {name: Server(name, environment[f"TXC_DSN_{name.upper()}"], data / name, control)
                        for name in (*DATABASES, "one")}
        # The same for every coordinator: clients go on while one is killed and started again.
        self.port, self.admin_port = reserve_port(), reserve_port()
        self.coordinator = None
        self.config = self.state / "txcoord.toml"
        self.log = self.state / "log" / "txcoord.log"

    def dsns(self, one_database=False):
        """Of the four services; in one database they are four schemas."""
        if one_database:
            return {name: f"{self.servers['one'].dsn} options='-csearch_path={name}'" for name in SERVICES}
        return {name: self.servers[name].dsn for name in SERVICES}

    # --- the databases ----------------------------------------------------------------------------
    def prepare(self):
        """The schemas: of the five databases by `txcoord migrate`, of the one by the same files."""
        self.prepare_services()
        self.prepare_one()

    def prepare_services(self):
        self.write_config({})
        subprocess.run([self.program, "migrate", "--config", str(self.config)], check=True, timeout=60,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def prepare_one(self):
        for name in DATABASES:
            files = sorted((self.root / "schemas" / name).glob("[0-9]*.sql"))
            execute(self.servers["one"].dsn, f'DROP SCHEMA IF EXISTS "{name}" CASCADE', f'CREATE SCHEMA "{name}"',
                    f'SET search_path = "{name}"', *(file.read_text(encoding="utf-8") for file in files))

    def empty_and_load(self, one_database=False):
        targets = [("one", DATABASES)] if one_database else [(name, ["public"]) for name in DATABASES]
        for name, schemas in targets:
            with psycopg.connect(self.servers[name].dsn, autocommit=True, application_name="compare") as session:
                statement, = session.execute(EMPTY, (list(schemas), list(KEPT_TABLES))).fetchone()
                session.execute(statement)
        for service, statements in LOAD.items():
            execute(self.dsns(one_database)[service], *statements.split(";"))
        # Every run begins right after a checkpoint: none falls into it.
        for name, _ in targets:
            self.servers[name].as_superuser("CHECKPOINT")

    def take_statistics(self, one_database=False):
        """What autovacuum does on a database in use: without statistics PostgreSQL plans for tables as small
        as they were when they were empty. All databases at once, since orders are under way meanwhile."""
        names = ["one"] if one_database else list(DATABASES)
        with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(lambda name: execute(self.servers[name].dsn, "ANALYZE"), names))

    def at_rest(self):
        """Nothing is under way in any database."""
        for name in SERVICES:
            if execute(self.servers[name].dsn, "SELECT 1 FROM pg_prepared_xacts WHERE database = current_database()"
                                               " LIMIT 1"):
                return False
        log = self.servers["log"].dsn
        if execute(log, "SELECT 1 FROM decisions WHERE completed_at IS NULL AND outcome = 'commit' LIMIT 1"):
            return False
        if execute(log, "SELECT to_regclass('saga_instances') IS NOT NULL")[0][0] and execute(
                log, "SELECT 1 FROM saga_instances WHERE status NOT IN ('COMPLETED', 'FAILED') LIMIT 1"):
            return False
        return not execute(self.servers["order"].dsn, "SELECT 1 FROM orders WHERE status = 'PENDING' LIMIT 1")

    # --- the coordinator --------------------------------------------------------------------------
    def write_config(self, settings):
        values = {"coordinator_id": "c1", "log_level": "warn", "http.port": self.port,
                  "http.admin_port": self.admin_port, "log.dsn": self.servers["log"].dsn,
                  **{f"participants.{name}.dsn": self.servers[name].dsn for name in SERVICES}, **settings}
        self.config.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()),
                               encoding="utf-8")

    def start_coordinator(self, settings=None):
        if settings is not None:
            self.write_config(settings)
        with open(self.log, "ab") as log:
            self.coordinator = subprocess.Popen([self.program, "serve", "--config", str(self.config)],
                                                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until("the coordinator is ready", self._ready, 30)

    def _ready(self):
        if self.coordinator.poll() is not None:
            raise RuntimeError(f"the coordinator ended with {self.coordinator.returncode}; its log is {self.log}")
        return self.call("GET", "/readyz")[0] == 200

    def stop_coordinator(self):
        if self.coordinator is None:
            return
        self.coordinator.terminate()
        try:
            self.coordinator.wait(25)
        except subprocess.TimeoutExpired:
            self.coordinator.kill()
            self.coordinator.wait(10)
        self.coordinator = None

    def kill_coordinator(self):
        self.coordinator.kill()
        self.coordinator.wait(10)

    def call(self, method, path, body=None, admin=False):
        """(status, text); status 0: nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port if admin else self.port, timeout=5)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def set_delay(self, participant, delay_ms):
        """False when the server cannot do it."""
        status, text = self.call("PUT", f"/admin/v1/faults/{participant}", {"delay_ms": delay_ms}, admin=True)
        if status == 501:
            return False
        if status not in (200, 204):
            raise RuntimeError(f"faults for {participant}: {status} {text}")
        return True

    def clear_delay(self, participant):
        status, text = self.call("DELETE", f"/admin/v1/faults/{participant}", admin=True)
        if status not in (200, 204):
            raise RuntimeError(f"faults for {participant}: {status} {text}")

    def audit(self):
        """Violations that `txcoord audit` finds: [] when all invariants hold."""
        done = subprocess.run([self.program, "audit", "--json", "--config", str(self.config)], timeout=120,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"txcoord audit ended with {done.returncode}: {done.stderr}")
        return json.loads(done.stdout).get("violations", [])

    def close(self):
        for server in self.servers.values():
            server.thaw()
        self.stop_coordinator()
