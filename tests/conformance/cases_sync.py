"""The rules of staying in step: requests that come in pieces, together, twice, cut off or with more behind them,
through a proxy that does that. Whatever comes, each answer is the one to its own question, and what is not a whole
request does nothing."""
import json
import re
import secrets
import socket

import proxy as wire
from kit import Broken, Service, answers, expect, rule

SILENT_SECONDS = 4  # after which nothing more is expected on a connection


class Through:
    """The service under test behind a proxy that changes requests."""

    def __init__(self, service, on_request):
        self.service, self.on_request = service, on_request

    def __enter__(self):
        self.proxy = wire.Proxy(self.service.port, self.service.host)
        self.proxy.on_request = self.on_request
        made = Service(f"http://127.0.0.1:{self.proxy.port}{self.service.prefix}", self.service.participant,
                       self.service.token)
        made.gids = self.service.gids  # ended after the case, like the others
        self.made = made
        return made

    def __exit__(self, *_):
        self.made.close()
        self.proxy.close()


class Raw:
    """A connection to the service, on which a case sends what it likes."""

    def __init__(self, service):
        self.socket = socket.create_connection((service.host, service.port), timeout=SILENT_SECONDS)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, *pieces):
        for piece in pieces:
            self.socket.sendall(piece)

    def answer(self):
        """(status, document) of the next answer; None: the connection ended. Interim ones are passed over."""
        try:
            message = wire.read_message(self.file, "answer")
            return message and (int(message.head.split(b" ", 2)[1]), json.loads(message.body))
        except TimeoutError:
            raise Broken(f"no answer within {SILENT_SECONDS} s") from None
        except (ConnectionError, ValueError):
            return None

    def ended(self):
        """Whether the service closed it; waits."""
        try:
            while self.socket.recv(4096):
                pass
            return True
        except ConnectionError:
            return True
        except TimeoutError:
            return False


def same(answer, request_id):
    return answer is not None and answer[0] == 200 and answer[1].get("request_id") == request_id


@rule("In step")
def requests_in_pieces(service, shop):
    """A request that comes byte by byte is the same request."""
    with Through(service, wire.request_split) as slow:
        placed = shop.place()
        gid = slow.gid()
        expect(answers(slow.vote(gid, [placed])) == ["yes"], "another vote")
        slow.do("prepare", gid=gid, survivors=[True])
        slow.do("commit", gid=gid)
    expect(shop.state(placed) == shop.placed, f"a reader sees {shop.state(placed)}")


@rule("In step")
def two_requests_at_once(service, shop):
    """Two requests in one packet get two answers in their order, or the connection ends after the first."""
    first, second, gid = secrets.token_hex(8), secrets.token_hex(8), service.gid()
    with Raw(service) as raw:
        raw.send(service.bytes_of("witness", first, {"gid": gid}) + service.bytes_of("witness", second, {"gid": gid}))
        expect(same(raw.answer(), first), "the first was answered otherwise")
        again = raw.answer()
        expect(again is None or same(again, second), f"the second was answered {again}")


@rule("In step")
def requests_sent_twice(service, shop):
    """Whatever is sent twice, as by a proxy that tries again, happens once, and the first answer is right."""
    with Through(service, wire.request_twice) as hasty:
        placed = shop.place()
        gid = hasty.gid()
        expect(answers(hasty.vote(gid, [placed])) == ["yes"], "another vote")
        expect(answers(hasty.judge(gid, [True])) == ["yes"], "another judgement")
        hasty.do("prepare", gid=gid, survivors=[True])
        expect(gid in hasty.listed(), "it is not prepared")
        hasty.do("commit", gid=gid)
    expect(shop.state(placed) == shop.placed, f"a reader sees {shop.state(placed)}")
    count = len(shop.history(placed))
    expect(count == 1, f"its history has {count} entries")


@rule("In step")
def a_request_cut_off_does_nothing(service, shop):
    """A body that is shorter than its length does nothing, even where what came is whole JSON."""
    gid = service.prepared(shop.place())
    whole = service.bytes_of("commit", "r", {"gid": gid})
    longer = re.sub(rb"Content-Length: (\d+)", lambda found: b"Content-Length: %d" % (int(found[1]) + 2), whole)
    for text in (longer, whole[:-1]):
        with Raw(service) as raw:
            raw.send(text)
            raw.socket.shutdown(socket.SHUT_WR)
            answer = raw.answer()
            expect(answer is None or answer[0] >= 400, f"it was answered {answer}")
    expect(gid in service.listed() and not service.witness(gid), "it was committed")


@rule("In step")
def bytes_after_a_request(service, shop):
    """What follows a request and is none is no part of it: the request is answered, and the connection ends."""
    with Raw(service) as raw:
        raw.send(service.bytes_of("witness", "r", {"gid": service.gid()}) + b"}}\r\n\r\n")
        expect(same(raw.answer(), "r"), "the request was answered otherwise")
        expect(raw.ended(), "the connection is still open: what comes next is read from its middle")


@rule("In step")
def two_lengths(service, shop):
    """A request with two lengths is refused, the connection ends, and nothing is done."""
    gid = service.prepared(shop.place())
    whole = service.bytes_of("commit", "r", {"gid": gid})
    for more in (b"Content-Length: 1", b"Transfer-Encoding: chunked"):
        with Raw(service) as raw:
            raw.send(whole.replace(b"\r\n\r\n", b"\r\n" + more + b"\r\n\r\n", 1))
            try:
                message = wire.read_message(raw.file, "answer")
            except ConnectionError:
                message = None
            expect(message is None or b" 4" in message.head[:12], f"{more.decode()}: not refused")
            expect(raw.ended(), f"{more.decode()}: the connection is still open")
    expect(gid in service.listed() and not service.witness(gid), "it was committed")
