"""`txcoord health URL`, which containers use as their health check: what it calls healthy, and what not."""
import http.server
import os
import socket
import subprocess
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.environ.get("TXCOORD_ROOT") or os.path.dirname(os.path.dirname(HERE))
BINARY = os.environ.get("TXCOORD_BIN") or os.path.join(ROOT, "build", "release", "txcoord")


def health(url):
    return subprocess.run([BINARY, "health", url], capture_output=True, text=True, timeout=20, check=False)


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 503)
        self.end_headers()

    def log_message(self, *_):
        pass


class Health(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = http.server.HTTPServer(("127.0.0.1", 0), Answers)
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        cls.url = f"http://127.0.0.1:{cls.server.server_port}"

    @classmethod
    def tearDownClass(cls):
        cls.server.shutdown()
        cls.server.server_close()

    def test_200_is_healthy(self):
        done = health(self.url + "/readyz")
        self.assertEqual((done.returncode, done.stdout), (0, "200\n"))

    def test_503_is_not_healthy(self):
        done = health(self.url + "/other")
        self.assertEqual((done.returncode, done.stderr), (1, "txcoord health: 503\n"))

    def test_nobody_there_is_not_healthy(self):
        with socket.socket() as reserved:  # bound, and not listening
            reserved.bind(("127.0.0.1", 0))
            done = health(f"http://127.0.0.1:{reserved.getsockname()[1]}/readyz")
        # What a person can use, and not where in Boost it was noticed.
        self.assertEqual((done.returncode, done.stderr), (1, "txcoord health: Connection refused\n"))

    def test_a_name_that_is_not_there_is_not_healthy(self):
        done = health("http://nowhere.invalid/readyz")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"\Atxcoord health: (its name is not found: [^\[\n]+|no answer in time)\n\Z")

    def test_silence_is_not_healthy_within_its_time(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            began = time.monotonic()
            done = health(f"http://127.0.0.1:{silent.getsockname()[1]}/readyz")
        self.assertEqual((done.returncode, done.stderr), (1, "txcoord health: no answer in time\n"))
        self.assertLess(time.monotonic() - began, 10)

    def test_what_is_no_url_is_a_usage_error(self):
        self.assertEqual(health("127.0.0.1/readyz").returncode, 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
