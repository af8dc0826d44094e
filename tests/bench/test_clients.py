#!/usr/bin/python3
"""Clients do what a client must: the same key and body again after a lost answer, a 503 and a request in
flight; a 202 followed to its end; a refusal taken as an answer. The two examples of docs/clients and the
load generator of ./run compare, against a server that plays a script. TXC_LOAD names the load generator;
what is not there (Node.js, the load generator) is skipped.
"""
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from compare_load import LoadProgram, NotAvailable  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CLIENTS = os.path.join(ROOT, "docs", "clients")
LOAD = os.environ.get("TXC_LOAD", "")
LOST = "lost"  # the connection is closed without an answer


def order(status, **more):
    return {"order_id": "the-order", "status": status, **more}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.play("GET", "")

    def do_POST(self):
        self.play("POST", self.rfile.read(int(self.headers["Content-Length"])).decode())

    def play(self, method, body):
        server = self.server
        with server.lock:
            server.seen.append((method, self.path, self.headers["Idempotency-Key"], body))
            step = server.script.pop(0) if server.script else server.otherwise
        if step == LOST:
            self.close_connection = True
            return
        status, headers, document = step
        text = json.dumps(document, separators=(",", ":")).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": len(text)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(text)


class Scripted:
    """A server that answers by a script, and whatever comes after it with `otherwise`."""

    def __init__(self, *script):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.lock, self.server.seen = threading.Lock(), []
        self.server.script, self.server.otherwise = list(script), (201, {}, order("CONFIRMED"))
        self.port = self.server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    @property
    def seen(self):
        return self.server.seen


LOCATION = {"Location": "/v1/orders/the-order"}
TROUBLE = (LOST, (503, {"Retry-After": 0}, {"reason": "OVERLOADED"}),
           (409, {"Retry-After": 0}, {"reason": "REQUEST_IN_FLIGHT"}), (202, LOCATION, order("PENDING")),
           (200, {}, order("PENDING")), (503, {"Retry-After": 0}, {"reason": "PARTICIPANT_UNAVAILABLE"}), LOST,
           (200, {}, order("CONFIRMED")))
TROUBLE_ASKS = ["POST"] * 4 + ["GET"] * 4
REFUSED = ((409, {}, {"reason": "OUT_OF_STOCK"}),)
GONE = ((202, LOCATION, order("PENDING")), (404, {}, {"reason": "NOT_FOUND"}), (409, {}, {"reason": "CARD_DECLINED"}))
FAILED = ((202, LOCATION, order("PENDING")), (200, {}, order("FAILED", reason="INSUFFICIENT_FUNDS")))


class ExamplesTest(unittest.TestCase):
    def commands(self):
        yield [sys.executable, "-B", os.path.join(CLIENTS, "order_client.py")]
        if shutil.which("node"):
            yield ["node", os.path.join(CLIENTS, "order_client.js")]

    def check(self, script, asks, printed):
        for command in self.commands():
            with self.subTest(command[0]), Scripted(*script) as server:
                done = subprocess.run([*command, f"http://127.0.0.1:{server.port}"], capture_output=True, text=True,
                                      timeout=50, check=True)
                self.assertEqual(done.stdout.split(), printed)
                self.assertEqual([method for method, *_ in server.seen], asks)
                posts = {(key, body) for method, _, key, body in server.seen if method == "POST"}
                self.assertEqual(len(posts), 1, "another key or body came with a repeated request")
                gets = {path for method, path, *_ in server.seen if method == "GET"}
                self.assertLessEqual(gets, {LOCATION["Location"]})

    def test_the_same_key_is_sent_until_there_is_a_final_answer(self):
        self.check(TROUBLE, TROUBLE_ASKS, ["confirmed", "the-order"])

    def test_a_refusal_is_an_answer(self):
        self.check(REFUSED, ["POST"], ["refused", "OUT_OF_STOCK"])

    def test_an_accepted_order_that_failed_is_refused(self):
        self.check(FAILED, ["POST", "GET"], ["refused", "the-order", "INSUFFICIENT_FUNDS"])

    def test_an_accepted_order_that_is_gone_is_asked_for_by_its_key(self):
        self.check(GONE, ["POST", "GET", "POST"], ["refused", "CARD_DECLINED"])


@unittest.skipUnless(os.access(LOAD, os.X_OK), "TXC_LOAD names no load generator")
class LoadTest(unittest.TestCase):
    def load(self, server, *arguments, connections=1):
        done = subprocess.run([LOAD, "--port", str(server.port), "--key-prefix", "k", "--connections",
                               str(connections), "--seconds", "0.2", "--warm-up", "0", *arguments],
                              capture_output=True, text=True, timeout=50, check=False)
        return done.returncode, done.stdout and json.loads(done.stdout)

    def first_order(self, server):
        return [(method, path, body) for method, path, key, body in server.seen
                if key in ("k-0", None)]

    def test_the_same_key_is_sent_until_there_is_a_final_answer(self):
        with Scripted(*TROUBLE) as server:
            code, result = self.load(server)
            asked = self.first_order(server)
            self.assertEqual((code, [method for method, *_ in asked]), (0, TROUBLE_ASKS))
            self.assertEqual(len({body for method, _, body in asked if method == "POST"}), 1)
            self.assertEqual(set(result["outcomes"]), {"confirmed"})
            self.assertEqual((result["reconnects"], result["unavailable"], result["in_flight"], result["accepted"]),
                             (2, 1, 1, 1))

    def test_refusals_are_counted_by_reason(self):
        for script, reason in ((REFUSED, "OUT_OF_STOCK"), (GONE, "CARD_DECLINED"), (FAILED, "INSUFFICIENT_FUNDS")):
            with self.subTest(reason), Scripted(*script) as server:
                code, result = self.load(server)
                self.assertEqual((code, result["outcomes"]["refused"], result["reasons"]), (0, 1, {reason: 1}))

    def test_an_answer_that_a_correct_client_never_gets_is_an_error(self):
        with Scripted((422, {}, {"reason": "VALIDATION_FAILED"})) as server:
            _, result = self.load(server)
            self.assertEqual((result["outcomes"]["error"], result["reasons"]), (1, {"HTTP 422 VALIDATION_FAILED": 1}))

    def test_a_mode_that_is_not_offered_ends_it_with_3(self):
        with Scripted((501, {}, {"reason": "MODE_NOT_AVAILABLE"})) as server:
            self.assertEqual(self.load(server), (3, ""))

    def test_nobody_there_is_unknown_and_not_lost(self):
        with Scripted() as server:
            server.server.otherwise = LOST
            _, result = self.load(server, "--drain", "0.1")
            self.assertEqual(result["outcomes"], {"unknown": 1})

    def test_one_seed_gives_the_same_orders_and_another_gives_others(self):
        bodies = []
        for seed, connections in (("7", 1), ("7", 4), ("8", 1)):
            with Scripted() as server:
                self.load(server, "--seed", seed, "--refused", "0.5", "--zipf", "1", connections=connections)
                bodies.append({key: body for _, _, key, body in server.seen})
        common = set.intersection(*map(set, bodies))
        self.assertTrue(common)
        one, four, other = ({key: found[key] for key in common} for found in bodies)
        self.assertEqual(one, four)
        self.assertNotEqual(one, other)

    def test_an_open_loop_counts_from_the_intended_moment(self):
        with Scripted((503, {"Retry-After": 1}, {"reason": "OVERLOADED"})) as server:
            # One connection, and its first order waits about a second: those behind it wait too.
            _, result = self.load(server, "--rate", "100", "--retry-after-ms-max", "400")
            self.assertGreater(result["latency"]["p50_ms"], 100)
            self.assertGreater(result["offered_per_s"], 0)

    def told(self, server, *arguments):
        """The load generator, as it is told when to begin to measure."""
        command = [LOAD, "--port", str(server.port), "--key-prefix", "k", "--connections", "1", "--seconds", "0.5",
                   *arguments]
        program = LoadProgram(command, 0.1)
        self.addCleanup(program.close)
        return program

    def test_the_measured_part_begins_when_it_is_told(self):
        with Scripted() as server:
            program = self.told(server)
            windows = [program.next_window() for _ in range(4)]
            program.measure()
            result = program.result(30)
        self.assertTrue(all(windows), windows)
        self.assertGreaterEqual(result["warm_up_s"], 0.4)
        self.assertEqual(result["seconds"], 0.5)
        self.assertGreater(result["orders"], sum(windows))
        self.assertLess(result["latency"]["count"], result["orders"] - sum(windows) + 2)

    def test_an_open_loop_offers_from_when_it_is_told(self):
        with Scripted() as server:
            program = self.told(server, "--rate", "200")
            windows = [program.next_window() for _ in range(5)]
            program.measure()
            result = program.result(30)
        self.assertGreater(sum(windows), 20)
        self.assertTrue(100 < result["offered_per_s"] < 300, result["offered_per_s"])

    def test_an_order_of_the_warm_up_that_never_gets_an_answer_does_not_last_for_ever(self):
        with Scripted() as server:
            server.server.otherwise = LOST
            program = self.told(server, "--drain", "0.1")
            self.assertEqual(program.next_window(), 0)
            program.measure()
            self.assertEqual(program.result(30)["outcomes"], {"unknown": 1})

    def test_who_is_not_told_any_more_ends_with_1(self):
        with Scripted() as server:
            program = self.told(server)
            program.next_window()
            program.process.stdin.close()
            with self.assertRaisesRegex(RuntimeError, "ended with 1: load: nobody is there any more"):
                program.result(30)

    def test_a_mode_that_is_not_offered_is_told_in_the_warm_up_too(self):
        with Scripted((501, {}, {"reason": "MODE_NOT_AVAILABLE"})) as server:
            program = self.told(server)
            with self.assertRaisesRegex(NotAvailable, "MODE_NOT_AVAILABLE"):
                program.next_window()

    def test_an_arrival_that_finds_the_backlog_full_is_told(self):
        with Scripted((503, {"Retry-After": 1}, {"reason": "OVERLOADED"})) as server:
            _, result = self.load(server, "--rate", "200", "--backlog-max", "1", "--retry-after-ms-max", "400")
            self.assertGreater(result["not_sent"], 0)

    def test_every_answer_is_written_down(self):
        with Scripted(*REFUSED) as server, tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "answers.csv")
            _, result = self.load(server, "--answers", path)
            with open(path, encoding="utf-8") as file:
                rows = [line.rstrip("\n").split(",") for line in file]
            self.assertEqual(len(rows), result["orders"])
            self.assertEqual(rows[0][:4], ["k-0", "refused", "OUT_OF_STOCK", ""])
            self.assertEqual(rows[1][:4], ["k-1", "confirmed", "", "the-order"])
            self.assertTrue(all(int(row[4]) <= int(row[5]) for row in rows))


if __name__ == "__main__":
    unittest.main(verbosity=2)
