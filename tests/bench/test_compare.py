#!/usr/bin/python3
"""The rules of ./run compare: what is measured and what selects nothing, when a run is steady, who is named a
winner and who is not, what is told of a value, and how a comparison goes on in pieces."""
import contextlib
import io
import json
import os
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare_journal  # noqa: E402
import compare_options  # noqa: E402
import compare_plan  # noqa: E402
import compare_repeat  # noqa: E402
import compare_steady  # noqa: E402
from compare import Comparison  # noqa: E402
from compare_findings import Findings, lasting_of, with_interval  # noqa: E402
from compare_runs import VARIANTS, Point  # noqa: E402
from compare_stats import interval, summary, too_wide, verdict  # noqa: E402

FAST, SLOW = [100.0, 104.0, 98.0, 101.0, 103.0], [50.0, 52.0, 49.0, 51.0, 53.0]


class StatisticsTest(unittest.TestCase):
    def test_a_clear_difference_names_the_better_side(self):
        self.assertEqual(verdict(FAST, SLOW, higher_is_better=True)["winner"], "first")
        self.assertEqual(verdict(FAST, SLOW, higher_is_better=False)["winner"], "second")

    def test_intervals_that_overlap_are_a_tie(self):
        self.assertEqual(verdict(FAST, [99.0, 130.0, 97.0, 140.0, 102.0], True)["winner"], "tie")

    def test_a_difference_below_the_margin_is_a_tie_however_certain(self):
        self.assertEqual(verdict(FAST, [97.0] * 5, True)["winner"], "tie")

    def test_few_rounds_need_a_larger_difference(self):
        self.assertEqual(verdict([100.0, 101.0], [70.0, 71.0], True)["winner"], "tie")
        self.assertEqual(verdict([100.0, 101.0], [60.0, 61.0], True)["winner"], "first")

    def test_one_round_or_none_says_nothing(self):
        self.assertIsNone(verdict([100.0], [1.0], True))
        self.assertIsNone(verdict([100.0, None, 90.0], [None, 3.0, 1.0], True))

    def test_rounds_are_compared_in_pairs(self):
        # Both drift together; within each round the first is ahead by 20, and the medians' intervals overlap.
        found = verdict([420.0, 440.0, 460.0, 480.0, 500.0], [400.0, 420.0, 440.0, 460.0, 480.0], True)
        self.assertEqual((found["winner"], found["difference"]["low"]), ("tie", 20.0))

    def test_an_interval_too_wide_is_not_judged_whatever_the_other_is(self):
        # The single client of the comparison of 2026-11: 165 (85 to 216) beside 571 (249 to 660).
        first, second = [85.0, 150.0, 165.0, 180.0, 216.0], [249.0, 560.0, 571.0, 600.0, 660.0]
        self.assertTrue(too_wide(summary(first)) and too_wide(summary(second)))
        self.assertEqual(verdict(first, second, True)["winner"], "not judged")
        self.assertEqual(verdict(FAST, first, True)["winner"], "not judged")
        self.assertEqual(verdict(FAST, SLOW, True)["winner"], "first")

    def test_a_value_that_is_always_0_has_an_interval(self):
        self.assertFalse(too_wide(summary([0.0] * 5)))
        self.assertTrue(too_wide(summary([0.0, 0.0, 0.0, 9.0, 9.0])))
        self.assertEqual(verdict([0.0] * 5, FAST, False)["winner"], "first")

    def test_a_ratio_is_taken_within_the_rounds_and_has_an_interval(self):
        ratio = verdict([200.0, 220.0, 240.0], [100.0, 100.0, 100.0], True)["ratio"]
        self.assertEqual((ratio["low"], ratio["median"], ratio["high"]), (2.0, 2.2, 2.4))
        self.assertIsNone(verdict([0.0] * 5, FAST, False)["ratio"])

    def test_a_value_is_told_with_its_interval_and_alone_never(self):
        self.assertEqual(with_interval(summary(FAST)), "101 (98.0 to 104)")
        self.assertEqual(with_interval(summary([85.0, 150.0, 165.0, 180.0, 216.0])), "85.0 to 216 (too wide)")
        self.assertEqual(with_interval(summary([7.0])), "7.00 (one round)")
        self.assertEqual(with_interval(None), "–")

    def test_an_interval_is_the_same_each_time_and_within_the_values(self):
        low, high = interval(FAST)
        self.assertEqual((low, high), interval(FAST))
        self.assertTrue(min(FAST) <= low <= 101.0 <= high <= max(FAST))

    def test_values_that_are_missing_are_left_out(self):
        self.assertEqual(summary([None, 5.0, None])["rounds"], 1)
        self.assertIsNone(summary([None]))


class RepeatTest(unittest.TestCase):
    """A second comparison, held against a first: speed (higher is better) and latency (lower is)."""

    @staticmethod
    def found(first, second, winner, metric="orders_per_s", connections=64):
        return {"sweep": "zipf", "x": 0, "connections": connections, "metric": metric, "pair": ("2pc", "saga"), "winner": winner,
                "first": {"median": first}, "second": {"median": second}}

    def told(self, before, now):
        told = compare_repeat.repeated(before, now, lambda metric: metric == "orders_per_s")
        return {kind: len(found) for kind, found in told.items() if found}

    def test_the_same_winner_is_named_again(self):
        self.assertEqual(self.told([self.found(9, 3, "2pc")], [self.found(8, 4, "2pc")]), {"again": 1})

    def test_a_tie_in_which_the_winner_leads_is_ahead_again(self):
        self.assertEqual(self.told([self.found(9, 3, "2pc")], [self.found(5, 4, "tie")]), {"ahead": 1})
        self.assertEqual(self.told([self.found(3, 9, "2pc", "p50_ms")], [self.found(4, 5, "tie", "p50_ms")]),
                         {"ahead": 1})

    def test_a_tie_in_which_the_other_leads_and_another_winner_contradict(self):
        self.assertEqual(self.told([self.found(9, 3, "2pc")], [self.found(4, 5, "tie")]), {"not_ahead": 1})
        self.assertEqual(self.told([self.found(9, 3, "2pc")], [self.found(3, 9, "saga")]), {"not_ahead": 1})
        self.assertEqual(self.told([self.found(3, 9, "2pc", "p50_ms")], [self.found(5, 4, "tie", "p50_ms")]),
                         {"not_ahead": 1})

    def test_ties_promise_nothing_and_what_was_not_measured_is_told(self):
        self.assertEqual(self.told([self.found(9, 8, "tie"), self.found(9, 3, "2pc", "p99_ms")], []), {"not_measured": 1})

    def test_what_is_not_judged_contradicts_nothing(self):
        self.assertEqual(self.told([self.found(9, 3, "2pc")], [self.found(3, 9, "not judged")]), {"not_measured": 1})
        self.assertEqual(self.told([self.found(9, 3, "not judged")], [self.found(3, 9, "saga")]), {})

    def test_another_number_of_connections_is_another_point(self):
        self.assertEqual(self.told([self.found(9, 3, "2pc")], [self.found(3, 9, "saga", connections=128)]),
                         {"not_measured": 1})

    def test_a_file_that_is_no_result_is_refused(self):
        with self.assertRaises(ValueError):
            compare_repeat.read_verdicts(__file__)


class PlanTest(unittest.TestCase):
    def test_every_variant_takes_part_in_a_full_run_and_a_quick_one(self):
        for points in (compare_plan.full(), compare_plan.quick()):
            taking_part = {name for point in points for name in compare_plan.variants_of(point, list(VARIANTS))}
            self.assertEqual(taking_part, set(VARIANTS))

    def test_quick_has_a_hot_and_a_cold_point_refusals_and_a_failure(self):
        points = compare_plan.quick()
        self.assertTrue({0, 2} <= {point.zipf for point in points})
        self.assertTrue(any(point.fault for point in points))
        self.assertTrue(any(point.refused for point in points))

    def test_what_a_point_is_called_is_what_it_measures(self):
        for point in compare_plan.full() + compare_plan.quick():
            swept = {"clients": point.connections, "zipf": point.zipf, "refused": 100 * point.refused,
                     "delay": dict([point.delay] if point.delay else []).get("payment", 0), "rate": point.rate,
                     "commit_delay": point.commit_delay_us / 1000}
            self.assertEqual(swept.get(point.sweep, point.x), point.x, point)

    def test_a_point_that_stands_in_two_sweeps_is_measured_once_a_round(self):
        runs, comparison = compared("--rounds", "2", "--observed-rounds", "0")
        self.assertEqual(runs.calls, [("2pc", 10, False), ("saga", 10, False), ("saga", 11, False), ("2pc", 11, False)])
        self.assertEqual((len(comparison.rows), comparison.total), (8, 4))

    def test_the_observer_takes_part_in_runs_of_its_own(self):
        runs, comparison = compared("--rounds", "2")
        self.assertEqual(runs.calls, [("2pc", 10, False), ("2pc", 10, True), ("saga", 10, False), ("saga", 10, True),
                                      ("saga", 11, False), ("2pc", 11, False)])
        self.assertEqual([row["observed"] for row in comparison.rows].count(True), 4)


class Runs:
    """Measures nothing, and keeps what it was asked for."""

    def __init__(self):
        self.calls = []

    def run(self, variant, point, seed, observed):
        self.calls.append((variant.name, seed, observed))
        return {"orders_per_s": 1, "latency_confirmed": None, "lasting": {}, "balances": {}, "warm_up_s": 5.0}


class Kept:
    def __init__(self, rows=()):
        self.rows = list(rows)

    def add(self, row):
        self.rows.append(row)


def compared(*arguments, rows=()):
    """Two points that are one, 2pc and saga, with these options, after what was measured before."""
    options = compare_options.parse(["--variants", "2pc,saga", "--seed", "10", "--sweeps", "clients,zipf", *arguments])
    options.points = [point for point in options.points if point.label in ("128", "0")]
    runs, journal = Runs(), Kept(rows)
    comparison = Comparison(runs, options, journal)
    with contextlib.redirect_stderr(io.StringIO()):  # its progress
        comparison.run()
    return runs, comparison


class SelectionTest(unittest.TestCase):
    """What selects nothing is told, with what there is, and the process ends with 2."""

    def refused(self, *arguments):
        told = io.StringIO()
        with contextlib.redirect_stderr(told), self.assertRaises(SystemExit) as ended:
            compare_options.parse(list(arguments))
        self.assertEqual(ended.exception.code, 2)
        return told.getvalue()

    def test_a_sweep_that_a_quick_comparison_does_not_have(self):
        self.assertIn("--sweeps clients selects nothing here: this comparison has zipf, refused, failures",
                      self.refused("--quick", "--sweeps", "clients", "--variants", "2pc,saga"))
        self.assertIn("--sweeps clients selects nothing", self.refused("--quick", "--sweeps", "zipf,clients"))

    def test_variants_that_take_no_part_in_a_sweep(self):
        self.assertIn("it is measured for 2pc, 2pc-textbook, saga, saga-textbook",
                      self.refused("--sweeps", "delay", "--variants", "one-database"))
        self.assertIn("--variants one-database selects nothing with --sweeps failures",
                      self.refused("--sweeps", "failures", "--variants", "2pc,one-database"))

    def test_names_that_do_not_exist_stand_twice_or_are_empty(self):
        self.assertIn("there is no 'zip'; there are clients, zipf,", self.refused("--sweeps", "zip"))
        self.assertIn("there is no '3pc'; there are 2pc,", self.refused("--variants", "2pc,3pc"))
        self.assertIn("there is no ''", self.refused("--variants", ""))
        self.assertIn("'saga' stands there twice", self.refused("--variants", "saga,2pc,saga"))
        self.assertIn("unrecognized arguments: --variant", self.refused("--variant", "saga"))

    def test_points_that_no_sweep_goes_through(self):
        self.assertIn("--points: '64' selects nothing; in clients there are 1, 8, 32, 128, 256",
                      self.refused("--sweeps", "clients", "--points", "1,64"))
        self.assertIn("--sweeps zipf selects nothing with --points 256",
                      self.refused("--sweeps", "clients,zipf", "--points", "256"))
        self.assertIn("--variants saga selects nothing with --points 4000",
                      self.refused("--sweeps", "rate", "--variants", "2pc,saga", "--points", "4000"))
        chosen = compare_options.parse(["--sweeps", "clients,zipf", "--points", "1,256,0.8"]).points
        self.assertEqual([(point.sweep, point.label) for point in chosen], [("clients", "1"), ("clients", "256"), ("zipf", "0.8")])

    def test_numbers_that_measure_nothing(self):
        for arguments in (("--rounds", "0"), ("--seconds", "0.1"), ("--warm-up", "-1"), ("--observer-ms", "0"),
                          ("--warm-up", "9", "--warm-up-max", "8"), ("--warm-up-max", "999"), ("--minutes", "0"),
                          ("--rounds", "2", "--observed-rounds", "3")):
            with self.subTest(arguments):
                self.assertIn(arguments[-2] if len(arguments) == 2 else arguments[2], self.refused(*arguments))

    def test_an_earlier_comparison_that_has_nothing_in_common(self):
        with tempfile.TemporaryDirectory() as folder:
            earlier = os.path.join(folder, "results.json")
            found = {"sweep": "zipf", "x": 0, "connections": 128, "metric": "p50_ms", "pair": ["2pc", "saga"], "winner": "2pc"}
            pathlib.Path(earlier).write_text(json.dumps({"verdicts": [found]}), encoding="utf-8")
            self.assertIn("none of its verdicts is about", self.refused("--against", earlier, "--sweeps", "refused"))
            self.assertIn("none of its verdicts is about", self.refused("--against", earlier, "--variants", "2pc"))
            self.assertIn("one round names no winner", self.refused("--against", earlier, "--rounds", "1"))
            self.assertEqual(len(compare_options.parse(["--against", earlier]).earlier), 1)

    def test_what_selects_something_is_all_of_it(self):
        options = compare_options.parse(["--variants", "one-database"])
        self.assertEqual({point.sweep for point in options.points}, {"clients", "zipf", "refused", "commit_delay"})
        self.assertEqual(len(compare_options.parse([]).points), len(compare_plan.full()))


RULE = compare_steady.Rule(least_s=2, most_s=10)  # windows of half a second, four against four, statistics after 1.5 s


class SteadyTest(unittest.TestCase):
    def warmed_up(self, windows, rule=RULE, during_statistics=0):
        """`during_statistics`: so many windows end while they are taken."""
        left, taken = list(windows), []
        told = compare_steady.warm_up(lambda: left.pop(0), lambda: during_statistics if len(taken) == 1 else 0,
                                      lambda: taken.append(len(windows) - len(left)), rule)
        self.assertEqual(taken, [3])
        return told

    def test_a_constant_rate_is_steady_as_soon_as_the_windows_are_full(self):
        told = self.warmed_up([500] * 40)
        # Three windows, then the statistics, one that they disturbed, and eight that count.
        self.assertEqual((told["steady"], told["seconds"], told["statistics_after_s"]), (True, 6.0, 1.5))

    def test_a_rate_that_falls_is_not_steady_before_it_has_fallen(self):
        # A saga on tables without statistics, answers in each half second: V2 of the comparison of 2026-11.
        falling = [700, 560, 460, 430, 380, 330, 300, 270, 240, 215, 190, 170, 155, 140, 125, 110, 100, 90, 80, 70]
        told = self.warmed_up(falling)
        self.assertEqual((told["steady"], told["seconds"]), (False, 10.0))

    def test_a_rate_that_rises_late_is_waited_for(self):
        told = self.warmed_up([300] * 5 + [400, 520, 640, 760] + [800] * 20)
        self.assertTrue(told["steady"])
        self.assertGreater(told["seconds"], 6.0)

    def test_what_was_counted_before_the_statistics_does_not_count(self):
        told = self.warmed_up([800] * 8 + [900, 1700] + [1700] * 20, during_statistics=5)
        self.assertEqual((told["steady"], told["seconds"]), (True, 8.5))

    def test_no_answers_at_all_are_no_rate(self):
        self.assertFalse(self.warmed_up([0] * 30)["steady"])

    def test_the_warm_up_that_was_asked_for_is_kept_and_the_bound_too(self):
        self.assertEqual(self.warmed_up([500] * 40, RULE._replace(least_s=8))["seconds"], 8.0)
        swinging = [900, 900, 900, 900, 300, 300, 300, 300] * 5
        told = self.warmed_up(swinging, RULE._replace(most_s=7))
        self.assertLessEqual(told["seconds"], 7.0)

    def test_few_answers_may_differ_by_what_chance_explains(self):
        self.assertTrue(compare_steady.alike(200, 235, 0.10))    # 17 %, a deviation of 21 is usual
        self.assertFalse(compare_steady.alike(2000, 2350, 0.10))  # the same share of ten times as many is not
        self.assertTrue(compare_steady.alike(2000, 2190, 0.10))

    def test_the_measured_part_is_held_to_the_same_rule(self):
        kept, lost = [[200, 0, 0]] * 100, [[200, 0, 0]] * 70 + [[120, 0, 0]] * 30
        self.assertTrue(compare_steady.held(kept, 4.0, 6.0, RULE))
        self.assertFalse(compare_steady.held(lost, 4.0, 6.0, RULE))
        row = {"steadiness": {"steady": True, "held": False}}
        self.assertEqual(compare_steady.why_not_steady(row), "did not stay steady")
        self.assertEqual(compare_steady.why_not_steady({**row, "fault": {"kind": "database"}}), "")
        self.assertEqual(compare_steady.why_not_steady({"steadiness": {"steady": False, "held": True}}),
                         "never became steady")

    def test_what_falls_behind_the_offered_rate_is_told(self):
        offered = {"offered_per_s": 1000.0, "seconds": 6.0}
        self.assertTrue(compare_steady.falls_behind({**offered, "answers_per_s": 746.0}))
        self.assertFalse(compare_steady.falls_behind({**offered, "answers_per_s": 985.0}))
        self.assertFalse(compare_steady.falls_behind({"offered_per_s": 0, "seconds": 6.0, "answers_per_s": 746.0}))


class JournalTest(unittest.TestCase):
    """A comparison in pieces: nothing is measured twice, and nothing else is taken for a part of it."""
    IDENTITY = {"seconds": 6.0, "program": "abc"}

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name, "runs.journal")

    def written(self, *rows):
        journal = compare_journal.Journal(self.path, self.IDENTITY, {"at": "then"})
        for each in rows:
            journal.add(each)
        journal.close()

    def test_what_was_measured_is_there_again_and_grows(self):
        self.written({"n": 1}, {"n": 2})
        journal = compare_journal.Journal.continued(self.path, self.IDENTITY)
        journal.add({"n": 3})
        journal.close()
        head, rows = compare_journal.read(self.path)
        self.assertEqual((head["context"], [each["n"] for each in rows]), ({"at": "then"}, [1, 2, 3]))

    def test_a_line_that_a_kill_cut_off_is_left_out(self):
        self.written({"n": 1}, {"n": 2})
        self.path.write_bytes(self.path.read_bytes()[:-4])
        journal = compare_journal.Journal.continued(self.path, self.IDENTITY)
        journal.add({"n": 5})
        journal.close()
        self.assertEqual([each["n"] for each in compare_journal.read(self.path)[1]], [1, 5])

    def test_runs_of_another_program_or_length_are_not_continued(self):
        self.written({"n": 1})
        for other in ({"seconds": 4.0, "program": "abc"}, {"seconds": 6.0, "program": "def"}):
            with self.assertRaisesRegex(compare_journal.CannotContinue, "cannot be continued.*there.*now"):
                compare_journal.Journal.continued(self.path, other)

    def test_nothing_there_and_a_file_that_is_none_are_told(self):
        with self.assertRaisesRegex(compare_journal.CannotContinue, "nothing to continue"):
            compare_journal.Journal.continued(self.path, self.IDENTITY)
        self.path.write_text("else\n", encoding="utf-8")
        with self.assertRaisesRegex(compare_journal.CannotContinue, "no journal"):
            compare_journal.Journal.continued(self.path, self.IDENTITY)

    def test_a_new_comparison_keeps_the_one_before(self):
        self.written({"n": 1})
        self.written({"n": 2})
        before = self.path.with_name("runs.journal.before")
        self.assertEqual(compare_journal.read(before)[1], [{"n": 1}])

    def test_a_continued_comparison_runs_what_is_missing_and_no_more(self):
        _, whole = compared("--rounds", "2")
        half = [dict(each) for each in whole.rows[:3]]  # 2pc at 128 twice (once observed), saga at 128
        runs, comparison = compared("--rounds", "2", rows=half)
        self.assertEqual(runs.calls, [("saga", 10, True), ("saga", 11, False), ("2pc", 11, False)])
        places = [comparison._key_of(each) for each in comparison.rows]
        self.assertEqual(sorted(places), sorted(comparison._key_of(each) for each in whole.rows))
        self.assertEqual(len(set(places)), len(places))

    def test_more_rounds_are_added_to_those_that_are_there(self):
        _, first = compared("--rounds", "1")
        runs, _ = compared("--rounds", "2", rows=first.rows)
        self.assertEqual(runs.calls, [("saga", 11, False), ("2pc", 11, False)])

    def test_when_the_time_is_up_no_run_begins(self):
        runs, comparison = compared("--rounds", "2", "--minutes", "1e-9")
        self.assertEqual((runs.calls, comparison.stopped), ([], True))


def row(variant, number, rate, **more):
    return {"variant": variant, "sweep": "zipf", "x": 0, "label": "0", "round": number, "orders_per_s": rate,
            "answers_per_s": rate, "orders": 10, "started_at": number, "seed": number, "latency_confirmed": {"count": 9, "p50_ms": 1.0, "p99_ms": 2.0},
            "between": {}, "outcomes": {}, "warm_up_s": 6.0, "lasting": {"orders_lost": 0}, "balances": {"stock_off_units": 0}, **more}


STEADY, NEVER = {"steady": True, "held": True}, {"steady": False, "held": True}


class FindingsTest(unittest.TestCase):
    @staticmethod
    def findings(*rows):
        return Findings([Point("zipf", 0, "0")], list(rows))

    def test_a_sentence_says_who_is_ahead_and_by_what(self):
        rows = [row("2pc", n, 100.0 + n) for n in range(5)] + [row("saga", n, 50.0 + n) for n in range(5)]
        findings = self.findings(*rows)
        told = findings.sentence("zipf", "orders_per_s")
        self.assertIn("2pc is ahead at 0", told)
        self.assertIn("2pc 102 (100 to 104) orders/s, saga 52.0 (50.0 to 54.0): 1.93 to 2.00 times apart", told)
        self.assertIn("a tie at 0", findings.sentence("zipf", "p50_ms"))
        reasons = findings.reasons_for("2pc", "saga")
        self.assertEqual([(sweep, metric, labels) for sweep, metric, labels, _, _ in reasons],
                         [("zipf", "orders_per_s", ["0"])])
        self.assertEqual(findings.reasons_for("saga", "2pc"), [])

    def test_medians_far_apart_make_no_sentence_where_an_interval_is_too_wide(self):
        rows = [row("2pc", n, rate) for n, rate in enumerate((85.0, 150.0, 165.0, 180.0, 216.0))]
        findings = self.findings(*rows, *(row("saga", n, 20.0 + n / 10) for n in range(5)))
        told = findings.sentence("zipf", "orders_per_s")
        self.assertIn("not judged at 0 (an interval is too wide)", told)
        self.assertNotIn("ahead", told)
        self.assertNotIn("165", told)
        self.assertEqual(findings.reasons_for("2pc", "saga"), [])
        self.assertEqual(findings.told("zipf", 0, "2pc", "orders_per_s"), "85.0 to 216 (too wide)")

    def test_rates_come_from_runs_without_the_observer_and_what_was_seen_from_the_others(self):
        seen = {"observer": {"counts": {"payment_undone": 3}, "processor_seconds": 2.0,
                             "processor_seconds_of_all": 8.0}, "observed": True}
        rows = [row("saga", n, 100.0) for n in range(2)]
        findings = self.findings(*rows, row("saga", 0, 70.0, **{**seen, "started_at": 9}))
        self.assertEqual(findings.values("zipf", 0, "saga", "orders_per_s"), [100.0, 100.0])
        totals = findings.totals("saga", failures=False)
        self.assertEqual((totals["runs"], totals["seen"], totals["orders_observed"]), (2, {"payment_undone": 3}, 10))
        cost = findings.observer_cost("saga")
        self.assertEqual((cost["ratio"]["median"], cost["processors"]["median"]), (0.7, 0.25))
        self.assertIsNone(self.findings(*rows).observer_cost("saga"))

    def test_a_run_that_was_not_steady_has_no_rate_and_is_named(self):
        rows = [row("saga", n, 100.0, steadiness=STEADY) for n in range(4)] + [row("saga", 4, 40.0, steadiness=NEVER)]
        findings = self.findings(*rows)
        self.assertEqual(findings.values("zipf", 0, "saga", "orders_per_s"), [100.0] * 4 + [None])
        self.assertIn("without 1 of 5 rounds: never became steady", findings.told("zipf", 0, "saga", "orders_per_s"))
        told = findings.steadiness("saga")
        self.assertEqual((told["runs"], told["never"], told["not_held"]), (5, 1, 0))

    def test_a_variant_that_never_becomes_steady_is_told_as_such_and_not_judged(self):
        saga = [row("saga", n, 463.0 + n, steadiness=NEVER if n < 3 else STEADY) for n in range(5)]
        findings = self.findings(*(row("2pc", n, 3000.0, steadiness=STEADY) for n in range(5)), *saga)
        self.assertEqual(findings.told("zipf", 0, "saga", "orders_per_s"),
                         "never became steady in 3 of 5 rounds: 463 to 467")
        self.assertEqual([v for v in findings.verdicts if v["metric"] == "orders_per_s"], [])
        self.assertIn("Too few rounds, variants or steady runs", findings.sentence("zipf", "orders_per_s"))

    def test_the_latency_of_what_falls_behind_is_no_value(self):
        behind = {"offered_per_s": 1000.0, "seconds": 6.0, "answers_per_s": 746.0}
        findings = self.findings(*(row("saga", n, 746.0, **behind) for n in range(3)))
        self.assertEqual(findings.told("zipf", 0, "saga", "p50_ms"), "falls behind in 3 of 3 rounds: 1.00")
        self.assertEqual(findings.values("zipf", 0, "saga", "orders_per_s"), [746.0] * 3)

    def test_what_is_left_wrong_is_told_by_name(self):
        self.assertEqual(lasting_of(row("2pc", 1, 1.0)), {})
        self.assertEqual(lasting_of(row("2pc", 1, 1.0, lasting={"orders_lost": 2}, audit_violations=1)),
                         {"orders_lost": 2, "audit_violations": 1})


if __name__ == "__main__":
    unittest.main(verbosity=2)
