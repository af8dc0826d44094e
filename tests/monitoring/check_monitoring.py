#!/usr/bin/env python3
"""Fails when a rule or a dashboard names what is not there, or is not what the others are.

  metrics            each is one of tests/unit/metrics_golden.txt (histograms by _bucket, _sum, _count), a
                     recorded one, or Prometheus's own; with the labels, and label values, it can have
  {participant}      gauges are seen by every coordinator: the maximum is taken, never a sum
  alerts             name, severity, summary, description, a section of the runbook that exists, cases in
                     monitoring/prometheus/tests that fire and that stay silent, a row in docs/monitoring.md
  dashboards         uids, ids, places, units, descriptions, the data source by its variable, links

As a command: check_monitoring.py [ROOT]; prints what is wrong, exit code 1. Whether an expression is PromQL
at all, promtool says (test_rules.py).
"""
import functools
import json
import pathlib
import re
import sys

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "docs"))
from check_docs import anchors  # noqa: E402 (the path is set above)
from promql import NotUnderstood, Reading  # noqa: E402

PROMETHEUS = "monitoring/prometheus"
DASHBOARDS = "monitoring/grafana/dashboards"
RUNBOOK = "docs/operating.md"
PAGE = "docs/monitoring.md"
# What the scrape adds; `service` is set in targets/participants.yml.
OF_THE_TARGET = {"job", "instance"}
OF_PROMETHEUS = {"up": {"service"}, "ALERTS": {"alertname", "alertstate", "severity"}}
SEVERITIES = ("page", "ticket")
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
RUNBOOK_LINK = re.compile(r"\$\{runbook\}#([a-z0-9-]+)")
VARIABLE = re.compile(r"\$\{?(?!__)([a-z]\w*)\}?")
# libyaml's where it is there: it is ten times as fast, and every case of the tests reads all rules.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LEGEND = re.compile(r"\{\{\s*([a-z_]+)\s*\}\}")


# Kept by text: the tests run the check again and again on copies that differ in one place.
@functools.lru_cache(maxsize=256)
def load_yaml(text):
    return yaml.load(text, Loader=LOADER)  # a safe loader, both of them


read = functools.lru_cache(maxsize=2048)(Reading)


class Checker:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.problems = []

    def check(self):
        for where, rule in self.recordings:
            self.check_expression(where, rule["expr"])
        for where, rule in self.alerts:
            self.check_alert(where, rule)
        self.check_recordings_are_used()
        self.check_dashboards()
        return self.problems

    def report(self, where, what):
        self.problems.append(f"{where}: {what}")

    def text_of(self, path):
        return (self.root / path).read_text(encoding="utf-8")

    # --- what there is --------------------------------------------------------------------------
    def rules_in(self, kind):
        return [(f"{file.name}: {rule[kind]}", rule)
                for file in sorted((self.root / PROMETHEUS / "rules").glob("*.yml"))
                for group in load_yaml(file.read_text(encoding="utf-8"))["groups"]
                for rule in group["rules"] if kind in rule]

    @functools.cached_property
    def recordings(self):
        return self.rules_in("record")

    @functools.cached_property
    def alerts(self):
        return self.rules_in("alert")

    @functools.cached_property
    def dashboards(self):
        return {file.name: json.loads(file.read_text(encoding="utf-8"))
                for file in sorted((self.root / DASHBOARDS).glob("*.json"))}

    @functools.cached_property
    def families(self):
        """{name: (type, labels)} of the golden list."""
        return {name: (kind, set(filter(None, labels.split(",")))) for kind, name, labels in
                re.findall(r"(?m)^(\w+) (\w+)\{([\w,]*)\}$", self.text_of("tests/unit/metrics_golden.txt"))}

    @functools.cached_property
    def samples(self):
        """{name that a query may use: its labels}."""
        found = {name: set(labels) for name, labels in OF_PROMETHEUS.items()}
        for name, (kind, labels) in self.families.items():
            if kind == "histogram":
                found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
            else:
                found[name] = labels
        for _, rule in self.recordings:
            labels = read(rule["expr"]).grouped_by | set(rule.get("labels", {}))
            found[rule["record"]] = found.get(rule["record"], set()) | labels
        return found

    @functools.cached_property
    def label_values(self):
        """{label: every value it can have}, of the labels whose values are a closed set."""
        found = {"job": set(re.findall(r"job_name: (\S+)", self.text_of(f"{PROMETHEUS}/prometheus.yml"))),
                 "route": set(re.findall(r'\.path = "([^"]+)"', self.text_of("txcoord/http/routes.cpp"))),
                 "slo": {rule["labels"]["slo"] for _, rule in self.recordings if "slo" in rule.get("labels", {})},
                 "alertname": {rule["alert"] for _, rule in self.alerts}, "alertstate": {"pending", "firing"}}
        # Some of its lists have comments between the values.
        for label, values in re.findall(r"string_view (\w+)_labels\[\] = \{(.*?)\};",
                                        self.text_of("txcoord/metrics/labels.hpp"), re.DOTALL):
            found[label] = set(re.findall(r'"([^"]*)"', values))
        found["database"] = found["participant"]
        return found

    @functools.cached_property
    def runbook(self):
        return anchors(self.text_of(RUNBOOK))

    # --- expressions ----------------------------------------------------------------------------
    def check_expression(self, where, expression):
        """Returns the labels that its result can have, as far as that can be told."""
        if re.search(r"\bor\s+vector\b", expression):
            self.report(where, "`or vector` hides a name that is not there")
        try:
            reading = read(expression)
        except NotUnderstood as problem:
            self.report(where, str(problem))
            return set()
        known = set(OF_THE_TARGET)
        for selector in reading.selectors:
            if selector.metric not in self.samples:
                self.report(where, f"{selector.metric} is no metric of the golden list, and not recorded")
                continue
            known |= self.samples[selector.metric]
            self.check_matchers(where, selector)
            self.check_maximum(where, selector)
        for label in sorted(reading.grouped_by - known):
            self.report(where, f"no metric here has the label {label}")
        return reading.grouped_by or known

    def check_matchers(self, where, selector):
        for label, operator, value in selector.matchers:
            if label not in self.samples[selector.metric] | OF_THE_TARGET:
                self.report(where, f"{selector.metric} has no label {label}")
            elif label in self.label_values and "$" not in value:
                pattern = value if operator in ("=~", "!~") else re.escape(value)
                if not any(re.fullmatch(pattern, each) for each in self.label_values[label]):
                    self.report(where, f"{label} is never {value}")

    def check_maximum(self, where, selector):
        kind, labels = self.families.get(selector.metric, (None, set()))
        if kind == "gauge" and "participant" in labels and selector.aggregator() != "max":
            self.report(where, f"{selector.metric} is seen by every coordinator: take the maximum")

    # --- alerts ---------------------------------------------------------------------------------
    def check_alert(self, where, rule):
        labels = self.check_expression(where, rule["expr"])
        if not re.fullmatch(r"Txcoord([A-Z][a-z]+)+", rule["alert"]):
            self.report(where, "its name is not TxcoordLikeThis")
        if rule.get("labels", {}).get("severity") not in SEVERITIES:
            self.report(where, f"its severity is not one of {SEVERITIES}")
        annotations = rule.get("annotations", {})
        for name in ("summary", "description", "runbook_url"):
            if not annotations.get(name):
                self.report(where, f"it has no {name}")
        for label in re.findall(r"\$labels\.(\w+)", " ".join(annotations.values())):
            if label not in labels:
                self.report(where, f"it tells its label {label}, which it has not")
        self.check_runbook_url(where, annotations.get("runbook_url", ""))
        self.check_cases(where, rule["alert"])
        self.check_row(where, rule)

    def check_runbook_url(self, where, url):
        page, _, anchor = url.partition("#")
        if page != RUNBOOK or anchor not in self.runbook:
            self.report(where, f"the runbook has no section {url!r}")

    @functools.cached_property
    def cases(self):
        """{alert: [whether it is expected to fire, for each case]}."""
        found = {}
        for file in sorted((self.root / PROMETHEUS / "tests").glob("*.yml")):
            for test in load_yaml(file.read_text(encoding="utf-8"))["tests"]:
                for case in test.get("alert_rule_test", ()):
                    found.setdefault(case["alertname"], []).append(bool(case["exp_alerts"]))
        return found

    def check_cases(self, where, alert):
        for fires, what in ((True, "in which it fires"), (False, "in which it stays silent")):
            if fires not in self.cases.get(alert, ()):
                self.report(where, f"there is no case {what}")

    def check_row(self, where, rule):
        """| `TxcoordX` | page | meaning | [section](operating.md#section) |"""
        anchor = rule.get("annotations", {}).get("runbook_url", "").partition("#")[2]
        row = re.search(rf"(?m)^\| `{rule['alert']}` \| (page|ticket) \|.*$", self.text_of(PAGE))
        if not row:
            self.report(where, f"{PAGE} has no row for it")
        elif row.group(1) != rule.get("labels", {}).get("severity") or f"(operating.md#{anchor})" not in row.group():
            self.report(where, f"its row in {PAGE} has another severity or another link")

    def check_recordings_are_used(self):
        expressions = [rule["expr"] for _, rule in self.alerts + self.recordings]
        expressions += [target["expr"] for dashboard in self.dashboards.values() for panel in dashboard["panels"]
                        for target in panel.get("targets", ())]
        used = {selector.metric for expression in expressions for selector in read(expression).selectors}
        for where, rule in self.recordings:
            if rule["record"] not in used:
                self.report(where, "nothing uses it")

    # --- dashboards -----------------------------------------------------------------------------
    def check_dashboards(self):
        uids = {}
        for name, dashboard in self.dashboards.items():
            if dashboard["uid"] in uids:
                self.report(name, f"has the uid of {uids[dashboard['uid']]}")
            uids[dashboard["uid"]] = name
            self.check_variables(name, dashboard)
            self.check_places(name, dashboard["panels"])
            for annotation in dashboard["annotations"]["list"]:
                self.check_query(f"{name}: annotation {annotation['name']}", annotation, {})
            for panel in dashboard["panels"]:
                if panel["type"] != "row":
                    self.check_panel(f"{name}: {panel['title']}", panel)

    def check_variables(self, name, dashboard):
        variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
        used = set(VARIABLE.findall(json.dumps([dashboard["panels"], dashboard["annotations"]])))
        used |= set(VARIABLE.findall(json.dumps([v.get("datasource") for v in variables.values()])))
        for variable in sorted(used ^ set(variables)):
            self.report(name, f"the variable {variable} is {'used' if variable in used else 'declared'} only")
        if variables.get("datasource", {}).get("type") != "datasource":
            self.report(name, "it has no variable that chooses the data source")
        for variable in variables.values():
            if variable["type"] == "query" and variable["datasource"] != DATASOURCE:
                self.report(name, f"the variable {variable['name']} has a data source of its own")

    def check_places(self, name, panels):
        taken, ids = {}, set()
        for panel in panels:
            if panel["id"] in ids:
                self.report(name, f"two panels have the id {panel['id']}")
            ids.add(panel["id"])
            place = panel["gridPos"]
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                     for y in range(place["y"], place["y"] + place["h"])}
            if any(x >= 24 for x, _ in cells):
                self.report(name, f"{panel['title']} is wider than the page")
            for other in sorted({taken[cell] for cell in cells & set(taken)}):
                self.report(name, f"{panel['title']} lies over {other}")
            taken |= dict.fromkeys(cells, panel["title"])

    def check_panel(self, where, panel):
        if "Normal" not in panel.get("description", ""):
            self.report(where, "its description does not say what is normal")
        if not panel["fieldConfig"]["defaults"].get("unit"):
            self.report(where, "it has no unit")
        if panel.get("datasource") != DATASOURCE:
            self.report(where, "it does not use the variable for its data source")
        for link in panel.get("links", ()):
            found = RUNBOOK_LINK.fullmatch(link["url"])
            if not found or found.group(1) not in self.runbook:
                self.report(where, f"the runbook has no section {link['url']!r}")
        references = [target["refId"] for target in panel.get("targets", ())]
        if not references or len(set(references)) < len(references):
            self.report(where, "it has no query, or two of one name")
        for target in panel.get("targets", ()):
            self.check_query(where, target, target)

    def check_query(self, where, query, legend):
        if query.get("datasource") != DATASOURCE:
            self.report(where, "a query does not use the variable for its data source")
        labels = self.check_expression(where, query["expr"].replace("$__rate_interval", "5m"))
        if re.search(r"\[\d", query["expr"]):
            self.report(where, "a window is fixed: it does not follow the zoom")
        for label in LEGEND.findall(legend.get("legendFormat", "")):
            if label not in labels:
                self.report(where, f"its legend tells the label {label}, which it has not")


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2]
    problems = Checker(root).check()
    for problem in problems:
        print(problem)
    print(f"monitoring: {len(problems)} problems" if problems else "monitoring: what it names is there")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
