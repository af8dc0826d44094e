#!/usr/bin/env python3
"""Rules, alerts and dashboards: promtool accepts them and their cases pass, what they name is there, and the
check finds each kind of thing that is not.

Exit code 77 where promtool is not installed, after everything that does not need it. Dashboards are held
against Grafana's own schema where TXC_NPM=1 allows npm to fetch it (grafana_schema.py)."""
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))
try:
    import yaml  # noqa: F401 (what the modules below read the rules with)
except ImportError:
    print("python3-yaml is not installed: skipped", file=sys.stderr)
    sys.exit(77)

import grafana_schema  # noqa: E402 (the path is set above)
from check_monitoring import DASHBOARDS, PAGE, PROMETHEUS, RUNBOOK, Checker  # noqa: E402
from programs import ROOT, SKIP, find, run  # noqa: E402
from promql import Reading, rules_in_short, with_short_windows, without_thresholds, without_variables  # noqa: E402

PROMTOOL, AMTOOL = find("promtool"), find("amtool")
CONFIG = ROOT / PROMETHEUS


class Rules(unittest.TestCase):
    def accepts(self, *command, folder=CONFIG):
        status, said = run(*command, folder=folder)
        self.assertEqual(0, status, said)
        return said

    def test_what_they_name_is_there(self):
        checker = Checker(ROOT)
        self.assertEqual([], checker.check())
        self.assertGreater(len(checker.alerts), 20)
        self.assertEqual(5, len(checker.dashboards))

    @unittest.skipUnless(PROMTOOL, "promtool is not installed")
    def test_promtool_accepts_the_configuration(self):
        self.accepts(PROMTOOL, "check", "config", "prometheus.yml")

    @unittest.skipUnless(PROMTOOL, "promtool is not installed")
    def test_every_alert_does_in_its_cases_what_they_say(self):
        files = sorted(file.name for file in (CONFIG / "tests").glob("*.yml"))
        self.accepts(PROMTOOL, "test", "rules", *files, folder=CONFIG / "tests")

    @unittest.skipUnless(PROMTOOL, "promtool is not installed")
    def test_promtool_accepts_every_query_of_every_dashboard(self):
        queries = [without_variables(target["expr"]) for dashboard in Checker(ROOT).dashboards.values()
                   for panel in dashboard["panels"] for target in panel.get("targets", ())]
        rules = [{"record": f"dashboards:query:{number}", "expr": query} for number, query in enumerate(queries)]
        self.assertGreater(len(rules), 60)
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "queries.yml")  # JSON is YAML
            file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}), encoding="utf-8")
            self.accepts(PROMTOOL, "check", "rules", str(file))

    @unittest.skipUnless(AMTOOL, "amtool is not installed (Debian's prometheus-alertmanager)")
    def test_amtool_accepts_the_routing(self):
        self.accepts(AMTOOL, "check-config", "alertmanager.yml", folder=ROOT / "monitoring" / "alertmanager")

    @unittest.skipIf(grafana_schema.why_not(), grafana_schema.why_not())
    def test_grafana_accepts_the_dashboards(self):
        self.assertEqual([], grafana_schema.problems(sorted((ROOT / DASHBOARDS).glob("*.json"))))


class TheCheck(unittest.TestCase):
    """On a copy of the tree with one thing changed; the problem that it must name, and no other."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = pathlib.Path(self.folder.name)
        for path in ("monitoring", RUNBOOK, PAGE, "tests/unit/metrics_golden.txt", "txcoord/metrics/labels.hpp",
                     "txcoord/http/routes.cpp"):
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / path).is_dir() else shutil.copy
            copy(ROOT / path, self.root / path)

    def finds(self, path, old, new, *problems):
        file = self.root / path
        text = file.read_text(encoding="utf-8")
        self.assertIn(old, text)
        file.write_text(text.replace(old, new), encoding="utf-8")
        self.assertEqual(list(problems), Checker(self.root).check())

    def finds_in_alerts(self, old, new, *problems):
        self.finds(f"{PROMETHEUS}/rules/alerts.yml", old, new, *problems)

    def finds_in_overview(self, old, new, *problems):
        self.finds(f"{DASHBOARDS}/overview.json", old, new, *problems)

    def test_a_metric_that_was_renamed(self):
        self.finds("tests/unit/metrics_golden.txt", "txcoord_admission_refused_total", "txcoord_refused_total",
                   "alerts.yml: TxcoordOverloaded: txcoord_admission_refused_total is no metric of the golden list, "
                   "and not recorded",
                   "overview.json: Refused because too much waits: txcoord_admission_refused_total is no metric of "
                   "the golden list, and not recorded")

    def test_a_histogram_without_its_suffix_and_a_counter_with_one(self):
        self.finds_in_alerts("txcoord_admission_refused_total[", "txcoord_order_duration_seconds[",
                             "alerts.yml: TxcoordOverloaded: txcoord_order_duration_seconds is no metric of the "
                             "golden list, and not recorded")

    def test_a_label_that_the_metric_has_not(self):
        self.finds_in_alerts("txcoord_admission_refused_total[", 'txcoord_admission_refused_total{mode="2pc"}[',
                             "alerts.yml: TxcoordOverloaded: txcoord_admission_refused_total has no label mode")

    def test_a_label_that_nothing_there_is_grouped_by(self):
        self.finds_in_alerts("sum(rate(txcoord_admission", "sum by (mode) (rate(txcoord_admission",
                             "alerts.yml: TxcoordOverloaded: no metric here has the label mode")

    def test_a_value_that_the_label_never_has(self):
        self.finds_in_alerts('cause=~"deadlock|lock_timeout"', 'cause=~"deadlocks|lock"',
                             "alerts.yml: TxcoordLockContention: cause is never deadlocks|lock")

    def test_a_sum_over_coordinators_of_what_each_of_them_sees(self):
        self.finds(f"{PROMETHEUS}/rules/participants.yml", "max by (participant) (txcoord_in_doubt_branches)",
                   "sum by (participant) (txcoord_in_doubt_branches)",
                   "participants.yml: participant:txcoord_in_doubt_branches:max: txcoord_in_doubt_branches is seen by "
                   "every coordinator: take the maximum")

    def test_an_expression_that_hides_what_is_missing(self):
        self.finds_in_alerts("max(txcoord_sagas_stuck) >", "(max(txcoord_sagas_stuck) or vector(0)) >",
                             "alerts.yml: TxcoordSagaStuck: `or vector` hides a name that is not there")

    def test_a_section_that_the_runbook_has_not(self):
        self.finds(RUNBOOK, "## Card errands wait", "## Cards",
                   "alerts.yml: TxcoordOutboxLag: the runbook has no section 'docs/operating.md#card-errands-wait'",
                   "participants.json: Card errands: the runbook has no section '${runbook}#card-errands-wait'")

    def test_an_alert_with_a_new_severity_that_its_row_does_not_tell(self):
        self.finds_in_alerts("expr: up{job=\"txcoord\"} == 0\n        for: 1m\n        labels: {severity: ticket}",
                             "expr: up{job=\"txcoord\"} == 0\n        for: 1m\n        labels: {severity: page}",
                             f"alerts.yml: TxcoordCoordinatorDown: its row in {PAGE} has another severity or another "
                             "link")

    def test_an_alert_without_cases_and_without_a_row(self):
        self.finds_in_alerts("alert: TxcoordVersionSkew", "alert: TxcoordVersions",
                             "alerts.yml: TxcoordVersions: there is no case in which it fires",
                             "alerts.yml: TxcoordVersions: there is no case in which it stays silent",
                             f"alerts.yml: TxcoordVersions: {PAGE} has no row for it")

    def test_an_alert_that_tells_a_label_it_lost(self):
        self.finds_in_alerts("expr: up{job=\"txcoord-participant\"} == 0",
                             "expr: min by (instance) (up{job=\"txcoord-participant\"}) == 0",
                             "alerts.yml: TxcoordParticipantDown: it tells its label service, which it has not")

    def test_a_recorded_rule_that_nothing_uses(self):
        self.finds_in_alerts("txcoord:order_errors:ratio_rate1m >", "txcoord:slo_errors:ratio_rate5m >",
                             "orders.yml: txcoord:order_errors:ratio_rate1m: nothing uses it")

    def finds_in_panel(self, change, problem):
        """`change` is done to the panel "Stuck sagas"."""
        file = self.root / DASHBOARDS / "overview.json"
        dashboard = json.loads(file.read_text(encoding="utf-8"))
        change(next(panel for panel in dashboard["panels"] if panel["title"] == "Stuck sagas"))
        file.write_text(json.dumps(dashboard), encoding="utf-8")
        self.assertEqual([f"overview.json: {problem}"], Checker(self.root).check())

    def test_a_panel_without_a_unit(self):
        self.finds_in_panel(lambda panel: panel["fieldConfig"]["defaults"].pop("unit"),
                            "Stuck sagas: it has no unit")

    def test_a_panel_that_does_not_say_what_is_normal(self):
        self.finds_in_panel(lambda panel: panel.update(description="Sagas that are stuck."),
                            "Stuck sagas: its description does not say what is normal")

    def test_a_panel_with_a_data_source_of_its_own(self):
        self.finds_in_panel(lambda panel: panel.update(datasource={"type": "prometheus", "uid": "one"}),
                            "Stuck sagas: it does not use the variable for its data source")

    def test_a_query_with_a_data_source_of_its_own(self):
        self.finds_in_panel(lambda panel: panel["targets"][0].pop("datasource"),
                            "Stuck sagas: a query does not use the variable for its data source")

    def test_a_panel_without_a_query(self):
        self.finds_in_panel(lambda panel: panel.update(targets=[]),
                            "Stuck sagas: it has no query, or two of one name")

    def test_a_legend_that_tells_a_label_that_was_summed_away(self):
        self.finds_in_panel(lambda panel: panel["targets"][0].update(
            expr='sum by (instance) (txcoord_sagas_stuck{instance=~"$coordinator"})', legendFormat="{{job}}"),
            "Stuck sagas: its legend tells the label job, which it has not")

    def test_two_panels_of_one_id(self):
        self.finds_in_panel(lambda panel: panel.update(id=2), "two panels have the id 2")

    def test_a_panel_over_another(self):
        self.finds_in_panel(lambda panel: panel["gridPos"].update(x=15),
                            "Stuck sagas lies over Branches in doubt")

    def test_a_panel_that_is_wider_than_the_page(self):
        self.finds_in_panel(lambda panel: panel["gridPos"].update(x=22, y=900),
                            "Stuck sagas is wider than the page")

    def test_two_dashboards_of_one_uid(self):
        self.finds_in_overview('"uid": "txcoord-overview"', '"uid": "txcoord-protocol"',
                               "protocol.json: has the uid of overview.json")

    def test_a_window_that_does_not_follow_the_zoom(self):
        self.finds_in_overview('txcoord_saga_compensations_total{instance=~\\"$coordinator\\"}[$__rate_interval]',
                               'txcoord_saga_compensations_total{instance=~\\"$coordinator\\"}[5m]',
                               "overview.json: Compensations by step: a window is fixed: it does not follow the zoom")

    def test_a_variable_that_nobody_declared(self):
        self.finds_in_overview('max(txcoord_sagas_stuck{instance=~\\"$coordinator\\"})',
                               'max(txcoord_sagas_stuck{instance=~\\"$host\\"})',
                               "overview.json: the variable host is used only")


class Expressions(unittest.TestCase):
    """What promql.py makes of them."""

    def test_reading(self):
        reading = Reading('sum by (le, mode) (rate(a_bucket{mode="x,y", code=~"5.."}[5m] offset 1h)) / on (mode) b:c')
        self.assertEqual({"le", "mode"}, reading.grouped_by)
        self.assertEqual(["a_bucket", "b:c"], [selector.metric for selector in reading.selectors])
        self.assertEqual([("mode", "=", "x,y"), ("code", "=~", "5..")], reading.selectors[0].matchers)
        self.assertEqual(("sum", "rate"), reading.selectors[0].within)
        self.assertEqual((), reading.selectors[1].within)

    def test_the_innermost_aggregation(self):
        reading = Reading("sum(max(a) by (x)) + count(b) + min_over_time(c[5m])")
        self.assertEqual(["max", "count", None], [selector.aggregator() for selector in reading.selectors])

    def test_substitutions(self):
        self.assertEqual("rate(a[8s] offset 16s)", with_short_windows("rate(a[5m] offset 1h)"))
        self.assertRaises(KeyError, with_short_windows, "rate(a[7m])")
        self.assertEqual('rate(a{i=~".+"}[3s])',
                         without_variables('rate(a{i=~"$coordinator"}[$__rate_interval])', "3s"))
        self.assertEqual("a > bool 5 and b{c=~\"d\"} == bool 0", without_thresholds("a > 5 and b{c=~\"d\"} == 0"))

    @staticmethod
    def durations_aside(text):
        text = re.sub(r"(?m)^ +interval: .*\n|(?<=for: )\w+$", "", text)
        return re.sub(r"(\[|offset )\d+[smhd]\b", r"\1", text)

    def test_every_rule_in_short_still_says_what_it_said(self):
        for file in sorted((CONFIG / "rules").glob("*.yml")):
            long, short = file.read_text(encoding="utf-8"), rules_in_short(file.read_text(encoding="utf-8"))
            self.assertEqual(self.durations_aside(long), self.durations_aside(short))
            self.assertNotRegex(short, r"\[\d+[mhd]\]|for: \d+m")


if __name__ == "__main__":
    if not PROMTOOL:
        print("promtool is not installed (Debian's prometheus): most of this is skipped", file=sys.stderr)
    passed = unittest.main(verbosity=2, exit=False).result.wasSuccessful()
    sys.exit((0 if PROMTOOL else SKIP) if passed else 1)
