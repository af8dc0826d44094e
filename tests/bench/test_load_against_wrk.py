#!/usr/bin/python3
"""The load generator of ./run compare is held against wrk, in both modes: the same number of clients, the same
kind of orders, one stack whose tables have statistics, in turns. Run by run.d/with-pg.sh.

"Not judged" only for a measured reason: wrk does not agree with itself on this machine at this time.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from agreement import judge, judge_between  # noqa: E402
from compare_stack import DATABASES, PRODUCTS, WALLETS, Stack  # noqa: E402

SKIP = 77
CLIENTS, SECONDS, ROUNDS = 64, 3, 5


class JudgingTest(unittest.TestCase):
    """The judge itself, by numbers."""

    def test_the_same_rates_agree(self):
        self.assertEqual(judge([(1000, 1010, 990), (980, 1000, 1020), (1010, 950, 1000)])[0], "agree")

    def test_a_load_generator_that_gets_half_differs(self):
        # V2 as it was told: 661 orders/s where wrk sees 1,560 to 2,030.
        self.assertEqual(judge([(1560, 661, 1600), (1700, 640, 1650), (1600, 700, 1580)])[0], "differ")

    def test_a_stack_that_does_not_agree_with_itself_is_not_judged(self):
        self.assertEqual(judge([(1000, 500, 1400), (1500, 700, 1000), (900, 500, 1300)])[0], "not judged")
        self.assertEqual(judge([(1000, 500, 1300), (1000, 700, 1290), (1000, 500, 1310)])[0], "not judged")

    def test_the_ratio_of_two_modes_is_held_against_the_other_too(self):
        two_phase, saga = [(4000, 4000, 4000)], [(2000, 2000, 2000)]
        self.assertEqual(judge_between(saga, two_phase)[0], "agree")
        self.assertEqual(judge_between([(2000, 700, 2000)], two_phase)[0], "differ")


class LoadAgainstWrk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        state = tempfile.TemporaryDirectory(prefix="txwrk.")
        cls.addClassCleanup(state.cleanup)
        pathlib.Path(state.name, "log").mkdir()
        environment = {"TXC_STATE": state.name, "TXC_ROOT": str(HERE.parents[1]), "TXC_BIN": os.environ["TXCOORD_BIN"],
                       "TXC_PG_DATA": os.environ["TXC_TEST_PGROOT"],
                       **{f"TXC_DSN_{name.upper()}": os.environ[f"TXC_TEST_DSN_{name.upper()}"] for name in DATABASES}}
        # There is no baseline here: its server is never spoken to.
        cls.stack = Stack({**environment, "TXC_DSN_ONE": environment["TXC_DSN_LOG"]})
        cls.addClassCleanup(cls.stack.close)
        cls.stack.prepare_services()
        cls.stack.empty_and_load()
        cls.stack.start_coordinator({})
        cls.runs = 0
        cls.rates = {}
        for mode in ("2pc", "saga"):
            cls.load(mode)
            cls.stack.take_statistics()
            cls.load(mode)
            cls.rates[mode] = [(cls.wrk(mode), cls.load(mode), cls.wrk(mode)) for _ in range(ROUNDS)]

    @classmethod
    def key(cls):
        cls.runs += 1
        return f"against-{os.getpid()}-{cls.runs}"

    @classmethod
    def load(cls, mode):
        command = [os.environ["TXC_LOAD"], "--port", str(cls.stack.port), "--connections", str(CLIENTS), "--mode", mode,
                   "--key-prefix", cls.key(), "--seconds", str(SECONDS), "--warm-up", "0"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        result = json.loads(done.stdout)
        if set(result["outcomes"]) != {"confirmed"}:
            raise AssertionError(f"{mode}: {result['outcomes']} {result['reasons']}")
        return result["orders_per_s"]

    @classmethod
    def wrk(cls, mode):
        settings = {"BENCH_RUN": cls.key(), "BENCH_SKU_PREFIX": "cold-", "BENCH_PRODUCTS": str(PRODUCTS),
                    "BENCH_WALLETS": str(WALLETS), "BENCH_MODE": mode}
        command = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{SECONDS}s", "--timeout", "10s", "--latency", "-s",
                   str(HERE / "place_orders.lua"), f"http://127.0.0.1:{cls.stack.port}"]
        done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=60,
                              check=True)
        result = json.loads(re.search(r"^BENCH (\{.*\})$", done.stdout, flags=re.MULTILINE).group(1))
        if any(result[name] for name in ("not_2xx", "connect_errors", "read_errors", "write_errors", "timeouts")):
            raise AssertionError(f"{mode}: {result}")
        return result["answers"] / result["seconds"]

    def check_agree(self, mode):
        verdict, told = judge(self.rates[mode])
        print(f"{mode}: {told}", file=sys.stderr)
        if verdict == "not judged":
            self.skipTest(f"not judged: {told}")
        self.assertEqual(verdict, "agree", f"{mode}: {told}; {self.rates[mode]}")

    def test_two_phase_commit_has_the_same_rate_by_both(self):
        self.check_agree("2pc")

    def test_a_saga_has_the_same_rate_by_both(self):
        self.check_agree("saga")

    def test_the_ratio_of_the_modes_is_the_same_by_both(self):
        for mode, rounds in self.rates.items():
            verdict, told = judge(rounds)
            if verdict == "not judged":
                self.skipTest(f"not judged: {mode}: {told}")
        verdict, told = judge_between(self.rates["saga"], self.rates["2pc"])
        print(told, file=sys.stderr)
        self.assertEqual(verdict, "agree", f"{told}; {self.rates}")


if __name__ == "__main__":
    if not all(os.access(os.environ.get(name, ""), os.X_OK) for name in ("TXCOORD_BIN", "TXC_LOAD")):
        print("skipped: TXCOORD_BIN and TXC_LOAD name no programs", file=sys.stderr)
        sys.exit(SKIP)
    if shutil.which("wrk") is None:
        print("skipped: wrk is not installed (run.d/deps.sh test installs it)", file=sys.stderr)
        sys.exit(SKIP)
    unittest.main(verbosity=2)
