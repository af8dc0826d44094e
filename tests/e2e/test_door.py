"""What the door lets through, turns away, sends again and says itself: rates (A2), paths, headers, bodies,
retries; 503 and 504 through it and by it (E6)."""
import http.client
import json
import signal
import unittest

import door as doors
import stack as harness
from door import ClientFrom, Door, StandIn
from load import Client, Memory, Shop, drive, new_key, place, send
from servers import send_signal, wait_until

PROBLEM = "application/problem+json"


def with_stand_ins(test, play_1, play_2, **options):
    """A door before two stand-ins, both ready."""
    pair = [StandIn(play_1), StandIn(play_2)]
    for stand_in in pair:
        test.addCleanup(stand_in.close)
    door = Door(test.stack, [stand_in.port for stand_in in pair], **options)
    test.addCleanup(door.close)
    door.wait_servers(2)
    return door, pair


class Turns(unittest.TestCase):
    """The door alone: what stands behind it is a stand-in."""

    @classmethod
    def setUpClass(cls):
        cls.stack = harness.Stack()
        cls.addClassCleanup(cls.stack.close)

    @staticmethod
    def ok(handler):
        handler.answer(200, {"ok": True})

    def client(self, door, address="127.0.0.1"):
        made = ClientFrom(address, door.port)
        self.addCleanup(made.close)
        return made

    def problem(self, answer, status, reason, retryable):
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (status, PROBLEM))
        document = answer.json
        self.assertEqual((document["status"], document["reason"], document["retryable"]), (status, reason, retryable))
        self.assertEqual(document["type"], "urn:txcoord:problem:" + reason.lower().replace("_", "-"))
        self.assertEqual({"type", "title", "status", "detail", "reason", "retryable"}, set(document))
        if retryable:
            self.assertGreaterEqual(int(answer.headers["Retry-After"]), 1)

    # --- what passes --------------------------------------------------------------------------------
    def test_one_address_above_its_rate_gets_429_and_others_do_not(self):
        """A2."""
        door, pair = with_stand_ins(self, self.ok, self.ok, rate=20)
        greedy, modest = self.client(door), self.client(door, "127.0.0.2")
        answers = [greedy.request("GET", "/v1/orders", headers={"X-Correlation-ID": "mine"}) for _ in range(30)]
        self.assertEqual([200] * 20 + [429] * 10, [answer.status for answer in answers])
        self.problem(answers[-1], 429, "RATE_LIMITED", True)
        self.assertEqual("mine", answers[-1].headers["X-Correlation-ID"])
        self.assertEqual([200] * 5, [modest.request("GET", "/v1/orders").status for _ in range(5)])
        self.assertEqual(25, sum(len(stand_in.seen) for stand_in in pair))

        # Refused requests do not count: who goes on asking is let in again all the same.
        wait_until("let in again", lambda: greedy.request("GET", "/v1/orders").status == 200, 12)

    def test_only_the_api_is_reachable(self):
        """A2: what is for operators is not found."""
        door, pair = with_stand_ins(self, self.ok, self.ok)
        client = self.client(door)
        for path in ("/metrics", "/livez", "/readyz", "/readyz?verbose", "/admin/v1/transactions", "/admin/v1/faults/order",
                     "/participant/v1/order/vote", "/", "/v1", "/v2/orders", "//metrics", "/openapi.json/../metrics"):
            with self.subTest(path=path):
                self.problem(client.request("GET", path), 404, "NOT_FOUND", False)
        self.assertEqual([], [seen for stand_in in pair for seen in stand_in.seen])
        self.assertEqual(200, client.request("GET", "/openapi.json").status)
        self.assertEqual(200, client.request("GET", "/v1/orders").status)

    def test_what_one_hop_says_to_the_next_is_the_doors_and_ids_pass(self):
        door, pair = with_stand_ins(self, self.ok, self.ok)
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        self.client(door, "127.0.0.3").request("GET", "/v1/orders", headers={
            "X-Forwarded-For": "10.1.2.3", "X-Forwarded-Host": "evil", "Forwarded": "for=10.1.2.3", "X-Real-IP": "10.1.2.3",
            "Proxy-Authorization": "Basic eA==", "TE": "trailers", "X-Correlation-ID": "one:two", "traceparent": trace,
            "Idempotency-Key": "k", "Prefer": "applied"})
        _, _, headers, _ = next(seen for stand_in in pair for seen in stand_in.seen)
        headers = {name.lower(): value for name, value in headers.items()}
        self.assertEqual("127.0.0.3", headers["x-forwarded-for"])
        for name in ("x-forwarded-host", "forwarded", "x-real-ip", "proxy-authorization", "te"):
            self.assertNotIn(name, headers)
        for name, value in (("x-correlation-id", "one:two"), ("traceparent", trace), ("idempotency-key", "k"),
                            ("prefer", "applied")):
            self.assertEqual(value, headers[name])

    def test_a_correlation_id_that_is_missing_or_malformed_is_replaced(self):
        door, pair = with_stand_ins(self, self.ok, self.ok)
        for sent in ({}, {"X-Correlation-ID": "a b"}, {"X-Correlation-ID": "x" * 129}):
            with self.subTest(sent=sent):
                answer = self.client(door).request("GET", "/v1/orders", headers=sent)
                self.assertRegex(answer.headers["X-Correlation-ID"], "^[0-9a-f-]{36}$")

    def test_requests_that_are_no_requests_are_problems(self):
        door, pair = with_stand_ins(self, self.ok, self.ok, adjust=[("timeout http-request 10s", "timeout http-request 300ms")])
        too_long = self.client(door).request("POST", "/v1/orders", {"x": "y" * 65_536}, key="k")
        self.problem(too_long, 413, "VALIDATION_FAILED", False)
        # What cannot be parsed is answered before there is a request: with HAProxy's own page.
        for head, status, kind in (("GET /v1/orders HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n", 400, "text/html"),
                                   ("POST /v1/orders HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{", 408, PROBLEM)):
            with self.subTest(status=status):
                connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=5)
                self.addCleanup(connection.close)
                connection.connect()
                connection.sock.sendall(head.encode())
                response = http.client.HTTPResponse(connection.sock)
                response.begin()
                self.assertEqual((response.status, response.headers["Content-Type"]), (status, kind))
        self.assertEqual([], [seen for stand_in in pair for seen in stand_in.seen])

    # --- what is sent again -------------------------------------------------------------------------
    def test_a_request_that_broke_off_is_sent_to_the_other_whole_and_once(self):
        door, pair = with_stand_ins(self, lambda handler: handler.hang_up(), self.ok)
        client, body = self.client(door), {"note": "y" * 60_000}
        for number in range(6):
            self.assertEqual(200, client.request("POST", "/v1/orders", body, key=f"k{number}").status)
        broken, whole = (stand_in.seen for stand_in in pair)
        self.assertGreaterEqual(len(broken), 1)
        self.assertEqual([f"k{number}" for number in range(6)], [seen[2]["idempotency-key"] for seen in whole])
        self.assertTrue(all(json.loads(seen[3]) == body for seen in broken + whole))

    def test_what_was_answered_is_never_sent_again(self):
        def busy(handler):
            handler.answer(503, {"reason": "OVERLOADED"}, Retry_After="7")
        door, pair = with_stand_ins(self, busy, busy)
        answer = self.client(door).request("POST", "/v1/orders", {}, key="k")
        self.assertEqual((503, "OVERLOADED", "7"), (answer.status, answer.reason, answer.headers["Retry-After"]))
        self.assertEqual(1, sum(len(stand_in.seen) for stand_in in pair))

    def test_an_answer_that_does_not_come_is_504_and_not_asked_for_twice(self):
        door, pair = with_stand_ins(self, lambda handler: handler.rfile.read(1), lambda handler: handler.rfile.read(1),
                                    adjust=[("timeout server 15s", "timeout server 300ms")])
        self.problem(self.client(door).request("POST", "/v1/orders", {}, key="k"), 504, "OUTCOME_UNKNOWN", True)
        self.assertEqual(1, sum(len(stand_in.seen) for stand_in in pair))

    def test_both_broke_off_is_502_with_an_unknown_outcome(self):
        door, _ = with_stand_ins(self, lambda handler: handler.hang_up(), lambda handler: handler.hang_up())
        self.problem(self.client(door).request("POST", "/v1/orders", {}, key="k"), 502, "OUTCOME_UNKNOWN", True)

    def test_its_log_names_no_customer_and_no_address(self):
        door, _ = with_stand_ins(self, lambda handler: handler.hang_up(), lambda handler: handler.hang_up())
        self.client(door, "127.0.0.9").request("GET", "/v1/wallets/tanaka?x=suzuki", headers={"X-Correlation-ID": "find-me"})
        wait_until("logged", lambda: "find-me" in door.log(), 5)
        line = next(json.loads(line) for line in door.log().splitlines() if "find-me" in line)
        self.assertEqual(("GET", "wallets", 502), (line["method"], line["resource"], line["code"]))
        for secret in ("tanaka", "suzuki", "127.0.0.9"):
            self.assertNotIn(secret, door.log())


class ServicesAway(unittest.TestCase):
    """E6, through the door, with participants as services of their own."""

    @classmethod
    def setUpClass(cls):
        cls.stack = harness.Stack(apart=True)
        cls.addClassCleanup(cls.stack.close)
        cls.pair = [cls.stack.coordinator(name).start() for name in ("c1", "c2")]
        cls.door = Door(cls.stack, [coordinator.port for coordinator in cls.pair])
        cls.addClassCleanup(cls.door.close)
        cls.door.wait_servers(2)
        cls.shop = Shop(cls.door.port)

    def setUp(self):
        self.client, self.memory = Client(self.door.port), Memory()
        self.addCleanup(self.client.close)

    def order(self, accept=False):
        return place(self.shop.order(list(self.shop.products)[:2]), new_key(), accept=accept)

    def test_a_service_that_is_away_is_503_and_what_needs_it_not_goes_on(self):
        service = self.stack.services["shipping"]
        service.kill()
        try:
            self.door.wait_servers(0)  # neither is ready: those that live answer
            answer = send(self.client, self.memory, self.order())
            self.assertEqual((503, "PARTICIPANT_UNAVAILABLE"), (answer.status, answer.reason))
            self.assertIn("shipping", answer.json["detail"], "a coordinator's own words, not the door's")
            self.assertIn("Retry-After", answer.headers)
            accepted = self.order(accept=True)
            self.assertEqual(202, send(self.client, self.memory, accepted).status)
            self.assertEqual(200, self.client.request("GET", "/v1/inventory").status)
        finally:
            service.start()
        self.door.wait_servers(2)
        self.assertEqual("confirmed", drive(self.client, self.memory, accepted).outcome)
        self.assertEqual("confirmed", drive(self.client, self.memory, self.order()).outcome)

    def test_a_service_that_is_late_is_504(self):
        drive(self.client, self.memory, self.order())
        pid = self.stack.services["inventory"].process.pid
        send_signal(pid, signal.SIGSTOP)
        try:
            answer = send(self.client, self.memory, self.order())
            self.assertEqual((504, "PARTICIPANT_UNAVAILABLE"), (answer.status, answer.reason))
            self.assertIn("Retry-After", answer.headers)
        finally:
            send_signal(pid, signal.SIGCONT)
        self.assertEqual("confirmed", drive(self.client, self.memory, self.order()).outcome)

    def test_both_coordinators_down_is_503_by_the_door(self):
        for coordinator in self.pair:
            coordinator.kill()
        try:
            self.door.wait_servers(0, "alive")
            answer = send(self.client, self.memory, self.order())
            self.assertEqual((503, "PARTICIPANT_UNAVAILABLE", PROBLEM),
                             (answer.status, answer.reason, answer.headers["Content-Type"]))
            self.assertTrue(answer.json["retryable"])
            self.assertIn("Retry-After", answer.headers)
        finally:
            for coordinator in self.pair:
                coordinator.start()
        self.door.wait_servers(2)
        self.assertEqual("confirmed", drive(self.client, self.memory, self.order()).outcome)


if __name__ == "__main__":
    harness.need(doors.HAPROXY, "HAProxy")
    harness.main()
