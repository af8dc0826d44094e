"""The door before the coordinators: a real HAProxy with compose/proxy/haproxy.cfg; a client with an
address of its own; and a stand-in for a coordinator that does to requests what a test says."""
import http.client
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import urllib.request

import stack as harness
from load import Client
from ports import reserve_port
from servers import Deadline, wait_until

CONFIG = os.path.join(harness.ROOT, "compose", "proxy", "haproxy.cfg")
NOT_LIMITED = 1_000_000
HAPROXY = harness.server_program("haproxy", "TXC_HAPROXY")


class Door:
    """One HAProxy before two ports. `adjust`: (text, its replacement) pairs for the configuration."""

    def __init__(self, stack, ports, rate=NOT_LIMITED, adjust=()):
        self.port, self.admin_port = reserve_port(), reserve_port()
        with open(CONFIG, encoding="utf-8") as file:
            text = file.read()
        for old, new in adjust:
            assert old in text, f"haproxy.cfg has no {old!r}"
            text = text.replace(old, new)
        self._config = os.path.join(stack.folder, f"door-{self.port}.cfg")
        with open(self._config, "w", encoding="utf-8") as file:
            file.write(text)
        self._log = os.path.join(stack.folder, f"door-{self.port}.log")
        self._environment = {"TXC_DOOR_BIND": f"127.0.0.1:{self.port}", "TXC_DOOR_ADMIN_BIND": f"127.0.0.1:{self.admin_port}",
                             "TXC_COORDINATOR_1": f"127.0.0.1:{ports[0]}", "TXC_COORDINATOR_2": f"127.0.0.1:{ports[1]}",
                             "TXC_DOOR_RATE": str(rate)}
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen([HAPROXY, "-f", self._config], env=self._environment, stdout=log, stderr=log,
                                             stdin=subprocess.DEVNULL, preexec_fn=harness.die_with_parent)
        wait_until("the door answers", self._answers, 5)

    def _answers(self):
        if self._process.poll() is not None:
            raise Deadline(f"the door ended with {self._process.returncode}:\n{self.log()}")
        client = Client(self.admin_port, timeout=2)
        try:
            return client.request("GET", "/livez").status == 200
        except Exception:  # not yet
            return False
        finally:
            client.close()

    def log(self):
        with open(self._log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=5) as answer:
            return answer.read().decode()

    def servers_up(self, backend="coordinators"):
        """How many of the two the door sends requests to."""
        rows = re.findall(rf'^haproxy_server_status{{proxy="{backend}",server="\w+",state="UP"}} (\d)$',
                          self.metrics(), re.MULTILINE)
        return sum(int(row) for row in rows)

    def wait_servers(self, count, backend="coordinators", seconds=10):
        return wait_until(f"the door sees {count} {backend}", lambda: self.servers_up(backend) == count, seconds)

    def close(self):
        self._process.kill()
        self._process.wait(10)


class ClientFrom(Client):
    """A client with another address of this machine."""

    def __init__(self, address, port, timeout=10.0):
        super().__init__(port, timeout)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout,
                                                      source_address=(address, 0))


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        # Who only looks whether somebody is there (a health check) may hang up at any time.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class StandIn:
    """Takes a coordinator's place: ready, and with a `play` for each request of /v1/. `seen` holds what
    came: (method, path, headers, body)."""

    def __init__(self, play):
        self.seen = []
        stand_in = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if not self.path.startswith("/v1/"):
                    self.answer(200, {"status": "ready"})
                    return
                stand_in.seen.append((self.command, self.path, dict(self.headers.items()), body))
                play(self)

            do_GET = do_POST = do_PUT = handle_one

            def answer(self, status, document, **headers):
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            def hang_up(self):
                """The process behind it was killed."""
                self.close_connection = True

            def log_message(self, format, *args):
                pass

        self._server = Listener(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
