"""The composed system, as a test handles it: compose.yaml under a project of its own, with secrets of
its own, through whatever engine DOCKER_HOST leads to (tests/compose/engine.sh has one)."""
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "compose", "load"))
from load import Client, Load  # noqa: E402  (found by the line above)

COORDINATORS = ("coordinator-1", "coordinator-2")
PARTICIPANTS = ("order", "inventory", "payment", "shipping")
DATABASES = ("log-db", "order-db", "inventory-db", "payment-db", "shipping-db")
OURS = COORDINATORS + PARTICIPANTS
# Any will do: the engine and this test have a network of their own (engine.sh).
PORT, SAGA_PORT, PROMETHEUS_PORT = 28080, 28082, 29090
DOOR, SAGA_DOOR = (f"http://127.0.0.1:{port}" for port in (PORT, SAGA_PORT))


def wait_until(what, condition, seconds):
    """Polls until condition() is true; returns how long that took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.2)
    return time.monotonic() - began


class Containers:
    def __init__(self):
        self.secrets = tempfile.TemporaryDirectory(prefix="txcompose.")
        self.environment = {
            **os.environ, "COMPOSE_PROJECT_NAME": "txcoordtest", "TXC_SECRETS": self.secrets.name,
            "TXC_PUBLISH": f"127.0.0.1:{PORT}", "TXC_PUBLISH_SAGA": f"127.0.0.1:{SAGA_PORT}",
            "TXC_PROMETHEUS_PORT": str(PROMETHEUS_PORT), "TXC_ALERTMANAGER_PORT": "29093", "TXC_GRAFANA_PORT": "23000",
            "TXC_DOOR_RATE": "1000000"}  # its limit has a test of its own, tests/e2e
        subprocess.run([os.path.join(ROOT, "compose", "make-secrets.sh"), self.secrets.name], check=True,
                       stdout=subprocess.DEVNULL)

    def docker(self, *arguments, check=True, timeout=120):
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout,
                              stdin=subprocess.DEVNULL, env=self.environment, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"docker {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def compose(self, *arguments, check=True, timeout=300, files=("compose.yaml",), environment=None):
        """With every profile that serves; `run` reaches the others by name."""
        named = [part for file in files for part in ("-f", os.path.join(ROOT, "compose", file))]
        before, self.environment = self.environment, {**self.environment, **(environment or {})}
        try:
            return self.docker("compose", *named, "--profile", "obs", *arguments, check=check, timeout=timeout)
        finally:
            self.environment = before

    def up(self, **options):
        began = time.monotonic()
        self.compose("up", "--wait", "--wait-timeout", "240", "--no-build", **options)
        return time.monotonic() - began

    def container(self, service):
        return self.inspect(f"txcoordtest-{service}-1")

    def inspect(self, name):
        return json.loads(self.docker("inspect", name).stdout)[0]

    def services(self):
        """{service: what the engine says of its container}, of those that run."""
        names = self.compose("ps", "--all", "--quiet").stdout.split()
        found = json.loads(self.docker("inspect", *names).stdout)
        return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in found}

    def inside(self, service, script, check=False):
        """A line of bash in a service's container, as its user."""
        return self.docker("exec", f"txcoordtest-{service}-1", "bash", "-c", script, check=check, timeout=30)

    def kill(self, service):
        """SIGKILL to all that runs in it, from inside. `docker kill` would not do: to the engine that is
        a stop that somebody wanted, and it would start nothing again."""
        self.inside(service, "kill -KILL -1")

    def healthy(self, service):
        state = self.container(service)["State"]
        return state["Running"] and state["Health"]["Status"] == "healthy"

    def starts(self, service):
        one = self.container(service)
        return one["RestartCount"], one["State"]["StartedAt"]

    def metrics(self, service, name):
        """{labels: value} of a metric, as the service's own admin port tells it."""
        page = self.inside(service, "exec 3<>/dev/tcp/127.0.0.1/8081; "
                           "printf 'GET /metrics HTTP/1.1\\r\\nHost: me\\r\\nConnection: close\\r\\n\\r\\n' >&3; "
                           "cat <&3", check=True).stdout
        return {labels: float(value) for labels, value in re.findall(rf"^{name}{{(.*)}} (\S+)$", page, re.MULTILINE)}

    def audit(self):
        """`txcoord audit`, in a container that reaches all five databases: (exit code, what it said)."""
        done = self.compose("run", "--rm", "-T", "audit", check=False)
        return done.returncode, done.stdout + done.stderr

    def logs(self, lines=15):
        return self.compose("logs", "--no-color", "--tail", str(lines), check=False).stdout

    def down(self):
        began = time.monotonic()
        self.compose("down", "--volumes", "--remove-orphans")
        return time.monotonic() - began


@contextlib.contextmanager
def under_load(per_minute=600, clients=20):
    """Orders in both modes through the door, until the block ends; each is sent until it is answered."""
    load = Load(DOOR, clients, per_minute, seconds=3600)
    load.open_shop()
    sending = threading.Thread(target=load.run)
    sending.start()
    try:
        yield load
    finally:
        load.stop()
        sending.join(120)


def ask(method, path, body=None, key=None, door=DOOR):
    """(status, JSON) of one request at a door."""
    with contextlib.closing(Client(door)) as client:
        status, _, answer = client.request(method, path, body, key)
        return status, answer
