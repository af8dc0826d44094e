"""What the rows of ./run compare say: figures of a run, verdicts between variants, and sentences that are
made from them. Nothing here is known before the data are.
"""
from collections import defaultdict

from compare_stats import summary, verdict

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


def apart(ratio):
    """How many times one is the other, whichever is larger; 1 when that cannot be said."""
    return max(ratio, 1 / ratio) if ratio else 1


def number(value):
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


class Findings:
    def __init__(self, points, rows):
        self.points, self.rows = points, rows
        self.by_place = defaultdict(dict)  # (sweep, x, variant): {round: row}
        for row in rows:
            self.by_place[row["sweep"], row["x"], row["variant"]][row["round"]] = row
        self.rounds = sorted({row["round"] for row in rows})
        self.verdicts = [found for point in points for pair in PAIRS for metric in METRICS_OF[point.sweep]
                         if (found := self._verdict(point, pair, metric))]

    def values(self, sweep, x, variant, metric):
        """One a round, None where there is none."""
        rows = self.by_place.get((sweep, x, variant), {})
        of_row = METRICS[metric][2]
        return [of_row(rows[r]) if r in rows else None for r in self.rounds]

    def summary(self, sweep, x, variant, metric):
        return summary(self.values(sweep, x, variant, metric))

    def _verdict(self, point, pair, metric):
        first, second = (self.values(point.sweep, point.x, name, metric) for name in pair)
        found = verdict(first, second, METRICS[metric][3])
        if found is None:
            return None
        winner = {"first": pair[0], "second": pair[1], "tie": "tie"}[found["winner"]]
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
        """'2pc 4,910 orders/s, saga 1,203 (4.1 times)' of a verdict."""
        unit = METRICS[found["metric"]][1]
        a, b = found["first"]["median"], found["second"]["median"]
        small, large = sorted((a, b))
        times = f", {number(large / small)} times apart" if small else ""
        return f"{found['pair'][0]} {number(a)} {unit}, {found['pair'][1]} {number(b)}{times}"

    def sentence(self, sweep, metric):
        """What a plot shows, in one sentence, from its verdicts (else from its medians)."""
        for pair in PAIRS[:1] + PAIRS[2:4]:
            found = [v for v in self.verdicts if (v["sweep"], v["metric"], v["pair"]) == (sweep, metric, pair)]
            if found:
                break
        else:
            return "Too few rounds or variants for a verdict."
        groups = defaultdict(list)
        for v in found:
            groups[v["winner"]].append(v["label"])
        title = METRICS[metric][0]
        parts = [f"{'a tie' if winner == 'tie' else winner + ' is ahead'} at {', '.join(labels)}"
                 for winner, labels in groups.items()]
        widest = max(found, key=lambda v: apart(v["ratio"]))
        return (f"{title[0].upper()}{title[1:]}: between {pair[0]} and {pair[1]}, {'; '.join(parts)}. "
                f"Furthest apart at {widest['label']}: {self.compared(widest)}.")

    def reasons_for(self, winner, loser):
        """Sentences for 'use `winner` when …': where it beat `loser`."""
        told = []
        for sweep in METRICS_OF:
            for metric in METRICS_OF[sweep]:
                won = [v for v in self.verdicts if v["sweep"] == sweep and v["metric"] == metric
                       and set(v["pair"]) == {winner, loser} and v["winner"] == winner]
                if won:
                    best = max(won, key=lambda v: apart(v["ratio"]))
                    told.append((sweep, metric, [v["label"] for v in won], self.compared(best), best["label"]))
        return told

    def totals(self, variant, failures):
        """Sums over all runs of a variant, those with failures or those without; None without runs."""
        rows = [row for row in self.rows if row["variant"] == variant and bool(row.get("fault")) == failures]
        rows = list({(row["started_at"], row["seed"]): row for row in rows}.values())  # a shared point counts once
        if not rows:
            return None
        seen = defaultdict(int)
        for row in rows:
            for counter, count in row["observer"]["counts"].items():
                seen[counter] += count
        exact = {name: sum(at(row, "between", name, "count") or 0 for row in rows) for name in (
            "in_some_services_only", "confirmed_before_whole", "stock_held_then_freed", "money_taken_then_given_back")}
        longest = {name: max((at(row, "between", name, "max_ms") or 0 for row in rows)) for name in exact}
        middle = {name: summary([at(row, "between", name, "p50_ms") for row in rows])
                  for name in (*exact, "stock_locked", "wallet_locked")}
        return {"runs": len(rows), "orders": sum(row["orders"] for row in rows), "seen": dict(seen), "exact": exact,
                "longest_ms": longest, "p50_ms": {name: s and s["median"] for name, s in middle.items()},
                "held_unit_seconds": sum(at(row, "between", "stock_held_unit_seconds") or 0 for row in rows),
                "taken_unit_seconds": sum(at(row, "between", "money_taken_unit_seconds") or 0 for row in rows),
                "wrong": sum(bool(lasting_of(row)) for row in rows),
                "unknown": sum(row["outcomes"].get("unknown", 0) for row in rows),
                "errors": sum(row["outcomes"].get("error", 0) for row in rows)}
