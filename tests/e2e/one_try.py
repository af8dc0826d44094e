"""Clients that try once: every request and every read must be answered as the business would. One that
is lost, refused for a technical reason or answered with doubt is a failure, shown by stop()."""
import time

from load import RESPOND_ASYNC, Load, send

# What only the state of the shop can cause.
BUSINESS = {"OUT_OF_STOCK", "INSUFFICIENT_FUNDS", "CARD_DECLINED"}
SECONDS_TO_END = 10.0  # of an order that was accepted


class OneTryLoad(Load):
    """Load without any retry of its own."""

    def __init__(self, *arguments, **named):
        self.failed, self.reads = [], 0
        super().__init__(*arguments, **named)

    def stop(self, seconds=15.0):
        memory = super().stop(seconds)
        if self.failed:
            raise AssertionError(f"{len(self.failed)} of {len(memory.requests)} requests and {self.reads} reads failed:\n"
                                 + "\n".join(self.failed[:10]))
        return memory

    def _drive(self, clients, choices, request):
        while not self._go.wait(0.5):
            pass
        client = clients[choices.choice(self._ports)]
        answer = send(client, self.memory, request)  # ConnectionLost ends this client, and fails the test
        if request.headers == RESPOND_ASYNC and answer.status == 202:
            answer = self._watch(client, request)
        if request.outcome == "confirmed" or request.outcome == "refused" and request.reason in BUSINESS:
            self._read_back(client, choices, request)
        else:
            self._fail(request.key, answer)
            request.outcome = request.outcome or "failed"  # it is told once, here

    def _watch(self, client, request):
        """The answer when what was accepted has ended. It is decided, and read so, a moment before the
        key says so."""
        deadline = time.monotonic() + SECONDS_TO_END
        while True:
            if self._status(client, request.accepted) != "PENDING":
                answer = send(client, self.memory, request)
                if answer.status != 202 or time.monotonic() > deadline:
                    return answer
            elif time.monotonic() > deadline:
                raise AssertionError(f"{request.key} was accepted, and not ended within {SECONDS_TO_END} s")
            time.sleep(0.05)

    def _read_back(self, client, choices, request):
        if request.outcome == "confirmed":
            seen = self._status(client, request.order_id)
            if seen != ("CANCELLED" if request.kind == "cancel" else "CONFIRMED"):
                self.failed.append(f"I2: {request.kind} {request.key} was confirmed, then read as {seen}")
        if choices.random() < 0.2:
            self._get(client, choices.choice(("/v1/inventory", "/v1/orders?limit=5", "/v1/sagas?limit=5")))

    def _status(self, client, order_id):
        return (self._get(client, f"/v1/orders/{order_id}").json or {}).get("status")

    def _get(self, client, path):
        answer = client.request("GET", path)
        self.reads += 1
        if answer.status != 200:
            self._fail(path, answer)
        return answer

    def _fail(self, what, answer):
        self.failed.append(f"{what}: {answer.status} {answer.json}")
