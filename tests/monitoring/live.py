"""A real Prometheus over a running txcoord: its process, its configuration in short, and its answers."""
import json
import math
import pathlib
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from programs import ROOT, find
from promql import rules_in_short

sys.path.insert(0, str(ROOT / "tests" / "e2e"))
from ports import reserve_port  # noqa: E402 (the path is set above)
from servers import wait_until  # noqa: E402
from stack import die_with_parent  # noqa: E402

CONFIG = ROOT / "monitoring" / "prometheus"


class Prometheus:
    """The files of monitoring/prometheus, with short windows (promql.py) and everything once a second."""

    def __init__(self, folder, coordinators, services):
        self.port = reserve_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = pathlib.Path(folder, "prometheus")
        (self.folder / "targets").mkdir(parents=True)
        self._write_configuration()
        self._write_targets("coordinators", [{"targets": [f"127.0.0.1:{port}" for port in coordinators]}])
        self._write_targets("participants", [{"targets": [f"127.0.0.1:{port}"], "labels": {"service": name}}
                                             for name, port in services.items()])
        self._write_targets("alertmanagers", [])
        self.log_path = self.folder / "log"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [find("prometheus"), f"--config.file={self.folder}/prometheus.yml",
                 f"--storage.tsdb.path={self.folder}/data", f"--web.listen-address=127.0.0.1:{self.port}",
                 "--log.level=warn"], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=die_with_parent)

    def _write_configuration(self):
        text = (CONFIG / "prometheus.yml").read_text(encoding="utf-8")
        for long in ("scrape_interval: 15s", "scrape_timeout: 5s", "evaluation_interval: 15s"):
            assert long in text, long
            text = text.replace(long, long.split(":", maxsplit=1)[0] + ": 1s")
        text = text.replace("127.0.0.1:9090", f"127.0.0.1:{self.port}")
        (self.folder / "prometheus.yml").write_text(text, encoding="utf-8")
        shutil.copytree(CONFIG / "rules", self.folder / "rules")
        for file in (self.folder / "rules").glob("*.yml"):
            file.write_text(rules_in_short(file.read_text(encoding="utf-8")), encoding="utf-8")

    def _write_targets(self, name, groups):
        (self.folder / "targets" / f"{name}.yml").write_text(json.dumps(groups), encoding="utf-8")  # JSON is YAML

    def wait_ready(self, seconds=20):
        def ready():
            assert self.process.poll() is None, self.log_path.read_text(encoding="utf-8")
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:
                    return answer.status == 200
            except (urllib.error.URLError, OSError):
                return False
        wait_until("Prometheus is ready", ready, seconds)

    def ask(self, call, **parameters):
        body = urllib.parse.urlencode(parameters).encode()
        with urllib.request.urlopen(f"{self.url}/api/v1/{call}", body, timeout=10) as answer:
            return json.load(answer)["data"]

    def range(self, query, start, end):
        """[(labels, [(seconds since `start`, value)])], one value a second, those that are no number left out."""
        found = self.ask("query_range", query=query, start=f"{start:.3f}", end=f"{end:.3f}", step=1)["result"]
        series = [(each["metric"], [(at - start, float(value)) for at, value in each["values"]
                                    if math.isfinite(float(value))]) for each in found]
        return [(labels, points) for labels, points in series if points]

    def value(self, query):
        """The sum of what the query answers now; None: nothing."""
        found = self.ask("query", query=query)["result"]
        return sum(float(each["value"][1]) for each in found) if found else None

    def firing(self):
        found = self.ask("query", query='ALERTS{alertstate="firing"}')["result"]
        return {each["metric"]["alertname"] for each in found}

    def wait_firing(self, *alerts, seconds=40):
        wait_until(f"{' and '.join(alerts)} fire", lambda: set(alerts) <= self.firing(), seconds, pause=0.2)

    def wait_silent(self, *alerts, seconds=40):
        wait_until(f"{' and '.join(alerts)} are silent", lambda: not set(alerts) & self.firing(), seconds, pause=0.2)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


def now():
    return time.time()
