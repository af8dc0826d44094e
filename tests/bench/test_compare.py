#!/usr/bin/python3
"""The statistics and the plan of ./run compare: who is named a winner, and who is not."""
import contextlib
import io
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare_plan  # noqa: E402
import compare_repeat  # noqa: E402
from compare import Comparison  # noqa: E402
from compare_findings import Findings, lasting_of  # noqa: E402
from compare_runs import VARIANTS, Point  # noqa: E402
from compare_stats import interval, summary, verdict  # noqa: E402

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
        found = verdict([120.0, 220.0, 320.0, 420.0, 520.0], [100.0, 200.0, 300.0, 400.0, 500.0], True)
        self.assertEqual((found["winner"], found["difference"]["low"]), ("tie", 20.0))

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
        class Runs:
            calls = []

            def run(self, variant, point, seed):
                self.calls.append((variant.name, seed))
                return {"orders_per_s": 1, "latency_confirmed": None, "lasting": {}, "balances": {}}

        class Options:
            rounds, seed, variants, quick = 2, 10, ["2pc", "saga"], False

        points = [Point("clients", 128, "128"), Point("zipf", 0, "0")]
        comparison = Comparison(Runs(), Options(), points)
        with contextlib.redirect_stderr(io.StringIO()):  # its progress
            comparison.run()
        self.assertEqual(Runs.calls, [("2pc", 10), ("saga", 10), ("saga", 11), ("2pc", 11)])
        self.assertEqual((len(comparison.rows), comparison.total), (8, 4))


def row(variant, number, rate, **more):
    return {"variant": variant, "sweep": "zipf", "x": 0, "label": "0", "round": number, "orders_per_s": rate,
            "answers_per_s": rate, "orders": 10, "started_at": number, "seed": number, "latency_confirmed": {"count": 9, "p50_ms": 1.0, "p99_ms": 2.0},
            "between": {}, "lasting": {"orders_lost": 0}, "balances": {"stock_off_units": 0}, **more}


class FindingsTest(unittest.TestCase):
    def test_a_sentence_says_who_is_ahead_and_by_what(self):
        rows = [row("2pc", n, 100.0 + n) for n in range(5)] + [row("saga", n, 50.0 + n) for n in range(5)]
        findings = Findings([Point("zipf", 0, "0")], rows)
        told = findings.sentence("zipf", "orders_per_s")
        self.assertIn("2pc is ahead at 0", told)
        self.assertIn("2pc 102 orders/s, saga 52.0", told)
        self.assertIn("a tie at 0", findings.sentence("zipf", "p50_ms"))
        reasons = findings.reasons_for("2pc", "saga")
        self.assertEqual([(sweep, metric, labels) for sweep, metric, labels, _, _ in reasons],
                         [("zipf", "orders_per_s", ["0"])])
        self.assertEqual(findings.reasons_for("saga", "2pc"), [])

    def test_what_is_left_wrong_is_told_by_name(self):
        self.assertEqual(lasting_of(row("2pc", 1, 1.0)), {})
        self.assertEqual(lasting_of(row("2pc", 1, 1.0, lasting={"orders_lost": 2}, audit_violations=1)),
                         {"orders_lost": 2, "audit_violations": 1})


if __name__ == "__main__":
    unittest.main(verbosity=2)
