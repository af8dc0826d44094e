"""Clients: they place orders over REST, remember every answer, and send the same key again until
they have a final one. What they were told is held against the databases by verdict.py."""
import collections
import dataclasses
import http.client
import itertools
import json
import random
import threading
import time
import typing

ADDRESS = {"name": "Test Person", "postal_code": "100-0001", "prefecture": "Tokyo", "city": "Chiyoda",
           "line1": "1-1"}

# A refusal under the key, never to change. REQUEST_IN_FLIGHT is a 409 too, and says nothing yet.
FINAL_REFUSALS = (409, 422)


class ConnectionLost(Exception):
    """No answer: whether the request had an effect is unknown to this client."""


@dataclasses.dataclass
class Answer:
    status: int
    headers: typing.Any
    json: typing.Any
    seconds: float

    @property
    def reason(self):
        return (self.json or {}).get("reason")

    @property
    def replayed(self):
        return self.headers.get("Idempotency-Replayed") == "true"


class Client:
    """One keep-alive connection."""

    def __init__(self, port, timeout=10.0):
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def request(self, method, path, body=None, key=None, headers=None):
        sent = {"X-Correlation-ID": key} if key else {}
        if key:
            sent["Idempotency-Key"] = key
        if body is not None:
            sent["Content-Type"] = "application/json"
        sent.update(headers or {})
        start = time.monotonic()
        try:
            self._connection.request(method, path, None if body is None else json.dumps(body), sent)
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as lost:
            self._connection.close()
            raise ConnectionLost(repr(lost)) from lost
        parsed = json.loads(text) if "json" in response.headers.get("Content-Type", "") else None
        return Answer(response.status, response.headers, parsed, time.monotonic() - start)

    def close(self):
        self._connection.close()


@dataclasses.dataclass
class Request:
    """One operation under one key, and everything that was ever said about it."""
    kind: str
    key: str
    method: str
    path: str
    body: typing.Any
    order_id: typing.Optional[str] = None  # known when it was confirmed; of a change, from the start
    outcome: typing.Optional[str] = None   # confirmed, refused: final
    reason: typing.Optional[str] = None
    sent: int = 0
    answered: int = 0
    headers: dict = dataclasses.field(default_factory=dict)
    accepted: typing.Optional[str] = None  # the order that a 202 to respond-async promised


class Memory:
    """What all clients together were told. Contradictions between answers are found at once (I5, I10)."""

    def __init__(self):
        self._lock = threading.Lock()
        self.requests = {}       # by key
        self.contradictions = []
        self.statuses = collections.Counter()
        self.slowest = {}        # seconds, by status
        self.lost = 0

    def sending(self, request):
        with self._lock:
            self.requests[request.key] = request
            request.sent += 1

    def lose(self):
        with self._lock:
            self.lost += 1

    def note(self, request, answer):
        """Takes an answer in; true when it is final."""
        with self._lock:
            request.answered += 1
            self.statuses[answer.status] += 1
            self.slowest[answer.status] = max(self.slowest.get(answer.status, 0.0), answer.seconds)
            if answer.status in (503, 504) and "Retry-After" not in answer.headers:
                self.contradictions.append(f"{request.key}: {answer.status} without Retry-After")
            outcome, reason, order_id = self._read(answer)
            if outcome is None:
                self._note_promise(request, answer)
                return False
            if request.accepted and outcome == "confirmed" and order_id != request.accepted:
                self.contradictions.append(
                    f"I5: {request.key} was accepted as {request.accepted}, confirmed as {order_id}")
            if order_id is None or request.kind != "place":
                order_id = request.order_id
            if request.outcome is None:
                request.outcome, request.reason, request.order_id = outcome, reason, order_id
            elif (outcome, reason, order_id) != (request.outcome, request.reason, request.order_id):
                self.contradictions.append(
                    f"I10: {request.kind} {request.key} was {request.outcome} {request.reason} "
                    f"{request.order_id}, now {outcome} {reason} {order_id}")
            return True

    def _note_promise(self, request, answer):
        if answer.status != 202 or answer.headers.get("Preference-Applied") != "respond-async":
            return
        promised = answer.headers["Location"].rpartition("/")[2]
        if request.accepted not in (None, promised):
            self.contradictions.append(f"I5: {request.key} was accepted as {request.accepted} and {promised}")
        request.accepted = promised

    def _read(self, answer):
        if answer.status in (200, 201):
            return "confirmed", None, answer.json.get("order_id")
        if answer.status in FINAL_REFUSALS and answer.reason != "REQUEST_IN_FLIGHT":
            return "refused", answer.reason, None
        if answer.status not in (202, 409, 503, 504):
            self.contradictions.append(f"an answer outside the contract: {answer.status} {answer.json}")
        return None, None, None

    def of(self, kind=None, outcome=None):
        with self._lock:
            return [r for r in self.requests.values()
                    if (kind is None or r.kind == kind) and (outcome is None or r.outcome == outcome)]

    def open(self):
        return [r for r in self.requests.values() if r.outcome is None]

    def __str__(self):
        slowest = {status: round(seconds, 2) for status, seconds in sorted(self.slowest.items())}
        return (f"{len(self.requests)} requests, answers {dict(sorted(self.statuses.items()))}, "
                f"{self.lost} lost, slowest {slowest}")


class Shop:
    """Products and customers, made through REST: plenty, scarce and missing ones."""
    _numbers = itertools.count(1)

    def __init__(self, port, products=12, customers=8, scarce=2):
        number = next(self._numbers)
        self.products = {f"s{number}-{i:03}": 100 + 10 * i for i in range(products)}
        self.scarce = {f"s{number}-few{i}": 500 for i in range(scarce)}
        self.sold_out = {f"s{number}-none": 900}
        # Seven of each, and orders take four: one at a time can have them.
        self.contested = {f"s{number}-seven{i}": 300 for i in range(3)}
        self.customers = [f"c{number}-{i:03}" for i in range(customers)]
        self.poor = f"c{number}-poor"
        client = Client(port)
        for prices, available in ((self.products, 1_000_000), (self.scarce, 5), (self.sold_out, 0),
                                  (self.contested, 7)):
            for sku, price in prices.items():
                self._put(client, f"/v1/inventory/{sku}",
                          {"title": sku, "unit_price": price, "available": available})
        for customer in self.customers:
            self._put(client, f"/v1/wallets/{customer}", {"balance": 10_000_000})
        self._put(client, f"/v1/wallets/{self.poor}", {"balance": 1})
        client.close()

    @staticmethod
    def _put(client, path, body):
        answer = client.request("PUT", path, body)
        assert answer.status in (200, 201), (path, answer.status, answer.json)

    def order(self, skus, customer=None, method="wallet", token=None, quantity=1):
        prices = {**self.products, **self.scarce, **self.sold_out, **self.contested}
        body = {"customer_id": customer or self.customers[0], "shipping_address": ADDRESS,
                "payment_method": method,
                "items": [{"sku": sku, "quantity": quantity, "unit_price": prices[sku]} for sku in skus]}
        if token:
            body["payment_token"] = token
        return body


_keys = itertools.count(1)
_run = f"{random.SystemRandom().randrange(1 << 32):08x}"


def new_key(prefix="k"):
    return f"{prefix}-{_run}-{next(_keys)}"


RESPOND_ASYNC = {"Prefer": "respond-async"}


def place(body, key=None, mode=None, accept=False):
    """mode: 2pc, saga, None: the server's default. accept: answered before it is tried (202)."""
    return Request("place", key or new_key("place"), "POST", "/v1/orders",
                   {**body, "mode": mode} if mode else body, headers=RESPOND_ASYNC if accept else {})


def cancel(order_id, key=None, mode=None):
    path = f"/v1/orders/{order_id}/cancel"
    return Request("cancel", key or new_key("cancel"), "POST", path, {"mode": mode} if mode else {},
                   order_id=order_id)


def send(client, memory, request, headers=None):
    """One try: the Answer, remembered. Raises ConnectionLost."""
    memory.sending(request)
    try:
        answer = client.request(request.method, request.path, request.body, request.key,
                                {**request.headers, **(headers or {})})
    except ConnectionLost:
        memory.lose()
        raise
    memory.note(request, answer)
    return answer


def drive(client, memory, request, seconds=10.0):
    """The same key until the answer is final: what a client with patience does."""
    deadline = time.monotonic() + seconds
    while request.outcome is None:
        try:
            send(client, memory, request)
        except ConnectionLost:
            pass
        if request.outcome is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"no final answer within {seconds} s: {request}")
            time.sleep(0.05)
    return request


class Mix:
    """What a client does next, in shares of a hundred."""
    ORDINARY = {"plain": 62, "card": 8, "scarce": 8, "sold_out": 4, "poor": 4, "declined": 2, "cancel": 8,
                "again": 4}
    REFUSALS = {"sold_out": 80, "poor": 20}
    PLAIN = {"plain": 100}
    # A customer who cannot pay takes what another in the same group wants: with the first one fallen,
    # inventory has to judge again.
    DISPUTED = {"contested": 30, "contested_poor": 40, "cancel": 30}
    # Sagas that turn back at each of their steps, and cancels.
    UNDONE = {"plain": 40, "sold_out": 15, "poor": 15, "declined": 15, "cancel": 15}


class Modes:
    """(mode, accepted before it is tried), in shares of a hundred."""
    TWO_PHASE = {(None, False): 100}
    SAGA = {("saga", False): 100}
    ACCEPTED = {("2pc", True): 50, ("saga", True): 50}
    ALL = {("2pc", False): 25, ("saga", False): 35, ("2pc", True): 20, ("saga", True): 20}


class Load:
    """`clients` threads that place orders until stop(). While paused, nobody sends: after the death of
    a coordinator the databases can be looked at before the clients come back with their keys."""

    def __init__(self, ports, shop, clients=8, seed=0, mix=None, memory=None, patience=0.05, modes=None):
        self.memory = memory or Memory()
        self._shop, self._mix, self._patience = shop, mix or Mix.ORDINARY, patience
        self._modes = modes or Modes.TWO_PHASE
        self._ports = ports if isinstance(ports, (list, tuple)) else [ports]
        self._stop, self._go, self._give_up = threading.Event(), threading.Event(), threading.Event()
        self._go.set()
        self._failures = []
        self._current = {}  # what each client is at
        self._threads = [threading.Thread(target=self._run, daemon=True,
                                          args=(i, random.Random(seed * 1000 + i))) for i in range(clients)]
        for thread in self._threads:
            thread.start()

    def pause(self):
        self._go.clear()

    def resume(self):
        self._go.set()

    def stop(self, seconds=15.0):
        """Lets each client bring its open request to a final answer; returns the memory."""
        self._stop.set()
        self._go.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._give_up.set()
        stuck = [r for r in self._current.values() if r.outcome is None]
        for thread in self._threads:
            thread.join(12)
        if self._failures:
            raise self._failures[0]
        if stuck:
            raise AssertionError(f"{len(stuck)} requests without a final answer after {seconds} s: "
                                 f"{stuck[:3]}")
        return self.memory

    def _run(self, number, choices):
        clients = {port: Client(port) for port in self._ports}
        mine = []
        try:
            while not self._stop.is_set():
                request = self._next(choices, mine)
                if request is None:
                    continue
                self._current[number] = request
                self._drive(clients, choices, request)
                if request.kind == "place" and request.outcome == "confirmed" and request not in mine:
                    mine.append(request)
        except Exception as failure:  # shown by stop(), in the test's own thread
            self._failures.append(failure)
        finally:
            for client in clients.values():
                client.close()

    def _next(self, choices, mine):
        shop = self._shop
        (mode, accept), = choices.choices(list(self._modes), list(self._modes.values()))
        what = choices.choices(list(self._mix), list(self._mix.values()))[0]
        customer = choices.choice(shop.customers)
        some = choices.sample(sorted(shop.products), 2)
        if what in ("again", "cancel"):
            if not mine:
                return None
            if what == "again":
                return choices.choice(mine)
            return cancel(mine.pop(choices.randrange(len(mine))).order_id, mode=mode)
        return place(self._order(what, choices, customer, some), mode=mode, accept=accept)

    def _order(self, what, choices, customer, some):
        shop = self._shop
        if what == "card":
            return shop.order(some, customer, "card", "tok_ok")
        if what == "declined":
            return shop.order(some, customer, "card", "tok_declined")
        if what == "scarce":
            return shop.order([choices.choice(sorted(shop.scarce)), some[0]], customer)
        if what == "sold_out":
            return shop.order([some[0], *shop.sold_out], customer)
        if what.startswith("contested"):
            whose = shop.poor if what == "contested_poor" else customer
            return shop.order([choices.choice(sorted(shop.contested))], whose, quantity=4)
        if what == "poor":
            return shop.order(some, shop.poor)
        assert what == "plain", what
        return shop.order(some, customer)

    def _drive(self, clients, choices, request):
        """At least one try, also of what has its answer already (a replay)."""
        while True:
            while not self._go.wait(0.5) and not self._give_up.is_set():
                pass
            final = False
            try:
                client = clients[choices.choice(self._ports)]
                send(client, self.memory, request)
                final = request.outcome is not None
            except ConnectionLost:
                pass
            if final or self._give_up.is_set():
                return
            time.sleep(self._patience * (0.5 + choices.random()))
