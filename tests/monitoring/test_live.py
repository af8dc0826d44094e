#!/usr/bin/env python3
"""A real Prometheus, with the rules of monitoring/prometheus in short, watches two coordinators under load
while the faults of scenario.py befall them. Each fault fires its alert, and none fires before; every query of
every panel and alert returns data; the metrics that must move do.

TXC_PICTURES=FOLDER: draws the dashboards' data there (pictures.py). Exit code 77 without Prometheus."""
import functools
import os
import pathlib
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))
try:
    import yaml  # noqa: F401 (what the modules below read the rules with)
except ImportError:
    print("python3-yaml is not installed: skipped", file=sys.stderr)
    sys.exit(77)

import live  # noqa: E402 (the path is set above, and by it that of tests/e2e)
import pictures  # noqa: E402
import stack as harness  # noqa: E402
from check_monitoring import Checker  # noqa: E402
from programs import ROOT, SKIP, find  # noqa: E402
from promql import with_short_windows, without_thresholds, without_variables  # noqa: E402
from scenario import Scenario  # noqa: E402

RATE_INTERVAL = "5s"
# Alert: the part of the scenario before which it stays silent.
FIRES_IN = {
    "TxcoordFaultSet": "a_drill",
    "TxcoordDatabaseAway": "a_silent_database",
    "TxcoordOrdersFailing": "a_silent_database",
    "TxcoordParticipantFailing": "a_silent_database",
    "TxcoordNotReady": "a_silent_database",
    # Sagas that are under way when payment falls silent fail and get stuck too.
    "TxcoordSagasFailing": "a_silent_database",
    "TxcoordSagaStuck": "a_silent_database",
    "TxcoordDegradedMode": "a_degraded_mode",
    "TxcoordOrdersDue": "a_degraded_mode",
    "TxcoordCoordinatorDown": "a_dead_coordinator",
    "TxcoordInDoubtTooLong": "a_flaky_service",  # COMMIT PREPARED fails there as everything else does
    "TxcoordBreakerOpen": "a_dead_service",
    "TxcoordParticipantDown": "a_dead_service",
    "TxcoordHeuristicOutcome": "a_lost_branch",
}
# How fast this machine is does not count here: the budget of a day in short is gone with one slow second.
MAY_FIRE_ANY_TIME = {"TxcoordSloBurnFast", "TxcoordSloBurnSlow"}
# What has no data in any run, and why.
NEVER = {'code="500"': "a 500 would be a defect"}


class Live(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scenario = Scenario(harness.seed_of_this_run())
        cls.addClassCleanup(cls.scenario.close)
        cls.scenario.run()
        print(f"it took {cls.scenario.ended - cls.scenario.started:.0f} s: "
              f"{ {part: round(began - cls.scenario.started) for part, began in cls.scenario.began.items()} }",
              file=sys.stderr)

    def range(self, query):
        return self.scenario.prometheus.range(query, self.scenario.started, self.scenario.ended)

    @functools.cached_property
    def first_fired(self):
        """{alert: seconds since the start}."""
        found = {}
        for labels, points in self.range('ALERTS{alertstate="firing"}'):
            name = labels["alertname"]
            found[name] = min(points[0][0], found.get(name, points[0][0]))
        return found

    def seconds_of(self, part):
        return self.scenario.began[part] - self.scenario.started

    def test_no_alert_fires_while_all_is_well(self):
        early = {name for name, at in self.first_fired.items() if at < self.seconds_of("a_drill")}
        self.assertLessEqual(early, MAY_FIRE_ANY_TIME)

    def test_each_fault_fires_its_alert_and_none_fires_before(self):
        for alert, part in FIRES_IN.items():
            with self.subTest(alert):
                self.assertIn(alert, self.first_fired)
                self.assertGreaterEqual(self.first_fired[alert], self.seconds_of(part))

    def highest(self, query, after="all_is_well"):
        return max((value for _, points in self.range(query) for at, value in points if at >= self.seconds_of(after)),
                   default=0)

    def test_the_faults_move_what_they_must(self):
        for query, part, above in (
                ('txcoord_faults_active{participant="shipping"}', "a_drill", 0),
                ('increase(txcoord_orders_total{mode="saga",reason="CARRIER_UNAVAILABLE"}[5s])', "a_drill", 0),
                ('sum(increase(txcoord_aborts_total{mode="saga",cause="refused"}[5s]))', "a_drill", 0),
                ('increase(txcoord_http_requests_total{code="503",route="/v1/orders"}[5s])', "a_silent_database", 0),
                ('increase(txcoord_orders_total{mode="2pc",reason="PARTICIPANT_UNAVAILABLE"}[5s])',
                 "a_silent_database", 10),
                ('sum(increase(txcoord_participant_errors_total{participant="payment"}[5s]))',
                 "a_silent_database", 10),
                ("count(txcoord_ready == 0)", "a_silent_database", 1),
                ('sum(increase(txcoord_aborts_total{cause=~"timeout|unavailable"}[5s]))', "a_silent_database", 0),
                ("txcoord_recovery_duration_seconds_count", "a_silent_database", 0),
                ("txcoord_sagas_stuck", "a_stuck_saga", 0),
                ("txcoord_reservations_expired_total", "a_stuck_saga", 0),
                ('txcoord_degraded_mode{participant="payment"}', "a_degraded_mode", 0),
                ('txcoord_orders_due{participant="payment"}', "a_degraded_mode", 0),
                ("participant:txcoord_in_doubt_oldest_seconds:max", "a_dead_coordinator", 5),
                ("participant:txcoord_xmin_age_transactions:max", "a_dead_coordinator", 10),
                ('txcoord_recovery_actions_total{action="takeover"}', "a_dead_coordinator", 0),
                ('txcoord_recovery_actions_total{action="rollback"}', "a_dead_coordinator", 0),
                ("txcoord_heuristic_outcomes_total", "a_lost_branch", 0),
                ("max(txcoord_heuristic_open)", "a_lost_branch", 0)):
            with self.subTest(query):
                self.assertGreater(self.highest(query, part), above)

    def test_a_database_that_nobody_reaches_shows_no_gauges(self):
        first, last = self.seconds_of("a_silent_database"), self.seconds_of("a_flaky_service")
        # Not the recorded one, which comes a moment after the scrape.
        (_, up), = self.range('max(txcoord_database_up{database="payment"})')
        away = {round(at) for at, value in up if first < at < last and value == 0}
        self.assertGreater(len(away), 2)
        for gauge in ("txcoord_prepared_slots_max", "txcoord_in_doubt_oldest_seconds", "txcoord_blocked_sessions"):
            seen = {participant: {round(at) for _, points in self.range(f'{gauge}{{participant="{participant}"}}')
                                  for at, _ in points} for participant in ("payment", "inventory")}
            self.assertFalse(away & seen["payment"], gauge)
            self.assertTrue(away <= seen["inventory"], gauge)

    def test_every_coordinator_reports_the_same_database_and_the_rules_count_it_once(self):
        self.assertEqual(2, self.highest('count(txcoord_prepared_slots_max{participant="order",job="txcoord"})'))
        self.assertEqual(1, self.highest('count(participant:txcoord_prepared_slots_used:ratio{participant="order"})'))

    @staticmethod
    def excused(query):
        return any(part in query for part in NEVER)

    def test_every_alert_has_data_to_judge(self):
        for where, rule in Checker(ROOT).alerts:
            query = with_short_windows(without_thresholds(rule["expr"]))
            with self.subTest(where):
                self.assertTrue(self.range(query) or self.excused(query), query)

    def test_every_panel_shows_data(self):
        queries = 0
        coordinators = "|".join(f"127.0.0.1:{one.admin_port}" for one in self.scenario.stack.coordinators)
        for name, dashboard in Checker(ROOT).dashboards.items():
            drawn = {}
            for panel in dashboard["panels"]:
                for target in panel.get("targets", ()):
                    queries += 1
                    query = without_variables(with_short_windows(target["expr"]), RATE_INTERVAL, coordinators)
                    series = self.range(query)
                    with self.subTest(f"{name}: {panel['title']}"):
                        self.assertTrue(series or self.excused(query), query)
                    drawn.setdefault(panel["id"], []).append((target, self.with_names(series)))
            if folder := os.environ.get("TXC_PICTURES"):
                self.draw(pathlib.Path(folder, name).with_suffix(".svg"), dashboard["panels"], drawn)
        self.assertGreater(queries, 60)

    def with_names(self, series):
        """The processes' names in place of their addresses, which are others in each run."""
        names = self.scenario.names
        return [({**labels, "instance": names.get(labels.get("instance"), "")}, points) for labels, points in series]

    def draw(self, file, panels, drawn):
        parts = {part.replace("_", " "): self.seconds_of(part) for part in self.scenario.began}
        length = self.scenario.ended - self.scenario.started
        file.write_text(pictures.dashboard(panels, drawn, parts, length), encoding="utf-8")


if __name__ == "__main__":
    if not find("prometheus"):
        print("skipped: prometheus is not installed (Debian's prometheus)", file=sys.stderr)
        sys.exit(SKIP)
    harness.main()
