"""One run of ./run compare: one variant at one point of one sweep, in one round. Load until its rate is
steady, the measured part, and, once everything has come to rest, the exact pass; all of it becomes one
dictionary. The observer takes part in runs of its own (`observed`): it needs processors too, so no rate and
no latency is taken where it reads.
"""
import contextlib
import dataclasses
import multiprocessing
import os
import pathlib
import signal
import time

import compare_steady
import exact
import observer
from compare_load import LoadProgram, NotAvailable
from compare_stack import wait_until

SECONDS_TO_REST = 60
# After the word to measure: the measured part, the last answers, and what a fault makes of them.
SECONDS_TO_END = 300
__all__ = ["NotAvailable", "Point", "Runs", "VARIANTS"]


@dataclasses.dataclass(frozen=True)
class Variant:
    name: str
    what: str
    settings: dict = dataclasses.field(default_factory=dict)  # of the coordinator
    mode: str = ""
    prefer: str = ""
    one_database: bool = False


# One order at a time in each transaction, and as many at once as textbooks have: 32, each on sessions
# of its own. Several groups that ask for locks ask one database after the other.
TEXTBOOK = {"engine.group_operations_max": 1, "engine.lanes": 32, "engine.asking_groups_max": 32,
            "engine.unfinished_groups_max": 48, "saga.lanes": 16, "log.connections_max": 36,
            **{f"participants.{name}.connections_max": 64
               for name in ("order", "inventory", "payment", "shipping")}}
VARIANTS = {variant.name: variant for variant in (
    Variant("2pc", "group two-phase commit, the server's defaults; answered when the decision is durable",
            mode="2pc"),
    Variant("2pc-textbook", "one order a global transaction: vote, four PREPAREs, decision, four COMMIT PREPAREDs; "
            "answered when all four databases show it (Prefer: applied). Up to 32 are under way at once; the "
            "databases are asked for locks one after the other, always in one order", TEXTBOOK, "2pc", "applied"),
    Variant("saga", "the same grouping: the steps of many sagas at one service share a local transaction; answered "
            "when COMPLETED", mode="saga"),
    Variant("saga-textbook", "one order a local transaction in every step", TEXTBOOK, "saga"),
    Variant("one-database", "the same rows in one database, one plain transaction an order, no HTTP; 16, 32 and 64 "
            "clients, the best is taken", one_database=True),
)}


@dataclasses.dataclass(frozen=True)
class Point:
    sweep: str
    x: float                 # the value swept
    label: str
    connections: int = 128
    rate: float = 0          # orders a second offered (open loop); 0: closed loop
    zipf: float = 0
    refused: float = 0
    delay: tuple = ()        # (participant, milliseconds)
    commit_delay_us: int = 0
    fault: str = ""          # coordinator, database or cut-off
    fault_seconds: float = 0
    database_clients: tuple = (16, 32, 64)  # of one-database
    seconds: float = 0       # 0: as told for all points
    variants: tuple = ()     # those that take part; empty: all that the sweep allows


def processor_seconds():
    """{what: seconds of processor time so far}, by command line of the processes that matter."""
    ticks = os.sysconf("SC_CLK_TCK")
    used = {"coordinator": 0.0, "databases": 0.0, "all": 0.0}
    busy = [int(n) for n in pathlib.Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]]
    used["all"] = (sum(busy[:3]) + sum(busy[5:8])) / ticks
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            name = (entry / "comm").read_text(encoding="utf-8").strip()
            fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        kind = {"txcoord": "coordinator", "postgres": "databases"}.get(name)
        if kind:
            # With those that ended and were waited for: a server's sessions come and go.
            used[kind] += sum(map(int, fields[11:15])) / ticks
    return used


def observe(dsns, interval, pipe):
    """The observer's own process: its work must not share an interpreter with anything measured."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        watching = observer.Observer(dsns, interval)
        watching.start()
        pipe.send("ready")
        pipe.recv()  # the run has come to rest
        found = watching.stop()
        found["processor_seconds"] = round(time.process_time(), 3)
        pipe.send(found)
    except Exception as error:  # told to the run, which fails with it
        pipe.send(error)


class Observing:
    """The observer for the length of a `with`; its findings afterwards."""

    def __init__(self, dsns, interval):
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=observe, args=(dsns, interval, theirs), daemon=True)
        self.findings = None

    def _receive(self, seconds):
        if not self.pipe.poll(seconds):
            raise TimeoutError("the observer does not answer")
        found = self.pipe.recv()
        if isinstance(found, Exception):
            raise found
        return found

    def __enter__(self):
        self.process.start()
        self._receive(20)
        return self

    def __exit__(self, kind, error, trace):
        try:
            if kind is None:
                self.pipe.send("stop")
                self.findings = self._receive(120)
        finally:
            self.process.terminate()
            self.process.join(10)


class Runs:
    def __init__(self, stack, options, measured=()):
        """`measured`: rows of this comparison from an earlier piece."""
        self.stack, self.options, self.rule = stack, options, options.rule
        self.number = 0
        # Clients of one-database, by (sweep, x): found out in the first round, kept in the others.
        self.best_clients = {(row["sweep"], row["x"]): (row["clients"],) for row in measured if "clients" in row}
        self.answers = stack.state / "answers.csv"

    def run(self, variant, point, seed, observed=False):
        """Raises NotAvailable."""
        self.number += 1
        if variant.one_database:
            return self._one_database(point, seed, observed)
        stack = self.stack
        stack.stop_coordinator()
        stack.empty_and_load()
        self._commit_delay(point, [*stack.dsns(), "log"])
        stack.start_coordinator(variant.settings)
        if point.delay and not stack.set_delay(*point.delay):
            raise NotAvailable("faults on demand answer 501")
        command = [os.environ["TXC_LOAD"], "--port", str(stack.port), "--connections", str(point.connections),
                   "--rate", str(point.rate), "--mode", variant.mode, *self._stream(point, seed)]
        if variant.prefer:
            command += ["--prefer", variant.prefer]
        return self._measure(command, point, observed, one_database=False)

    def _one_database(self, point, seed, observed):
        """With as many clients as suit it best."""
        self._commit_delay(point, ["one"])
        place = (point.sweep, point.x)
        tried = {}
        for clients in self.best_clients.get(place, point.database_clients):
            self.stack.empty_and_load(one_database=True)
            command = [os.environ["TXC_ONE_DATABASE"], "--dsn", self.stack.servers["one"].dsn,
                       "--clients", str(clients), *self._stream(point, seed)]
            tried[clients] = self._measure(command, point, observed, one_database=True)
            tried[clients]["clients"] = clients
        best = max(tried.values(), key=lambda result: result["orders_per_s"])
        self.best_clients[place] = (best["clients"],)
        best["clients_tried"] = {str(clients): result["orders_per_s"] for clients, result in tried.items()}
        return best

    def _stream(self, point, seed):
        return ["--key-prefix", f"compare-{os.getpid()}-{self.number}", "--seed", str(seed),
                "--zipf", str(point.zipf), "--refused", str(point.refused), "--answers", str(self.answers),
                "--seconds", str(point.seconds or self.options.seconds)]

    def _commit_delay(self, point, names):
        for name in names:
            server = self.stack.servers[name]
            if server.as_superuser("SHOW commit_delay")[0][0] != str(point.commit_delay_us):
                server.set_commit_delay(point.commit_delay_us)

    def _measure(self, command, point, observed, one_database):
        stack = self.stack
        dsns = stack.dsns(one_database)
        begun = processor_seconds()
        observing = Observing(dsns, self.options.observer_ms / 1000) if observed else contextlib.nullcontext()
        with observing, contextlib.closing(LoadProgram(command, self.rule.window_s)) as load:
            steadiness = compare_steady.warm_up(load.next_window, load.waiting,
                                                lambda: stack.take_statistics(one_database), self.rule)
            before = processor_seconds()
            load.measure()
            try:
                fault = self._fault(point) if point.fault else None
                result = load.result(SECONDS_TO_END)
            finally:
                if point.fault:
                    self._mend()
            ended = processor_seconds()
            used = {name: round(seconds - before[name], 3) for name, seconds in ended.items()}
            if point.delay:
                stack.clear_delay(point.delay[0])
            if not one_database:
                result["seconds_to_rest"] = round(self._rest(), 3)
        steadiness["held"] = compare_steady.held(result["timeline"], result["warm_up_s"], result["seconds"], self.rule)
        result["steadiness"], result["processor_seconds"] = steadiness, used
        if observed:
            # It read in the warm-up too.
            result["observer"] = {**observing.findings, "processor_seconds_of_all": round(ended["all"] - begun["all"], 3)}
        start = 1e6 * (result["started_at"] + result["warm_up_s"])
        result.update(exact.exact_pass(
            dsns, exact.read_answers(self.answers), measured_us=(start, start + 1e6 * result["seconds"]),
            fault_end_us=fault and fault["ended_us"]))
        if fault:
            result["fault"] = fault
            result["audit_violations"] = len(stack.audit())
        return result

    def _rest(self):
        return wait_until("everything is at rest", self.stack.at_rest, SECONDS_TO_REST)

    # --- failures -----------------------------------------------------------------------------------
    def _fault(self, point):
        """Waits for the middle of the measured part, does it, undoes it; when it began and ended."""
        stack, seconds = self.stack, point.seconds or self.options.seconds
        time.sleep(seconds / 3)
        began = time.time()
        if point.fault == "coordinator":
            stack.kill_coordinator()
            time.sleep(point.fault_seconds)  # until a supervisor starts it again
            stack.start_coordinator()
        elif point.fault == "database":
            stack.servers["payment"].kill()
            time.sleep(point.fault_seconds)
            stack.servers["payment"].start()
        elif point.fault == "cut-off":
            stack.servers["payment"].freeze()
            time.sleep(point.fault_seconds)
            stack.servers["payment"].thaw()
        ended = time.time()
        return {"kind": point.fault, "began_us": int(1e6 * began), "ended_us": int(1e6 * ended),
                "seconds": round(ended - began, 3)}

    def _mend(self):
        """Whatever went wrong: the next run finds a whole stack."""
        self.stack.servers["payment"].thaw()
        self.stack.servers["payment"].start()
