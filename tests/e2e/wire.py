"""A tap on the wire between the coordinator and its databases: it reads PostgreSQL's protocol, keeps
a trace (what was sent, what was answered, in one order over all databases), and can lose a message,
lose its answer, or deliver it late.

A turn is what the client sends before it waits: a simple query, or an extended one up to its Sync.
"""
import collections
import dataclasses
import itertools
import os
import re
import selectors
import socket
import struct
import threading
import time
import typing

# What may be done to a turn.
PASS = "pass"
LOSE = "the message is lost, and its connection"
LOSE_ANSWER = "it is executed, its answer and the connection are lost"
DELIVER_LATE = "it arrives after the client has given up"
LATE_SECONDS = 0.3  # after the client has hung up

STARTUP = None
_order = itertools.count()


@dataclasses.dataclass
class Turn:
    """One turn, and what came of it. `sent` and `answered` are places in the one order of all events;
    an answer is recorded before the client can know it, a message after the client has sent it."""
    database: str
    application: str
    text: str
    sent: int = dataclasses.field(default_factory=lambda: next(_order))
    answered: typing.Optional[int] = None
    error: bool = False

    @property
    def label(self):
        """The same for the same kind of turn: without literals."""
        text = re.sub(r"\s+", " ", re.sub(r"\d+", "#", re.sub(r"'[^']*'", "?", self.text)))
        return f"{self.database}: {text[:90]}"


def _messages(buffer, untyped=False):
    """Takes whole messages off the front of a bytearray: (type, payload, raw)."""
    while True:
        head = 0 if untyped else 1
        if len(buffer) < head + 4:
            return
        length = struct.unpack_from("!I", buffer, head)[0] + head
        if len(buffer) < length:
            return
        raw = bytes(buffer[:length])
        del buffer[:length]
        yield (STARTUP if untyped else raw[:1]), raw[head + 4:], raw
        untyped = False


class Tap:
    """Sockets in front of the servers' sockets. `rule(turn)` says what is done to a turn."""

    def __init__(self, stack):
        self.trace = []
        self.rule = lambda turn: PASS
        self._lock = threading.Lock()
        self._listeners = []
        self.dsns = {}
        for name, database in stack.databases.items():
            real = re.search(r"host=(\S+)", database.dsn).group(1)
            folder = os.path.join(stack.folder, "wire", name)
            os.makedirs(folder)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(os.path.join(folder, ".s.PGSQL.5432"))
            listener.listen(64)
            self._listeners.append(listener)
            self.dsns[name] = database.dsn.replace(real, folder)
            threading.Thread(target=self._accept, args=(name, listener, real), daemon=True).start()

    def settings(self):
        """A coordinator's settings that lead it through the tap."""
        return {("log.dsn" if name == "log" else f"participants.{name}.dsn"): dsn
                for name, dsn in self.dsns.items()}

    def close(self):
        for listener in self._listeners:
            listener.close()

    def turns(self):
        with self._lock:
            return list(self.trace)

    def _accept(self, name, listener, real):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(os.path.join(real, ".s.PGSQL.5432"))
            except OSError:
                client.close()
                continue
            threading.Thread(target=_Relay(self, name, client, server).run, daemon=True).start()

    def begin(self, turn):
        with self._lock:
            self.trace.append(turn)
            return self.rule(turn)


class _Relay:
    """One connection. Runs on a thread of its own."""

    def __init__(self, tap, database, client, server):
        self._tap, self._database, self._client, self._server = tap, database, client, server
        self._from_client, self._from_server = bytearray(), bytearray()
        self._started, self._application = False, ""
        self._pending, self._names = bytearray(), []
        self._waiting = collections.deque()  # turns without their answer
        self._swallow = None                 # the turn whose answer is lost

    def run(self):
        selector = selectors.DefaultSelector()
        selector.register(self._client, selectors.EVENT_READ, (self._client, self._client_says))
        selector.register(self._server, selectors.EVENT_READ, (self._server, self._server_says))
        try:
            while True:
                for key, _ in selector.select():
                    side, handle = key.data
                    data = side.recv(65536)
                    if not data or not handle(data):
                        return
        except OSError:
            pass  # one side is gone: so is the connection
        finally:
            selector.close()
            self._client.close()
            self._server.close()

    def _client_says(self, data):
        self._from_client += data
        for kind, payload, raw in _messages(self._from_client, untyped=not self._started):
            if kind is STARTUP:
                self._started = True
                fields = payload[4:].split(b"\0")
                if b"application_name" in fields:
                    self._application = fields[fields.index(b"application_name") + 1].decode()
                self._server.sendall(raw)
                continue
            self._pending += raw
            if kind == b"Q":
                self._names = [payload.rstrip(b"\0").decode()]
            elif kind == b"P":
                self._names.append("parse " + payload.split(b"\0")[0].decode())
            elif kind == b"B":
                self._names.append(payload.split(b"\0")[1].decode())
            elif kind != b"S" and kind != b"X":
                continue
            if kind in (b"Q", b"S", b"X") and not self._end_of_turn(kind):
                return False
        return True

    def _end_of_turn(self, kind):
        message, self._pending = bytes(self._pending), bytearray()
        text, self._names = "; ".join(self._names), []
        if kind == b"X" or not text:
            self._server.sendall(message)
            return True
        turn = Turn(self._database, self._application, text)
        what = self._tap.begin(turn)
        if what == LOSE:
            return False
        if what == DELIVER_LATE:
            self._hold_until_hung_up()
            self._server.sendall(message)
            self._server.settimeout(5)
            self._server.recv(65536)  # its answer reaches nobody
            return False
        self._waiting.append(turn)
        if what == LOSE_ANSWER:
            self._swallow = turn
        self._server.sendall(message)
        return True

    def _hold_until_hung_up(self):
        while self._client.recv(65536):
            pass
        time.sleep(LATE_SECONDS)

    def _server_says(self, data):
        self._from_server += data
        forward = bytearray()
        for kind, _, raw in _messages(self._from_server):
            turn = self._waiting[0] if self._waiting else None
            if kind == b"E" and turn:
                turn.error = True
            if kind == b"Z" and turn:
                turn.answered = next(_order)
                self._waiting.popleft()
                if turn is self._swallow:
                    return False
            if self._swallow is None or (turn and turn is not self._swallow):
                forward += raw
        self._client.sendall(forward)
        return True
