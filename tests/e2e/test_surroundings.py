"""What is around a process does not stop it: readers of its output that stop, a terminal that hangs up,
names that are not found; and it takes free ports when it is asked to, and says which."""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import stack as harness
from load import Client, ConnectionLost, Memory, Shop, drive, place
from ports import reserve_port, said_by
from servers import wait_until

DROPPED = re.compile(r"(\d+) lines were dropped")
# Above what the queue holds (txcoord/base/line_writer.hpp).
MORE_THAN_THE_QUEUE = 20_000
SECONDS_TO_STOP = 5  # SIGTERM: one second for the last lines, two for threads that do not end


class Stopped:
    """A pipe that is full, and nobody reads it until resume()."""

    def __init__(self):
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self.writer, b"x" * 4095 + b"\n")
        os.set_blocking(self.writer, True)  # the flag is of the pipe's end, whoever holds it
        self.text = b""

    def resume(self):
        def read():
            with contextlib.suppress(OSError):
                while part := os.read(self.reader, 65536):
                    self.text += part
        threading.Thread(target=read, daemon=True).start()

    def lines(self):
        """Those that are whole, without what filled the pipe."""
        return [line for line in self.text.decode().split("\n")[:-1] if line.startswith("{")]

    def close(self):
        for end in (self.reader, self.writer):
            os.close(end)


class Surroundings(unittest.TestCase):
    settings = {"log_level": "debug", "http.lame_duck_ms": 0, "http.drain_ms_max": 1000}

    @classmethod
    def setUpClass(cls):
        cls.stack = harness.Stack(apart=False)
        cls.addClassCleanup(cls.stack.close)
        cls.coordinator = cls.stack.coordinator("c1", cls.settings)

    def setUp(self):
        self.coordinator.configure(self.settings)
        self.addCleanup(self.coordinator.kill)
        self.stopped = Stopped()
        self.addCleanup(self.stopped.close)

    def order(self):
        shop = Shop(self.coordinator.port)
        client, request = Client(self.coordinator.port), place(shop.order(sorted(shop.products)[:2]))
        self.addCleanup(client.close)
        drive(client, Memory(), request)
        self.assertEqual("confirmed", request.outcome)

    def answers(self, port, path):
        client = Client(port, timeout=2)
        try:
            return client.request("GET", path).status
        finally:
            client.close()

    def say_much(self, port, requests):
        """Requests, each with a log line of its own, as fast as one connection takes them."""
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            request = f"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
            for _ in range(0, requests, 100):
                connection.sendall(request * 100)
                answered = b""
                while answered.count(b"HTTP/1.1 ") < 100:
                    part = connection.recv(1 << 20)
                    self.assertTrue(part, "the connection is kept")
                    answered += part
                self.assertEqual(100, answered.count(b"HTTP/1.1 200"), answered[:300])

    def stops(self, process):
        began = time.monotonic()
        process.signal(signal.SIGTERM)
        self.assertEqual(0, process.wait_exit(SECONDS_TO_STOP + 5))
        self.assertLess(time.monotonic() - began, SECONDS_TO_STOP)


class Output(Surroundings):
    def test_a_reader_that_stops_hangs_nothing_and_is_told_what_it_missed(self):
        coordinator = self.coordinator.start(stdout=self.stopped.writer)
        self.say_much(coordinator.port, MORE_THAN_THE_QUEUE)
        self.assertEqual(200, self.answers(coordinator.port, "/livez"))
        self.assertEqual(200, self.answers(coordinator.admin_port, "/livez"))
        self.order()
        dropped = coordinator.metric("txcoord_log_lines_dropped_total")
        self.assertGreater(dropped, 0)
        self.stopped.resume()
        wait_until("it is told", lambda: any(map(DROPPED.search, self.stopped.lines())), 10)
        told = next(int(found[1]) for found in map(DROPPED.search, self.stopped.lines()) if found)
        self.assertEqual(coordinator.metric("txcoord_log_lines_dropped_total"), told)
        notice = json.loads(next(line for line in self.stopped.lines() if DROPPED.search(line)))
        self.assertEqual((told, "warn"), (notice["lines"], notice["level"]))
        self.order()
        self.stops(coordinator)
        self.assertEqual("stopped", json.loads(self.stopped.lines()[-1])["msg"], "from there on nothing is missing")

    def test_a_reader_that_never_comes_back_does_not_keep_it_from_stopping(self):
        coordinator = self.coordinator.start(stdout=self.stopped.writer, stderr=self.stopped.writer)
        self.order()
        self.stops(coordinator)

    def test_crash_points_are_reached_all_the_same(self):
        coordinator = self.coordinator.start("decide.after", stdout=self.stopped.writer, stderr=self.stopped.writer)
        shop, client = Shop(coordinator.port), Client(coordinator.port)
        self.addCleanup(client.close)
        with self.assertRaises(ConnectionLost):
            client.request("POST", "/v1/orders", shop.order(sorted(shop.products)[:1]), key="k")
        wait_until("it died there", coordinator.died_at_crash_point, 5)

    def test_a_start_that_is_refused_ends_although_nobody_reads_why(self):
        self.coordinator.configure({**self.settings, "engine.unfinished_groups_max": 1000})
        coordinator = self.coordinator.start(ready=False, stdout=self.stopped.writer, stderr=self.stopped.writer)
        self.assertEqual(3, coordinator.wait_exit(10))

    def test_an_address_in_use_ends_it_although_nobody_reads_why(self):
        with socket.create_server(("127.0.0.1", 0)) as other:
            self.coordinator.configure({**self.settings, "http.port": other.getsockname()[1]})
            coordinator = self.coordinator.start(ready=False, stdout=self.stopped.writer, stderr=self.stopped.writer)
            self.assertEqual(2, coordinator.wait_exit(10))

    def test_a_full_disk_under_its_output_costs_lines_alone(self):
        with open("/dev/full", "wb") as full:
            coordinator = self.coordinator.start(stdout=full, stderr=full)
        self.order()
        self.assertGreater(coordinator.metric("txcoord_log_lines_dropped_total"), 0)
        self.stops(coordinator)

    def test_a_participants_service_is_like_that_too(self):
        service = harness.Service(self.stack, "payment")
        self.addCleanup(service.kill)
        service.write({"http.port": service.port, "http.admin_port": service.admin_port, "log_level": "debug",
                       "participants.payment.dsn": self.stack.databases["payment"].dsn})
        service.start(stdout=self.stopped.writer, stderr=self.stopped.writer)
        self.say_much(service.port, MORE_THAN_THE_QUEUE)
        self.assertEqual(200, self.answers(service.port, "/readyz"))
        self.assertEqual(200, self.answers(service.admin_port, "/livez"))
        self.stops(service)


class Hangup(Surroundings):
    def test_sighup_is_said_and_ends_nothing(self):
        coordinator = self.coordinator.start()
        for count in (1, 2):
            coordinator.signal(signal.SIGHUP)
            wait_until("it is said", lambda n=count: coordinator.log_tail(500).count('"SIGHUP:') == n, 5)
        self.order()
        self.stops(coordinator)

    def test_sighup_ends_no_participants_service(self):
        service = harness.Service(self.stack, "shipping")
        self.addCleanup(service.kill)
        service.start()
        service.signal(signal.SIGHUP)
        wait_until("it is said", lambda: '"SIGHUP' in service.log_tail(100), 5)
        self.assertEqual(200, self.answers(service.port, "/readyz"))
        self.stops(service)


class Ports(Surroundings):
    def setUp(self):
        super().setUp()
        self.said = os.path.join(self.stack.folder, "ports")
        self.addCleanup(lambda: os.path.exists(self.said) and os.unlink(self.said))
        # At these addresses it is asked again: the test's own are for the other tests.
        kept = self.coordinator.port, self.coordinator.admin_port
        self.addCleanup(lambda: setattr(self.coordinator, "port", kept[0]))
        self.addCleanup(lambda: setattr(self.coordinator, "admin_port", kept[1]))

    def start(self, process):
        with open(process.config, "a", encoding="utf-8") as file:
            file.write(f"http.ports_file = {json.dumps(self.said)}\n")
        process.start(ready=False)
        wait_until("it says where it listens", lambda: said_by(self.said, process.process.pid), 10)
        process.port, process.admin_port = said_by(self.said, process.process.pid)
        process.wait_ready()

    def listening(self, process):
        """As its last start said it."""
        lines = [json.loads(line) for line in process.log_tail(1000).splitlines() if '"listening"' in line]
        return lines[-1]["port"], lines[-1]["admin_port"]

    def test_a_coordinator_takes_free_ones_and_says_which(self):
        self.coordinator.configure({**self.settings, "http.port": 0, "http.admin_port": 0})
        self.start(self.coordinator)
        both = (self.coordinator.port, self.coordinator.admin_port)
        self.assertEqual(both, self.listening(self.coordinator))
        self.assertNotIn(0, both)
        self.assertEqual(200, self.answers(self.coordinator.admin_port, "/admin/v1/modes"))
        self.order()
        self.stops(self.coordinator)
        self.assertFalse(os.path.exists(self.said), "a clean stop removes the file")
        self.assertEqual([], [name for name in os.listdir(self.stack.folder) if name.startswith("ports.")])

    def test_two_that_take_free_ones_never_meet(self):
        service = harness.Service(self.stack, "inventory")
        self.addCleanup(service.kill)
        service.write({"http.port": 0, "participants.inventory.dsn": self.stack.databases["inventory"].dsn})
        self.start(service)
        self.assertEqual((service.port, service.admin_port), self.listening(service))
        # What a process that was killed said says nothing of the next one.
        service.kill()
        self.assertTrue(os.path.exists(self.said))
        self.coordinator.configure({**self.settings, "http.port": 0})
        self.start(self.coordinator)
        self.assertEqual(200, self.answers(self.coordinator.port, "/readyz"))

    def test_the_file_of_a_later_process_stays(self):
        self.coordinator.configure({**self.settings, "http.port": 0})
        self.start(self.coordinator)
        with open(self.said, "w", encoding="ascii") as file:
            file.write("port=1\nadmin_port=2\npid=3\n")
        self.stops(self.coordinator)
        self.assertTrue(os.path.exists(self.said))

    def test_a_file_that_cannot_be_written_is_a_setting_to_change(self):
        self.coordinator.configure({**self.settings, "http.port": 0, "http.ports_file": "/nowhere/ports"})
        self.assertEqual(2, self.coordinator.start(ready=False).wait_exit(10))
        self.assertIn("http.ports_file: cannot write /nowhere/ports", self.coordinator.log_tail())

    def test_what_a_test_reserves_is_given_to_nobody_else(self):
        port = reserve_port()
        others = []
        for _ in range(2000):
            other = socket.socket()
            self.addCleanup(other.close)
            if len(others) % 2:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", 0))
            others.append(other.getsockname()[1])
        self.assertNotIn(port, others)
        for _ in range(2):  # the one that it is for: killed, and started again
            with socket.create_server(("127.0.0.1", port)):
                socket.create_connection(("127.0.0.1", port), timeout=2).close()
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=2)


class Names(Surroundings):
    """Where the system's name server does not answer: a look-up takes half a minute, and cannot be cut."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        compiler = shutil.which("cc") or shutil.which("gcc")
        if not compiler:
            raise unittest.SkipTest("no C compiler")
        cls.folder = tempfile.mkdtemp(prefix="txcnames.")
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.library = os.path.join(cls.folder, "slow_names.so")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", cls.library, os.path.join(harness.HERE, "slow_names.c"),
                        "-ldl"], check=True)
        cls.slow = os.path.join(cls.folder, "slow")

    def variables(self):
        return {"LD_PRELOAD": self.library, "SLOW_NAMES": self.slow}

    def make_slow(self):
        open(self.slow, "w", encoding="ascii").close()
        self.addCleanup(os.unlink, self.slow)

    def test_a_coordinator_stops_while_a_look_up_for_a_database_is_under_way(self):
        shipping = self.stack.databases["shipping"]
        words = dict(word.split("=", 1) for word in shipping.dsn.split())
        words["host"] = "slow.test," + words["host"]
        self.coordinator.configure({**self.settings, "participants.shipping.dsn":
                                    " ".join(f"{name}={value}" for name, value in words.items())})
        coordinator = self.coordinator.start(**self.variables())
        self.order()
        self.make_slow()
        shipping.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'txcoord%'")
        wait_until("it looks for the name", lambda: coordinator.readyz()[0] == 503, 10)
        self.assertEqual(200, self.answers(coordinator.port, "/livez"))
        self.stops(coordinator)
        self.assertIn("a call does not return: the process ends", coordinator.log_tail(3))

    def test_health_ends_in_its_time(self):
        self.make_slow()
        began = time.monotonic()
        done = subprocess.run([harness.BINARY, "health", "http://slow.test:1/readyz"], capture_output=True, text=True,
                              timeout=40, env={**os.environ, **self.variables()}, check=False)
        self.assertEqual(1, done.returncode)
        self.assertLess(time.monotonic() - began, 10)


if __name__ == "__main__":
    harness.main()
