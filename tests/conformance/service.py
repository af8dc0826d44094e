"""The outside of a participant: its failures, a bounded pool of database sessions, and HTTP.

A participant has NAME, call_names, a method for each of them (body, until) that returns the answer or raises,
ready(), sweep(stop) and release_open(older_than_seconds).
"""
import contextlib
import hmac
import http.server
import json
import queue
import select
import signal
import sys
import threading
import time

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

STATUS = {"unavailable": 503, "timeout": 504, "deadlock": 409, "lock_timeout": 409, "busy": 409, "fenced": 409,
          "not_found": 404, "poison": 422, "error": 500}
# By SQLSTATE, its class, or the first three letters.
KINDS = {"57014": "timeout", "55P03": "lock_timeout", "40P01": "deadlock", "40001": "deadlock", "42704": "not_found",
         "55000": "busy", "25006": "unavailable", "25P03": "unavailable", "57P": "unavailable", "08": "unavailable",
         "53": "unavailable", "22": "poison", "23": "poison"}
ECHOED = ("X-Correlation-ID", "X-Request-ID")
BODY_BYTES_MAX = 8 << 20
IDENTITY_MAX = 128     # of what is repeated
CONNECTIONS_MAX = 256  # a thread each
CALLS_MAX = 64         # under way at once; the others wait
TIMEOUT_MS, TIMEOUT_MS_MAX = 3000, 30000
DRAIN_SECONDS = 5
OPTIONS = ("-c client_connection_check_interval=1000 -c TimeZone=UTC -c synchronous_commit=on"
           " -c plan_cache_mode=force_custom_plan -c jit=off")


class Failure(Exception):
    """How a call ends that does not end with 200: nothing was done, unless `outcome_unknown`."""

    def __init__(self, kind, detail, status=None, outcome_unknown=False, sqlstate=""):
        super().__init__(detail)
        self.status = status or STATUS[kind]
        self.body = {"title": kind, "status": self.status, "failure": kind, "outcome_unknown": outcome_unknown,
                     "sqlstate": sqlstate, "detail": detail}


def classify(error, decides=False):
    """psycopg's error as a Failure. Its message may quote rows, which are personal data: only its class is told.
    `decides`: an acknowledgement that is lost, not refused, leaves unknown what became of the statement."""
    state = error.sqlstate or ""
    lost = isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
    unacknowledged = state.startswith(("08", "57P")) or state == "40003" or (not state and lost)
    known = [KINDS[state[:size]] for size in (5, 3, 2) if state[:size] in KINDS]
    kind = known[0] if known else "unavailable" if lost and not state else "error"
    return Failure(kind, type(error).__name__, outcome_unknown=decides and unacknowledged, sqlstate=state)


class Sessions:
    """At most `size` sessions with the database; who finds none free waits until the call's deadline."""

    def __init__(self, dsn, name, size, lock_ms, idle_ms):
        # The server ends what its client forgets: a process that was stopped releases nothing by itself.
        options = (f"{conninfo_to_dict(dsn).get('options', '')} {OPTIONS}"
                   f" -c idle_in_transaction_session_timeout={idle_ms}")
        self.parameters = {"conninfo": dsn, "autocommit": True, "connect_timeout": 2, "application_name": name,
                           "options": options}
        self.lock_ms = lock_ms
        self.free = queue.LifoQueue()
        for _ in range(size):
            self.free.put(None)

    def take(self, until):
        """A session whose statements end by `until`, and waits for locks by lock_ms. To be given back."""
        try:
            session = self.free.get(timeout=max(0.001, until - time.monotonic()))
        except queue.Empty:
            raise Failure("timeout", "no database session became free") from None
        try:
            # An idle session has nothing to read but its end: then the server is connected to anew.
            if session is not None and (session.closed or select.select([session.fileno()], [], [], 0)[0]):
                session.close()
                session = None
            session = session or psycopg.connect(**self.parameters)
            self.limit(session, until)
            return session
        except psycopg.Error:
            self.drop(session)
            raise Failure("unavailable", "the database does not answer") from None

    def limit(self, session, until):
        """From now on each statement ends by `until`, and a wait for a lock by lock_ms."""
        left_ms = max(1, int(1000 * (until - time.monotonic())))
        session.execute("SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false)",
                        (str(left_ms), str(min(left_ms, self.lock_ms))))

    def give(self, session):
        """What is still open is rolled back; by the server, if this session cannot."""
        try:
            if session.info.transaction_status != TransactionStatus.IDLE:
                session.execute("ROLLBACK")
            self.free.put(session)
        except psycopg.Error:
            self.drop(session)

    def drop(self, session):
        if session is not None:
            session.close()
        self.free.put(None)

    @contextlib.contextmanager
    def session(self, until):
        session = self.take(until)
        try:
            yield session
        finally:
            self.give(session)


def each_once(members):
    """An object that names a member twice is none: two readers could each believe another one."""
    made = dict(members)
    if len(made) < len(members):
        raise ValueError("a member is named twice")
    return made


def no_number(text):
    raise ValueError(text)


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection, kept alive. A subclass has `participant`, `token`, `log_calls`, `calls` and `stopping`."""
    protocol_version, timeout, wbufsize, disable_nagle_algorithm = "HTTP/1.1", 30, -1, True

    def do_POST(self):
        started = time.monotonic()
        # Every answer repeats what it is for; until the body is read, that is what path and header say.
        self.identity = {"call": self.path.rpartition("/")[2], "request_id": self.headers.get("X-Request-ID", "")}
        try:
            answer, status = self.perform(self.read_body(), started) or {"done": True}, 200
        except Failure as failure:
            answer, status = failure.body, failure.status
        except psycopg.Error as error:
            failure = classify(error)
            answer, status = failure.body, failure.status
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            answer = Failure("error", f"a request that cannot be read: {type(error).__name__}", 400).body
            status = 400
        self.reply(status, {**self.identity, **answer})
        if self.log_calls or status in (401, 500):  # the others are the caller's to report
            line = {"call": self.path[:128], "status": status, "ms": round(1000 * (time.monotonic() - started)),
                    **{name: self.headers.get(name, "")[:128] for name in ECHOED}}
            sys.stderr.write(json.dumps(line) + "\n")

    def read_body(self):
        lengths = self.headers.get_all("Content-Length", [])
        length = lengths[0] if len(lengths) == 1 else ""
        if "Transfer-Encoding" in self.headers or not length.isdecimal() or int(length) > BODY_BYTES_MAX:
            self.close_connection = True  # where this request ends is not known
            raise Failure("error", "a body needs one Content-Length, of a size that is taken", 413)
        text = self.rfile.read(int(length))
        if len(text) < int(length):
            self.close_connection = True
            raise Failure("error", "the body is cut off", 400)
        return text

    def perform(self, text, started):
        wanted = f"Bearer {self.token}".encode()
        if self.token and not hmac.compare_digest(self.headers.get("Authorization", "").encode("latin-1"), wanted):
            raise Failure("error", "the bearer token is missing or wrong", 401)
        place, _, call = self.path.rpartition("/")
        if place != f"/participant/v1/{self.participant.NAME}" or call not in self.participant.call_names:
            raise Failure("error", "no such call", 404)
        if self.headers.get_content_type() != "application/json":
            raise Failure("error", "the body must be application/json", 415)
        body = json.loads(text, object_pairs_hook=each_once, parse_constant=no_number)
        if not isinstance(body, dict):
            raise Failure("error", "the body must be an object", 400)
        self.identify(body, call)
        timeout_ms = min(int(self.headers.get("Txcoord-Timeout-Ms", TIMEOUT_MS)), TIMEOUT_MS_MAX)
        with self.calls:
            if self.stopping.is_set():
                raise Failure("unavailable", "the service is stopping")
            return getattr(self.participant, call.replace("-", "_"))(body, started + timeout_ms / 1000)

    def identify(self, body, call):
        """What the answer repeats. The body counts: a proxy may write headers anew, and an older caller has no more."""
        for name, here in (("call", call), ("participant", self.participant.NAME)):
            if body.get(name, here) != here:
                raise Failure("error", f"{name} is not the one of the path", 400)
        self.identity.update({name: body[name] for name in ("request_id", "gid")
                              if isinstance(body.get(name), str) and len(body[name]) <= IDENTITY_MAX})

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/livez":
            self.reply(200, {})
        elif path == "/readyz":
            ready = not self.stopping.is_set() and self.participant.ready()
            self.reply(200 if ready else 503, {"ready": ready})
        else:
            failure = Failure("error", "calls are POSTs", 405)
            try:
                if "Content-Length" in self.headers:
                    self.read_body()  # what is left unread would be taken for the next request
            except Failure as unreadable:
                failure = unreadable
            self.reply(failure.status, failure.body)

    do_PUT = do_DELETE = do_PATCH = do_GET

    def reply(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status == 200 else "application/problem+json")
        self.send_header("Content-Length", str(len(text)))
        for name in ECHOED:
            if name in self.headers:
                self.send_header(name, self.headers[name])
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass  # the line in do_POST says more


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def verify_request(self, request, client_address):
        return threading.active_count() < CONNECTIONS_MAX


def serve(participant, address, port, token, log_calls):
    """Until SIGTERM or SIGINT; then what is under way is finished, and what is open is released."""
    stop, calls = threading.Event(), threading.Semaphore(CALLS_MAX)
    handler = type("BoundHandler", (Handler,), {"participant": participant, "token": token, "log_calls": log_calls,
                                                "calls": calls, "stopping": threading.Event()})
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Server((address, port), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        threading.Thread(target=participant.sweep, args=(stop,), daemon=True).start()
        print(json.dumps({"port": server.server_address[1]}), flush=True)
        stop.wait()
        handler.stopping.set()
        server.shutdown()
        until = time.monotonic() + DRAIN_SECONDS
        for _ in range(CALLS_MAX):  # each call holds one: all of them are here when none is under way
            calls.acquire(timeout=max(0, until - time.monotonic()))
        participant.release_open(older_than_seconds=0)
