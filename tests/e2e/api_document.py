"""The documents of the three kinds of port held against what answers there, by Schemathesis: requests made from
/openapi.json, right ones and wrong ones, and every answer checked against it. `./run check api` installs Schemathesis
into build/ and runs this; SCHEMATHESIS names its program. TXC_EXAMPLES: requests for each operation and phase."""
import os
import subprocess
import sys
import unittest

import stack as harness
from load import Shop
from stack import BINARY, PARTICIPANTS, Process

SCHEMATHESIS = os.environ.get("SCHEMATHESIS", "")
TOKEN = "a-token-of-the-tests"
SECONDS_MAX = 600
# A rule between fields cannot be written in a schema (docs/api.md): a token for a wallet, a SKU twice, a page of
# nothing. So what keeps to the schema may be refused all the same; the tests of the routes look at that.
NOT_ASKED = "positive_data_acceptance"


class Participants(Process):
    """All four in one process, with a port of their own."""

    def __init__(self, stack, token):
        super().__init__(stack, "participants")
        values = {"http.port": self.port, "http.admin_port": self.admin_port}
        if token:
            values["internal_token"] = token
        for name in PARTICIPANTS:
            values[f"participants.{name}.dsn"] = stack.databases[name].dsn
        self.write(values)

    def command(self):
        return [self.binary, "participant", *PARTICIPANTS, "--config", self.config]


class Document(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = harness.Stack(apart=False)
        cls.coordinator = cls.stack.coordinator()
        cls.coordinator.start()
        Shop(cls.coordinator.port)

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def participants(self, token=""):
        process = Participants(self.stack, token).start()
        self.addCleanup(process.kill)
        return process

    def holds(self, port, *more):
        done = subprocess.run(
            [SCHEMATHESIS, "run", f"http://127.0.0.1:{port}/openapi.json", "--checks", "all",
             "--exclude-checks", NOT_ASKED, "--phases", "examples,coverage,fuzzing", "--seed", "20261201",
             "--max-examples", os.environ.get("TXC_EXAMPLES", "12"), "--request-timeout", "20",
             "--continue-on-failure", "--generation-database", "none", "--warnings", "off",
             "--no-color", *more],
            cwd=self.stack.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS_MAX,
            check=False)
        self.assertEqual(0, done.returncode, done.stdout[-20_000:] + done.stderr[-2000:])
        # That nothing was found means something only if something was asked.
        self.assertRegex(done.stdout, r"\b\d{2,} generated, \d+ passed")
        print(done.stdout[-1200:], file=sys.stderr)

    def test_rest(self):
        self.holds(self.coordinator.port)

    def test_admin(self):
        self.addCleanup(self.coordinator.clear_faults)
        self.holds(self.coordinator.admin_port)

    def test_participants(self):
        self.holds(self.participants().port)

    def test_participants_admin(self):
        self.holds(self.participants().admin_port)

    def test_participants_with_their_token(self):
        self.holds(self.participants(TOKEN).port, "--header", f"Authorization:Bearer {TOKEN}")

    def test_participants_without_their_token(self):
        self.holds(self.participants(TOKEN).port)


if __name__ == "__main__":
    if not os.access(SCHEMATHESIS, os.X_OK):
        print("skipped: Schemathesis is not installed (./run check api installs it)", file=sys.stderr)
        sys.exit(harness.SKIP)
    if not os.access(BINARY, os.X_OK):
        print(f"skipped: {BINARY} is not built", file=sys.stderr)
        sys.exit(harness.SKIP)
    harness.main()
