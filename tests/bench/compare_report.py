"""The output of ./run compare: report.html (self-contained), results.json and CSV files."""
import csv
import dataclasses
import html
import json
import statistics

import compare_plan
import compare_plots
import compare_repeat
from compare_findings import METRICS, METRICS_OF, Findings, at, lasting_of, number, with_interval
from compare_runs import VARIANTS
from compare_stats import MARGIN, MARGIN_OF_FEW_ROUNDS, ROUNDS_ENOUGH, WIDTH_MAX
from compare_steady import falls_behind, why_not_steady

# Which metrics of a sweep are drawn; the others stand in the table of verdicts.
DRAWN = {"clients": ("orders_per_s", "p50_ms"), "zipf": ("orders_per_s", "stock_locked_p50_ms"),
         "refused": ("answers_per_s", "undone_per_1000"), "delay": ("orders_per_s", "stock_locked_p50_ms"),
         "rate": ("p50_ms", "p99_ms"), "commit_delay": ("orders_per_s", "p50_ms")}
LOG_X = ("clients", "rate")
SEEN = {"seen_in_some_only": "in some services and not in others",
        "confirmed_without_part": "CONFIRMED, while a part was missing", "part_without_order": "a part, and no order",
        "money_without_goods": "payment, and no reservation", "goods_without_money": "reservation, and no payment",
        "reservation_undone": "a reservation that was undone later",
        "payment_undone": "a payment that was undone later",
        "shipment_undone": "a shipment that was undone later", "pending_then_failed": "PENDING, then FAILED",
        "confirmed_then_failed": "CONFIRMED, then FAILED"}
STYLE = """body{font:15px/1.5 sans-serif;max-width:62em;margin:2em auto;padding:0 1em;color:#111}
table{border-collapse:collapse;margin:1em 0;font-size:13px}td,th{border-bottom:1px solid #ccc;padding:.25em .6em;
text-align:right}td:first-child,th:first-child{text-align:left}figure{margin:1.5em 0;break-inside:avoid}
figcaption{max-width:48em}svg{width:100%;max-width:46em;height:auto}.wrong{background:#fdd}code{font-size:13px}
@media print{body{max-width:none;font-size:11pt}}"""


def escape(text):
    return html.escape(str(text))


def table(head, rows):
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def ratio_of(found):
    """Of a verdict; comparisons before this format had the ratio of the medians alone."""
    ratio = found["ratio"]
    return ratio["median"] if isinstance(ratio, dict) else ratio


def run_in_words(row):
    """One run, for its line of progress."""
    latency = row["latency_confirmed"] or {"p50_ms": 0, "p99_ms": 0}
    wrong = lasting_of(row)
    doubts = [why_not_steady(row), "falls behind" if falls_behind(row) else "", f"LASTING: {wrong}" if wrong else ""]
    return (f"{row['orders_per_s']:>7,.0f} orders/s  p50 {latency['p50_ms']:7.2f}  p99 {latency['p99_ms']:7.2f} ms  "
            f"steady after {row['warm_up_s']:4.1f} s" + "".join(f"  {doubt}" for doubt in doubts if doubt))


def repeated(earlier, findings):
    return compare_repeat.repeated(earlier, findings.verdicts, lambda metric: METRICS[metric][3])


class Report:
    """`earlier`: the verdicts of another comparison, to be held against this one's; or None."""

    def __init__(self, folder, context, points, rows, unavailable, earlier=None):
        self.folder, self.context, self.points, self.rows = folder, context, points, rows
        self.unavailable, self.earlier = unavailable, earlier
        self.findings = Findings(points, rows)
        self.sweeps = [sweep for sweep in compare_plan.SWEEPS if any(row["sweep"] == sweep for row in rows)]
        self.variants = [name for name in VARIANTS if any(row["variant"] == name for row in rows)]

    def write(self):
        results = {"context": self.context, "unavailable": self.unavailable,
                   "points": [dataclasses.asdict(point) for point in self.points],
                   "verdicts": self.findings.verdicts, "runs": self.rows}
        self._put("results.json", json.dumps(results, indent=1) + "\n")
        self._write_runs()
        self._write_verdicts()
        self._put("report.html", self._html())

    def _put(self, name, text):
        unfinished = self.folder / f"{name}.new"
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(self.folder / name)

    def _write_runs(self):
        with open(self.folder / "runs.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["round", "sweep", "x", "variant", "seed", "observed", "orders", "warm_up_s",
                             "not_steady", *METRICS, *SEEN, "lasting"])
            for row in self.rows:
                seen = at(row, "observer", "counts") or {}
                writer.writerow([row["round"], row["sweep"], row["x"], row["variant"], row["seed"],
                                 int(row["observed"]), row["orders"], round(row["warm_up_s"], 1),
                                 why_not_steady(row) or ("falls behind" if falls_behind(row) else ""),
                                 *(of_row(row) for _, _, of_row, _ in METRICS.values()),
                                 *(seen.get(name, "") for name in SEEN), sum(map(abs, lasting_of(row).values()))])

    def _write_verdicts(self):
        with open(self.folder / "verdicts.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["sweep", "x", "metric", "first", "second", "winner", "first_median", "first_low",
                             "first_high", "second_median", "second_low", "second_high", "difference",
                             "difference_low", "difference_high", "ratio", "ratio_low", "ratio_high", "rounds"])
            for v in self.findings.verdicts:
                writer.writerow([v["sweep"], v["x"], v["metric"], *v["pair"], v["winner"],
                                 *(v[side][name] for side in ("first", "second") for name in ("median", "low", "high")),
                                 *(v["difference"][name] for name in ("median", "low", "high")),
                                 *((v["ratio"] or {}).get(name, "") for name in ("median", "low", "high")),
                                 v["rounds"]])

    # --- the page -------------------------------------------------------------------------------
    def _html(self):
        parts = ["<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">"
                 f"<title>txcoord: 2PC and saga compared</title><style>{STYLE}</style>"
                 "<h1>Two-phase commit and saga, compared</h1>",
                 self._preamble(), self._exactness(), "<h2>What to trust</h2>", self._steadiness(),
                 self._observer_cost(), "<h2>Which to use</h2>", self._advice(), self._variants(),
                 *(self._sweep(sweep) for sweep in self.sweeps if sweep != "failures"),
                 self._failures(), "<h2>What a reader could see in between</h2>", self._visible(), self._seen(),
                 self._sampling(), "<h2>All verdicts</h2>", self._verdicts(), self._repeated(),
                 "<h2>How it was made</h2>", self._settings(), "</html>"]
        return "\n".join(part for part in parts if part)

    def _preamble(self):
        settings, about = self.context["settings"], self.context
        absent = "".join(f"<p><b>Not measured: {escape(name)}</b> ({escape(why)}).</p>"
                         for name, why in self.unavailable.items())
        return (f"<p>{escape(about['at'])}, {escape(about['revision'])}, {escape(about['postgresql'])}, "
                f"{about['processors']} processors ({escape(about['processor'])}). {len(self.rows)} runs: "
                f"{about['rounds_done']} of {settings['rounds']} rounds of {settings['seconds']:g} s, variants in turns, "
                "each run measured from when its rate was steady. Plots show medians, bars their bootstrap 95 % intervals. "
                f"In brackets: the interval; where it is wider than {100 * WIDTH_MAX:.0f} % of the median it stands "
                f"alone, and is not judged.</p>{absent}")

    def _exactness(self):
        wrong = [row for row in self.rows if lasting_of(row)]
        if not wrong:
            return (f"<p><b>After each of {len(self.rows)} runs stock and money were exact to the unit, no order was "
                    "lost, and nothing stood in some services only.</b></p>")
        rows = [[f"{row['variant']}, {row['sweep']} {row['label']}, round {row['round']}",
                 json.dumps(lasting_of(row))] for row in wrong]
        return (f"<div class=\"wrong\"><p><b>{len(wrong)} runs left something wrong:</b></p>"
                f"{table(['run', 'what'], rows)}</div>")

    def _steadiness(self):
        rows, named = [], []
        for name in self.variants:
            told = self.findings.steadiness(name)
            if told:
                rows.append([name, told["runs"], with_interval(told["warm_up"]), told["never"], told["not_held"],
                             told["behind"]])
        for row in self.findings.rows:
            why = why_not_steady(row) or ("falls behind what is offered" if falls_behind(row) else "")
            if why:
                named.append(f"{row['variant']} at {row['sweep']} {row['label']}, round {row['round']}: {why}")
        head = ["variant", "runs", "steady after, s", "never steady", "did not stay steady", "fell behind"]
        listed = f"<p>By name: {escape('; '.join(named))}.</p>" if named else ""
        return (f"<p>When a run begins to count is decided from its own rate, by one rule for all variants: "
                f"{escape(self.context['rule'])}. The two halves of the measured part are held against each other in the "
                "same way. The rate and latency of a run that is not steady do not count, nor does the latency of one that "
                "falls behind what it is offered; where that is more than half of a point's rounds, the table says so in "
                f"place of a value.</p>{table(head, rows)}{listed}")

    def _observer_cost(self):
        rows = []
        for name in self.variants:
            cost = self.findings.observer_cost(name)
            if cost:
                percent = {key: value if key == "rounds" else 100 * value for key, value in cost["processors"].items()}
                rows.append([name, with_interval(cost["ratio"]), f"{with_interval(percent)} %"])
        if not rows:
            return "<p>The observer took part in no run: what a reader saw is not counted.</p>"
        head = ["variant", "rate with the observer to rate without it",
                "its part of all processor time, its queries on the servers apart"]
        return ("<p>What the observer costs. Rates and latencies are taken in runs without it, what a reader saw in runs "
                f"with it, of the same orders.</p>{table(head, rows)}")

    def _advice(self):
        if not {"2pc", "saga"} <= set(self.variants):
            return "<p>2PC and saga were not both measured: there is nothing to advise.</p>"
        out = []
        for winner, loser, name in (("2pc", "saga", "2PC"), ("saga", "2pc", "saga")):
            reasons = self.findings.reasons_for(winner, loser)
            items = "".join(
                f"<li>{escape(METRICS[metric][0])} counts, at {escape(compare_plan.SWEEPS[sweep][0].lower())} "
                f"{escape(', '.join(labels))}: {escape(compared)} (at {escape(where)})</li>"
                for sweep, metric, labels, compared, where in reasons)
            out.append(f"<h3>Use {name} when</h3>" + (f"<ul>{items}</ul>" if items else
                                                      "<p>No point of this run names it as a winner.</p>"))
        return "".join(out) + self._advice_by_visibility()

    def _advice_by_visibility(self):
        told = []
        for name in ("2pc", "saga"):
            t = self.findings.totals(name, failures=False)
            if t is None:
                return ""
            exact, longest = t["exact"], t["longest_ms"]
            told.append(f"{name}: of {t['orders']:,} orders {exact['stock_held_then_freed']:,} held stock, and "
                        f"{exact['money_taken_then_given_back']:,} took money, that others could see taken and that "
                        f"was given back; {exact['confirmed_before_whole']:,} said CONFIRMED before all parts were "
                        f"there, for {number(longest['confirmed_before_whole'])} ms at most")
        return "<p>What is visible meanwhile, by the servers' commit timestamps. " + escape("; ".join(told)) + ".</p>"

    def _variants(self):
        rows = [[name, VARIANTS[name].what] for name in self.variants]
        return "<h2>The variants</h2>" + table(["variant", "what it does"], rows)

    def _sweep(self, sweep):
        title, x_title, _ = compare_plan.SWEEPS[sweep]
        out = [f"<h2>{escape(title)}</h2>"]
        if sweep == "commit_delay":
            out.append(self._commit_delay())
        for metric in DRAWN[sweep]:
            series = self.findings.series(sweep, metric)
            if not series:
                continue
            name, unit, _, _ = METRICS[metric]
            svg = compare_plots.lines(f"{sweep}-{metric}".replace("_", "-"), series, x_title, f"{name} ({unit})",
                                      log_x=sweep in LOG_X)
            told = self.findings.sentence(sweep, metric)
            out.append(f"<figure>{svg}<figcaption>{escape(told)}</figcaption></figure>")
        out.append(self._figures(sweep))
        return "".join(out)

    def _figures(self, sweep):
        """Every median of a sweep."""
        metrics = METRICS_OF[sweep]
        rows = []
        for point in self.points:
            for variant in self.variants:
                if point.sweep != sweep or not self.findings.by_place.get((sweep, point.x, variant)):
                    continue
                rows.append([f"{point.label}, {variant}",
                             *(self.findings.told(sweep, point.x, variant, metric) for metric in metrics)])
        return table(["", *(f"{METRICS[m][0]}, {METRICS[m][1]}" for m in metrics)], rows)

    def _commit_delay(self):
        rows = [[f"{delay} ms", *(number(costs[kind]) for kind in ("commit", "prepare", "commit_prepared"))]
                for delay, costs in self.context["flush_costs_ms"].items()]
        head = ["setting", "COMMIT", "PREPARE TRANSACTION", "COMMIT PREPARED"]
        return ("<p>Emulated by PostgreSQL's commit_delay with commit_siblings = 0 on every server: whoever flushes "
                "the log sleeps first, and who comes meanwhile shares the flush. Measured on the payment server before "
                f"the runs, one session, medians in ms:</p>{table(head, rows)}")

    def _failures(self):
        if "failures" not in self.sweeps:
            return ""
        out = ["<h2>Failures</h2>"]
        for point in (p for p in self.points if p.sweep == "failures"):
            rows = {row["variant"]: row for row in self.findings.rows if (row["sweep"], row["x"]) == ("failures", point.x)
                    and row["round"] == self.findings.rounds[0]}
            if not rows:
                continue
            fault = {name: ((row["fault"]["began_us"] / 1e6) - row["started_at"],
                            (row["fault"]["ended_us"] / 1e6) - row["started_at"]) for name, row in rows.items()}
            series = {name: [step[0] for step in row["timeline"]] for name, row in rows.items()}
            svg = compare_plots.timeline(f"failure-{point.fault}", series, fault, "orders confirmed a second")
            told = [f"{name}: nobody was confirmed for {number(row['longest_silence_s'])} s, all that was under way "
                    f"had ended {number(row['seconds_to_settle'])} s after the fault" for name, row in rows.items()]
            out.append(f"<figure>{svg}<figcaption>{escape(point.label)} ({point.rate:g} orders/s offered; grey: the "
                       f"fault; first round). {escape('; '.join(told))}.</figcaption></figure>")
        lost = sum(at(r, "lasting", "orders_lost") for r in self.rows if r["sweep"] == "failures")
        count = sum(r["sweep"] == "failures" for r in self.rows)
        wrong = sum(bool(lasting_of(r)) for r in self.rows if r["sweep"] == "failures")
        out.append(f"<p>Orders lost in {count} runs with a failure: {lost}. Runs that left a lasting anomaly: {wrong} "
                   "(txcoord audit included).</p>")
        return "".join(out) + self._figures("failures")

    def _visible(self):
        head = ["by the servers' commit timestamps, all runs without failures", *self.variants]
        totals = {name: self.findings.totals(name, failures=False) for name in self.variants}
        rows = [["orders", *(f"{t['orders']:,}" if t else "–" for t in totals.values())]]
        for key, title in (("in_some_services_only", "orders for a time in some services and not in others"),
                           ("confirmed_before_whole", "orders CONFIRMED before all parts were there"),
                           ("stock_held_then_freed", "orders that held stock, visibly, and then failed"),
                           ("money_taken_then_given_back", "orders that took money, visibly, and then failed")):
            rows.append([title, *(f"{t['exact'][key]:,}" if t else "–" for t in totals.values())])
            rows.append(["… for, p50 and longest, ms", *(f"{number(t['p50_ms'][key])}, {number(t['longest_ms'][key])}"
                                                         if t and t["exact"][key] else "–" for t in totals.values())])
        rows.append(["stock kept from others by orders that failed, unit seconds",
                     *(number(t["held_unit_seconds"]) if t else "–" for t in totals.values())])
        for key, title in (("stock_locked", "stock rows locked by an order's transaction, p50 ms"),
                           ("wallet_locked", "wallet rows locked, p50 ms")):
            rows.append([title, *(number(t["p50_ms"][key]) if t else "–" for t in totals.values())])
        rows.append(["runs that left something wrong", *(t["wrong"] if t else "–" for t in totals.values())])
        return table(head, rows)

    def _seen(self):
        head = ["seen by the observer, proven by two readings (with failures)", *self.variants]
        if not self.findings.observed:
            return ""
        told = {name: [self.findings.totals(name, failures) for failures in (False, True)] for name in self.variants}

        def cells(of):
            """Without failures, and in brackets with them; a dash where the observer took part in no run."""
            texts = {name: [f"{of(t):,}" if t and t["seen"] else None for t in pair] for name, pair in told.items()}
            return [(calm or "–") + (f" ({failed})" if failed else "") for calm, failed in texts.values()]

        rows = [["orders in the runs with the observer", *cells(lambda t: t["orders_observed"])]]
        rows += [[title, *cells(lambda t, counter=counter: t["seen"][counter])] for counter, title in SEEN.items()]
        return table(head, rows)

    def _sampling(self):
        found = [reader["interval_ms"] for row in self.findings.observed
                 for reader in row["observer"]["sampling"].values() if reader["interval_ms"]]
        if not found:
            return ""
        usual, rare = (statistics.median(interval[name] for interval in found) for name in ("p50", "p99"))
        return (f"<p>The observer read each database every {number(usual)} ms (median; p99 of a run: {number(rare)} "
                "ms). It counts only what two readings prove, so it misses most windows that are shorter than its interval: the commit timestamps above tell "
                "how many there were. Two-phase commit's windows lie between its COMMIT PREPAREDs, a saga's between "
                "its steps.</p>")

    def _verdicts(self):
        rows = [[f"{v['sweep']} {v['label']}: {METRICS[v['metric']][0]}", f"{v['pair'][0]} : {v['pair'][1]}",
                 *(f"{number(v[side]['median'])} [{number(v[side]['low'])}, {number(v[side]['high'])}]"
                   for side in ("first", "second", "difference")), v["winner"]]
                for v in self.findings.verdicts]
        return ("<p>A winner is named where the two medians' bootstrap 95 % intervals do not overlap, the interval of "
                f"the difference within the rounds does not hold 0, and the medians are {100 * MARGIN:.0f} % apart "
                f"({100 * MARGIN_OF_FEW_ROUNDS:.0f} % with fewer than {ROUNDS_ENOUGH} rounds, whose intervals say "
                "little). Where one of the two intervals is wider than "
                f"{100 * WIDTH_MAX:.0f} % of its median nothing is judged, not even a tie.</p>" +
                table(["", "pair", "first", "second", "difference", "winner"], rows))

    def _repeated(self):
        if self.earlier is None:
            return ""
        told = repeated(self.earlier, self.findings)
        rows = [[f"{v['sweep']} {v['label']}: {METRICS[v['metric']][0]}", f"{v['pair'][0]} : {v['pair'][1]}", v["winner"],
                 number(ratio_of(v)), f"{found['winner']}, {what}", number(ratio_of(found))]
                for kind, what in (("ahead", "ahead again by less"), ("not_ahead", "not ahead again"))
                for v, found in told[kind]]
        return ("<h2>Held against an earlier comparison</h2>"
                f"<p>{escape(compare_repeat.in_words(told).capitalize())}.</p>" +
                (table(["", "pair", "winner then", "ratio then", "now", "ratio now"], rows) if rows else ""))

    def _settings(self):
        flat = {**{k: v for k, v in self.context.items() if k not in ("settings", "flush_costs_ms")},
                **self.context["settings"]}
        runs = [[name, json.dumps(VARIANTS[name].settings) or "{}", VARIANTS[name].mode, VARIANTS[name].prefer]
                for name in self.variants]
        return (table(["", ""], flat.items()) +
                table(["variant", "settings over the defaults", "mode", "Prefer"], runs) +
                "<p>Each run: tables emptied and loaded (1000 products, 10,000 wallets), a checkpoint, a fresh "
                "coordinator, orders until the rate is steady, with statistics taken once meanwhile. Order i of a round is the same for every variant: two different products, quantities of "
                "1 or 2. The load generator, six servers and the coordinator, and in its runs the observer, share one machine.</p>")
