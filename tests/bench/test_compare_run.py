#!/usr/bin/python3
"""`./run compare`, a small one, for real: every variant, a hot and a cold point, a coordinator killed in mid-run; and
what it leaves: one report that stands alone, results.json, CSV files, and nothing that runs. Its figures are not
judged here, but what must hold on any machine is: no order lost, nothing lasting, all sums exact."""
import csv
import html.parser
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIP = 77
VARIANTS = ("2pc", "2pc-textbook", "saga", "saga-textbook", "one-database")
SEED = 7
LOADS_SOMETHING = {"src", "srcset", "data", "poster", "action", "background"}


class Page(html.parser.HTMLParser):
    """What a page is made of, and what it would fetch."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.plots, self.fetched, self.words = [], 0, [], []
        self._inside = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self._inside.append(tag)
        self.plots += tag == "svg"
        if tag in ("script", "link", "iframe", "object", "embed", "base"):
            self.fetched.append(tag)
        for name, value in attrs:
            name = name.rpartition(":")[2]
            if name in LOADS_SOMETHING or (name == "href" and not (value or "").startswith("#")):
                self.fetched.append(f"{tag} {name}={value}")

    def handle_endtag(self, tag):
        while tag in self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data):
        if self._inside and self._inside[-1] in ("h2", "h3"):
            self.headings.append(data)
        self.words.append(data)
        if "style" in self._inside and ("url(" in data or "@import" in data):
            self.fetched.append("style")


class OneCommandOneReport(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        state = tempfile.TemporaryDirectory(prefix="txcompare.")
        cls.addClassCleanup(state.cleanup)
        os.chmod(state.name, 0o755)  # the servers have a user of their own
        cls.folder = pathlib.Path(state.name, "compare")
        cls.options = ("--quick", "--rounds", "1", "--seconds", "0.5", "--warm-up", "0.2", "--warm-up-max", "3",
                       "--sweeps", "zipf,refused,failures", "--seed", str(SEED))
        cls.environment = {**os.environ, "TXCOORD_STATE_DIR": state.name}
        cls.done = subprocess.run([ROOT / "run", "compare", *cls.options], capture_output=True, text=True, timeout=240,
                                  stdin=subprocess.DEVNULL, check=False, env=cls.environment)
        if cls.done.returncode:
            raise AssertionError(f"exit code {cls.done.returncode}\n{cls.done.stderr[-4000:]}")
        cls.results = json.loads((cls.folder / "results.json").read_text("utf-8"))
        cls.runs = cls.results["runs"]

    def test_every_variant_was_measured_at_each_point(self):
        self.assertEqual(self.results["unavailable"], {})
        measured = sorted((run["sweep"], run["x"], run["variant"]) for run in self.runs if not run["observed"])
        self.assertEqual(measured, sorted([("zipf", x, name) for x in (0, 2) for name in VARIANTS]
                                          + [("refused", 30, name) for name in ("2pc", "saga")]
                                          + [("failures", 0, name) for name in ("2pc", "saga")]))
        for run in self.runs:
            with self.subTest(run["variant"], sweep=run["sweep"]):
                self.assertGreater(run["outcomes"].get("confirmed", 0), 0)
                self.assertEqual(run["seed"], SEED)

    def test_the_observer_read_in_runs_of_its_own_and_what_it_cost_is_told(self):
        observed = [(run["sweep"], run["variant"]) for run in self.runs if run["observed"]]
        self.assertEqual(sorted(observed), [("refused", "2pc"), ("refused", "saga")])
        for run in self.runs:
            self.assertEqual("observer" in run, run["observed"])
        self.assertIn("What the observer costs", " ".join(Page((self.folder / "report.html").read_text("utf-8")).words))

    def test_each_run_says_when_it_was_steady(self):
        for run in self.runs:
            told = run["steadiness"]
            with self.subTest(run["variant"], sweep=run["sweep"], told=told):
                self.assertIn(told["steady"], (True, False))
                self.assertTrue(0.4 <= told["seconds"] <= run["warm_up_s"] <= told["seconds"] + 1)
                self.assertLessEqual(told["seconds"], 3.0)
                self.assertGreater(told["statistics_after_s"], 0)

    def test_a_finished_comparison_that_is_continued_measures_nothing_again(self):
        done = subprocess.run([ROOT / "run", "compare", *self.options, "--continue", "--dry-run"], capture_output=True,
                              text=True, timeout=60, stdin=subprocess.DEVNULL, check=False, env=self.environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("0 runs in 1 rounds", done.stderr)
        other = [*self.options[:-1], str(SEED + 1)]
        done = subprocess.run([ROOT / "run", "compare", *other, "--continue"], capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL, check=False, env=self.environment)
        self.assertEqual(done.returncode, 2)
        self.assertIn(f"cannot be continued: seed {SEED} there, {SEED + 1} now", done.stderr)
        self.assertNotIn("PostgreSQL servers", done.stderr)

    def test_a_selection_of_nothing_ends_with_2_before_a_server_starts(self):
        done = subprocess.run([ROOT / "run", "compare", "--quick", "--sweeps", "clients", "--variants", "2pc,saga"],
                              capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False,
                              env=self.environment)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--sweeps clients selects nothing here: this comparison has zipf, refused, failures", done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        self.assertNotIn("PostgreSQL servers", done.stderr)

    def test_nothing_is_lost_nothing_lasts_and_sums_are_exact(self):
        for run in self.runs:
            with self.subTest(run["variant"], sweep=run["sweep"]):
                self.assertEqual({name: count for name, count in run["lasting"].items() if count}, {})
                self.assertEqual({name: count for name, count in run["balances"].items() if count}, {})

    def test_clients_find_the_coordinator_again_after_it_was_killed(self):
        for run in self.runs:
            if run["sweep"] == "failures":
                back = round(10 * (run["fault"]["ended_us"] / 1e6 - run["started_at"]))
                with self.subTest(run["variant"]):
                    self.assertGreater(sum(step[0] for step in run["timeline"][back:]), 0)

    def test_one_round_names_no_winner(self):
        self.assertEqual({found["winner"] for found in self.results["verdicts"]} - {"tie"}, set())

    def test_the_report_stands_alone_and_says_how_it_was_made(self):
        page = Page((self.folder / "report.html").read_text("utf-8"))
        self.assertEqual(page.fetched, [])
        self.assertGreaterEqual(page.plots, 3)
        for heading in ("Use 2PC when", "Use saga when", "What a reader could see in between", "How it was made"):
            self.assertIn(heading, page.headings)
        words = " ".join(page.words)
        about = self.results["context"]
        for told in (about["revision"], about["postgresql"], about["processor"], about["kernel"], *VARIANTS,
                     f"After each of {len(self.runs)} runs stock and money were exact to the unit"):
            self.assertIn(told, words)

    def test_the_csv_has_a_line_for_each_run(self):
        with open(self.folder / "runs.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([(row["sweep"], row["variant"], row["lasting"]) for row in rows],
                         [(run["sweep"], run["variant"], "0") for run in self.runs])

    def test_progress_is_told_and_nothing_is_left_running(self):
        self.assertEqual(self.done.stderr.count(" round 1 "), len(self.runs))
        self.assertFalse((self.folder / "pg").exists())
        left = [pid for pid in os.listdir("/proc") if pid.isdigit() and str(self.folder) in command_line(pid)]
        self.assertEqual(left, [])


def command_line(pid):
    try:
        return pathlib.Path("/proc", pid, "cmdline").read_text("utf-8", "replace")
    except OSError:
        return ""


if __name__ == "__main__":
    if not os.access(os.environ.get("TXCOORD_BIN", ""), os.X_OK):
        print("skipped: TXCOORD_BIN names no program", file=sys.stderr)
        sys.exit(SKIP)
    if shutil.which("gnuplot") is None:
        print("skipped: gnuplot is not installed (run.d/deps.sh test installs it)", file=sys.stderr)
        sys.exit(SKIP)
    unittest.main(verbosity=2)
