"""What the rows of ./run compare say: figures of a run, verdicts between variants, and sentences that are
made from them. Nothing here is known before the data are.
"""
from collections import defaultdict

from compare_stats import NOT_JUDGED, summary, too_wide, verdict
from compare_steady import falls_behind, why_not_steady

PAIRS = (("2pc", "saga"), ("2pc-textbook", "saga-textbook"), ("2pc", "one-database"), ("saga", "one-database"),
         ("2pc", "2pc-textbook"), ("saga", "saga-textbook"))


def at(row, *path):
    """A value deep in a run, or None."""
    for name in path:
        row = row.get(name) if isinstance(row, dict) else None
    return row


# Below this many answers a p99 is the word of one to five orders.
P99_ORDERS_MIN = 500


def p99(row):
    if (at(row, "latency_confirmed", "count") or 0) < P99_ORDERS_MIN:
        return None
    return at(row, "latency_confirmed", "p99_ms")


def undone_per_1000(row):
    """Orders whose stock was visibly taken and then given back, of a thousand."""
    counted = at(row, "between", "stock_held_then_freed", "count") or 0
    return 1000 * counted / row["orders"] if row["orders"] else None


def to_applied(row):
    """Until all four services show the order. A saga is answered when it is COMPLETED, one database when it
    has committed: there the answer is that moment."""
    if row["variant"].startswith("2pc"):
        return at(row, "between", "applied_latency", "p50_ms")
    return at(row, "latency_confirmed", "p50_ms")


# metric: (title, unit, of a row, higher is better)
METRICS = {
    "orders_per_s": ("orders confirmed", "orders/s", lambda r: r["orders_per_s"], True),
    "answers_per_s": ("orders answered, refusals too", "orders/s", lambda r: r["answers_per_s"], True),
    "p50_ms": ("latency to the answer, p50", "ms", lambda r: at(r, "latency_confirmed", "p50_ms"), False),
    "p99_ms": ("latency to the answer, p99", "ms", p99, False),
    "applied_p50_ms": ("latency until all services show it, p50", "ms", to_applied, False),
    "stock_locked_p50_ms": ("stock rows locked, p50", "ms",
                            lambda r: at(r, "between", "stock_locked", "p50_ms"), False),
    "window_p99_ms": ("in some services and not in others, p99", "ms",
                      lambda r: at(r, "between", "in_some_services_only", "p99_ms") or 0, False),
    "undone_per_1000": ("orders whose stock was taken, then freed", "of 1000", undone_per_1000, False),
    "silence_s": ("longest time without a confirmation", "s", lambda r: r["longest_silence_s"], False),
    "settle_s": ("until all that was under way had ended, after the fault", "s", lambda r: r.get("seconds_to_settle"),
                 False),
}
# What each sweep is judged and drawn by.
METRICS_OF = {
    "clients": ("orders_per_s", "p50_ms", "p99_ms", "applied_p50_ms"),
    "zipf": ("orders_per_s", "p50_ms", "p99_ms", "stock_locked_p50_ms"),
    "refused": ("answers_per_s", "p50_ms", "p99_ms", "undone_per_1000"),
    "delay": ("orders_per_s", "p50_ms", "p99_ms", "stock_locked_p50_ms", "window_p99_ms"),
    "rate": ("p50_ms", "p99_ms", "applied_p50_ms", "orders_per_s"),
    "commit_delay": ("orders_per_s", "p50_ms", "p99_ms", "window_p99_ms"),
    "failures": ("silence_s", "settle_s", "p99_ms"),
}


def lasting_of(row):
    """What was left wrong by a run: {} in a correct one."""
    found = {**row["lasting"], **row["balances"], "audit_violations": row.get("audit_violations", 0),
             "answers_no_client_should_get": at(row, "outcomes", "error") or 0}
    return {name: count for name, count in found.items() if count}


def lead(found):
    """(at least, at most) how many times one is the other, by the interval of the ratio; None when the verdict
    names no winner, or the ratio has none."""
    ratio = found["ratio"]
    if not ratio or found["winner"] in ("tie", NOT_JUDGED):
        return None
    low, high = ratio["low"], ratio["high"]
    return (low, high) if low >= 1 else (1 / high, 1 / low)


def certainly_apart(found):
    """By how much at least; 1 when that cannot be said."""
    times = lead(found)
    return times[0] if times else 1


# What grows for as long as a queue does.
LATENCIES = ("p50_ms", "p99_ms", "applied_p50_ms")
# What is only true of a run whose rate was steady. How long rows were locked and windows were open is counted
# order by order, whatever the rate did.
NEED_STEADY = (*LATENCIES, "orders_per_s", "answers_per_s")


def counts_for(row, metric):
    """'' when the row's value may stand for its variant; else why not."""
    if metric in NEED_STEADY and (why := why_not_steady(row)):
        return why
    return "falls behind" if metric in LATENCIES and falls_behind(row) else ""


def number(value):
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def with_interval(figures):
    """A median is never told without its interval, and where that is too wide not at all."""
    if figures is None:
        return "–"
    if figures["rounds"] < 2:
        return f"{number(figures['median'])} (one round)"
    interval = f"{number(figures['low'])} to {number(figures['high'])}"
    return f"{interval} (too wide)" if too_wide(figures) else f"{number(figures['median'])} ({interval})"


class Findings:
    def __init__(self, points, rows):
        """`rows`: all runs. Rates, latencies and what the commit timestamps tell are taken from those without the
        observer; what it saw, from the others (`observed`)."""
        self.points = points
        self.observed = [row for row in rows if row.get("observed")]
        self.rows = rows = [row for row in rows if not row.get("observed")]
        self.by_place = defaultdict(dict)  # (sweep, x, variant): {round: row}
        for row in rows:
            self.by_place[row["sweep"], row["x"], row["variant"]][row["round"]] = row
        self.rounds = sorted({row["round"] for row in rows})
        self.verdicts = [found for point in points for pair in PAIRS for metric in METRICS_OF[point.sweep]
                         if (found := self._verdict(point, pair, metric))]

    def values(self, sweep, x, variant, metric):
        """One a round, None where there is none that may stand for the variant. Where that is so in more than half
        of the rounds there is none at all."""
        rows = self.by_place.get((sweep, x, variant), {})
        of_row = METRICS[metric][2]
        if 2 * len(self.left_out(sweep, x, variant, metric)) > len(rows):
            return [None] * len(self.rounds)
        return [of_row(rows[r]) if r in rows and not counts_for(rows[r], metric) else None for r in self.rounds]

    def left_out(self, sweep, x, variant, metric):
        """{round: why its value does not count}."""
        rows = self.by_place.get((sweep, x, variant), {})
        return {r: why for r, row in rows.items() if (why := counts_for(row, metric))}

    def told(self, sweep, x, variant, metric):
        """A value for people: a median with its interval, or why there is none."""
        rows = self.by_place.get((sweep, x, variant), {})
        out = self.left_out(sweep, x, variant, metric)
        figures = self.summary(sweep, x, variant, metric)
        if not out or figures is None and 2 * len(out) <= len(rows):
            return with_interval(figures)
        whys = ", ".join(dict.fromkeys(out.values()))
        if figures is None:
            seen = [value for row in rows.values() if (value := METRICS[metric][2](row)) is not None]
            span = f": {' to '.join(dict.fromkeys((number(min(seen)), number(max(seen)))))}" if seen else ""
            return f"{whys} in {len(out)} of {len(rows)} rounds{span}"
        return f"{with_interval(figures)}, without {len(out)} of {len(rows)} rounds: {whys}"

    def summary(self, sweep, x, variant, metric):
        return summary(self.values(sweep, x, variant, metric))

    def _verdict(self, point, pair, metric):
        first, second = (self.values(point.sweep, point.x, name, metric) for name in pair)
        found = verdict(first, second, METRICS[metric][3])
        if found is None:
            return None
        winner = {"first": pair[0], "second": pair[1]}.get(found["winner"], found["winner"])
        return {"sweep": point.sweep, "x": point.x, "label": point.label, "connections": point.connections,
                "metric": metric, "pair": pair, **found, "winner": winner}

    def series(self, sweep, metric):
        """{variant: [(x, median, low, high)]} for a plot."""
        found = defaultdict(list)
        for point in self.points:
            if point.sweep != sweep:
                continue
            for variant in {row["variant"] for row in self.rows}:
                figures = self.summary(sweep, point.x, variant, metric)
                if figures:
                    found[variant].append((point.x, figures["median"], figures["low"], figures["high"]))
        return dict(found)

    # --- sentences ------------------------------------------------------------------------------
    def compared(self, found):
        """'2pc 4,910 orders/s (4,700 to 5,020), saga 1,203 (1,180 to 1,260): 3.9 to 4.2 times apart' of a verdict."""
        unit = METRICS[found["metric"]][1]
        a, b = with_interval(found["first"]), with_interval(found["second"])
        times = lead(found)
        apart = f": {number(times[0])} to {number(times[1])} times apart" if times else ""
        return f"{found['pair'][0]} {a} {unit}, {found['pair'][1]} {b}{apart}"

    def sentence(self, sweep, metric):
        """What a plot shows, in one sentence, from its verdicts."""
        for pair in PAIRS[:1] + PAIRS[2:4]:
            found = [v for v in self.verdicts if (v["sweep"], v["metric"], v["pair"]) == (sweep, metric, pair)]
            if found:
                break
        else:
            return "Too few rounds, variants or steady runs for a verdict."
        groups = defaultdict(list)
        for v in found:
            groups[v["winner"]].append(v["label"])
        title = METRICS[metric][0]
        words = {"tie": "a tie at {}", NOT_JUDGED: "not judged at {} (an interval is too wide)"}
        parts = [words.get(winner, winner + " is ahead at {}").format(", ".join(labels)) for winner, labels in groups.items()]
        told = f"{title[0].upper()}{title[1:]}: between {pair[0]} and {pair[1]}, {'; '.join(parts)}."
        certain = [v for v in found if v["winner"] in pair]
        if not certain:
            return told
        most = max(certain, key=certainly_apart)
        return f"{told} The most certain lead is at {most['label']}: {self.compared(most)}."

    def reasons_for(self, winner, loser):
        """Sentences for 'use `winner` when …': where it beat `loser`."""
        told = []
        for sweep in METRICS_OF:
            for metric in METRICS_OF[sweep]:
                won = [v for v in self.verdicts if v["sweep"] == sweep and v["metric"] == metric
                       and set(v["pair"]) == {winner, loser} and v["winner"] == winner]
                if won:
                    best = max(won, key=certainly_apart)
                    told.append((sweep, metric, [v["label"] for v in won], self.compared(best), best["label"]))
        return told

    def totals(self, variant, failures):
        """Sums over all runs of a variant, those with failures or those without; None without runs."""
        def of(rows):
            rows = [row for row in rows if row["variant"] == variant and bool(row.get("fault")) == failures]
            return list({(row["started_at"], row["seed"]): row for row in rows}.values())  # a shared point counts once

        rows, observed = of(self.rows), of(self.observed)
        if not rows:
            return None
        seen = defaultdict(int)  # stays empty where the observer took part in no run
        for row in observed:
            for counter, count in row["observer"]["counts"].items():
                seen[counter] += count
        exact = {name: sum(at(row, "between", name, "count") or 0 for row in rows) for name in (
            "in_some_services_only", "confirmed_before_whole", "stock_held_then_freed", "money_taken_then_given_back")}
        longest = {name: max((at(row, "between", name, "max_ms") or 0 for row in rows)) for name in exact}
        middle = {name: summary([at(row, "between", name, "p50_ms") for row in rows])
                  for name in (*exact, "stock_locked", "wallet_locked")}
        return {"runs": len(rows), "orders": sum(row["orders"] for row in rows), "exact": exact,
                "seen": dict(seen), "orders_observed": sum(row["orders"] for row in observed),
                "longest_ms": longest, "p50_ms": {name: s and s["median"] for name, s in middle.items()},
                "held_unit_seconds": sum(at(row, "between", "stock_held_unit_seconds") or 0 for row in rows),
                "taken_unit_seconds": sum(at(row, "between", "money_taken_unit_seconds") or 0 for row in rows),
                "wrong": sum(bool(lasting_of(row)) for row in rows),
                "unknown": sum(row["outcomes"].get("unknown", 0) for row in rows),
                "errors": sum(row["outcomes"].get("error", 0) for row in rows)}

    # --- how far the instruments can be trusted ---------------------------------------------------
    def steadiness(self, variant):
        """{runs, never, not_held, behind, warm_up: summary}; None without runs."""
        rows = [row for row in self.rows if row["variant"] == variant and "steadiness" in row]
        if not rows:
            return None
        whys = [why_not_steady(row) for row in rows]
        return {"runs": len(rows), "never": whys.count("never became steady"),
                "not_held": whys.count("did not stay steady"), "behind": sum(map(falls_behind, rows)),
                "warm_up": summary([row["warm_up_s"] for row in rows])}

    def observer_cost(self, variant):
        """What the observer took of a variant's rate, run by run in closed loops: {ratio: summary of rates with to
        rates without it, processors: its share of processor time}; None without such runs."""
        ratios, shares = [], []
        for row in self.observed:
            beside = self.by_place.get((row["sweep"], row["x"], row["variant"]), {}).get(row["round"])
            total = row["observer"]["processor_seconds_of_all"]
            if row["variant"] != variant or beside is None:
                continue
            if total:
                shares.append(row["observer"]["processor_seconds"] / total)
            if not row.get("offered_per_s") and beside["answers_per_s"]:
                ratios.append(row["answers_per_s"] / beside["answers_per_s"])
        if not shares:
            return None
        return {"ratio": summary(ratios), "processors": summary(shares)}
