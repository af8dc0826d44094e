"""A proxy that speaks malformed and desynchronised HTTP, in both directions. Standard library only.

It stands between a caller of the participant protocol and a participant. It reads whole messages, and passes each on
as `on_request` and `on_answer` say: a list of pieces, each sent by itself; None: the connection ends. What a test may
want of them is below. A connection of a caller has one of its own to the service, and a thread.
"""
import json
import re
import socket
import threading

CONNECT_SECONDS, PIECE_SECONDS = 5, 30
END = object()  # in place of a piece: the connection ends there


class Message:
    """A request or an answer, as bytes. `call`: the last word of the request's path."""

    def __init__(self, head, body, call=""):
        self.head, self.body, self.call = head, body, call

    def whole(self):
        return self.head + self.body

    def with_body(self, body):
        """The same with another body, and its length."""
        head = re.sub(rb"(?i)(content-length:)[^\r]*", rb"\1 %d" % len(body), self.head)
        return Message(head, body, self.call)

    def with_status(self, line):
        return Message(re.sub(rb"^[^\r]*", line, self.head, count=1), self.body, self.call)

    def document(self):
        return json.loads(self.body)


def read_message(file, call=""):
    """None at the end of the connection. Interim answers are passed over."""
    while True:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = file.readline(1 << 16)
            if not line:
                return None
            head += line
        if not head.startswith(b"HTTP/1.1 1"):
            break
    length = re.search(rb"(?im)^content-length:\s*(\d+)", head)
    size = int(length.group(1)) if length else 0
    body = file.read(size)
    if len(body) < size:
        return None
    if not call:
        call = head.split(b" ", 2)[1].rpartition(b"/")[2].decode()
    return Message(head, body, call)


class Proxy:
    def __init__(self, to, host="127.0.0.1"):
        self.to = (host, to)
        self.on_request = self.on_answer = lambda message: [message.whole()]
        self.greeting = b""          # to a caller that connects
        self.calls = []              # names, in the order of their answers
        self.guard, self.open, self.closing = threading.Lock(), set(), False
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.closing = True
        self.listener.close()
        with self.guard:
            for end in self.open:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _accept(self):
        while not self.closing:
            try:
                caller, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller):
        ends = {caller}
        try:
            service = socket.create_connection(self.to, timeout=CONNECT_SECONDS)
            ends.add(service)
            with self.guard:
                self.open |= ends
            for end in ends:
                end.settimeout(PIECE_SECONDS)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            caller.sendall(self.greeting)
            self._relay(caller, caller.makefile("rb"), service, service.makefile("rb"))
        except (OSError, ValueError):
            pass  # one of the two is gone: so is the other
        finally:
            with self.guard:
                self.open -= ends
            for end in ends:
                end.close()

    def _relay(self, caller, from_caller, service, from_service):
        while (request := read_message(from_caller)) is not None:
            pieces = self.on_request(request)
            if pieces is None:
                return
            for piece in pieces:
                service.sendall(piece)
            # Whoever sends a request twice gets an answer for each; the caller sees the first.
            answers = [read_message(from_service, request.call) for _ in range(max(1, pieces.count(request.whole())))]
            if answers[0] is None:
                return
            self.calls.append(request.call)
            pieces = self.on_answer(answers[0])
            if pieces is None:
                return
            for piece in pieces:
                if piece is END:
                    return
                caller.sendall(piece)


# --- what may happen to an answer -------------------------------------------------------------------------------
def interim(answer):
    return [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + answer.whole()]


def too_many_interim(answer):
    return [9 * b"HTTP/1.1 100 Continue\r\n\r\n" + answer.whole()]


def surplus(answer):
    return [answer.whole() + b"\n"]


def twice(answer):
    return [answer.whole(), answer.whole()]


def cut_off(answer):
    return [answer.whole()[:-1], END]


def html(answer):
    body = b"<html><h1>502 Bad Gateway</h1></html>"
    return [b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(body) + body]


def html_as_ok(answer):
    return [html(answer)[0].replace(b"502 Bad Gateway\r\n", b"200 OK\r\n", 1)]


def created(answer):
    return [answer.with_status(b"HTTP/1.1 201 Created").whole()]


def another_form(answer):
    """The same identity, and another kind of answer."""
    kept = {name: value for name, value in answer.document().items() if name in ("call", "gid", "request_id")}
    return [answer.with_body(json.dumps({**kept, "ok": True}).encode()).whole()]


def another_identity(answer):
    return [answer.with_body(json.dumps({**answer.document(), "request_id": "another"}).encode()).whole()]


def without_identity(answer):
    left = {name: value for name, value in answer.document().items() if name not in ("call", "gid", "request_id")}
    return [answer.with_body(json.dumps(left).encode()).whole()]


def chunked(answer):
    head = re.sub(rb"(?i)content-length:[^\r]*", b"Transfer-Encoding: chunked", answer.head)
    return [head, b"".join(b"1\r\n%c\r\n" % byte for byte in answer.body), b"0\r\nX-Trailer: 1\r\n\r\n"]


def split(answer):
    return [bytes((byte,)) for byte in answer.whole()]


class Swap:
    """Two answers on two connections change places; one that finds no other in time goes where it belongs."""

    def __init__(self, seconds=0.2):
        self.seconds, self.guard, self.held, self.swapped = seconds, threading.Lock(), None, 0

    def __call__(self, answer):
        mine = {"answer": answer, "there": threading.Event(), "other": None}
        with self.guard:
            other, self.held = self.held, (mine if self.held is None else None)
            if other is not None:
                other["other"] = answer
                other["there"].set()
                self.swapped += 1
                return [other["answer"].whole()]
        mine["there"].wait(self.seconds)
        with self.guard:
            if self.held is mine:
                self.held = None
        return [(mine["other"] or answer).whole()]


class Delayed:
    """The answer before comes in place of each: each caller gets that of the call before his, on his connection."""

    def __init__(self):
        self.guard, self.last = threading.Lock(), None

    def __call__(self, answer):
        with self.guard:
            sent, self.last = self.last or answer, answer
        return [sent.whole()]


# --- what may happen to a request -------------------------------------------------------------------------------
def request_split(request):
    return [bytes((byte,)) for byte in request.whole()]


def request_twice(request):
    return [request.whole(), request.whole()]
