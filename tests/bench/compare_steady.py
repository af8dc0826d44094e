"""When a run of ./run compare has become steady: decided from its own rate, by one rule for every variant.

The load program tells how many answers came in each window (tests/bench/told.hpp). Once the tables hold
some orders, statistics are taken (ANALYZE), as autovacuum does on a database that is in use: what was
counted before does not count. A run is steady when the answers of the last windows and those of as many
windows before them differ by no more than `share`, or by no more than chance explains (two standard
deviations of a Poisson count). The wait is bounded; a run that is never steady is measured all the same,
and called so.
"""
import math
from typing import NamedTuple


class Rule(NamedTuple):
    least_s: float             # of warm-up, whatever the rate does
    most_s: float              # then the run is measured, and called not steady
    window_s: float = 0.5
    windows: int = 4           # so many are held against so many before them
    share: float = 0.10        # by which they may differ
    statistics_after_s: float = 1.5

    def in_words(self):
        span = self.windows * self.window_s
        return (f"statistics are taken after {self.statistics_after_s:g} s; steady is a run when the answers of the last "
                f"{span:g} s and of the {span:g} s before differ by at most {100 * self.share:.0f} %, or by two standard "
                f"deviations of chance; at least {self.least_s:g} s, at most {self.most_s:g} s of warm-up")


def alike(before, after, share):
    """Whether two counts of equal time tell of one rate. No answers at all are no rate."""
    if after == 0:
        return False
    return abs(after - before) <= max(share * max(before, after), 2 * math.sqrt(before + after))


def steady(counts, rule):
    """Whether the answers of these windows, oldest first, tell of a steady rate."""
    if len(counts) < 2 * rule.windows:
        return False
    return alike(sum(counts[-2 * rule.windows:-rule.windows]), sum(counts[-rule.windows:]), rule.share)


def warm_up(next_window, waiting, take_statistics, rule):
    """Waits until the run is steady or the time is up. `next_window()` returns the answers of the next window
    when it has ended, `waiting()` how many windows have ended and were not asked for yet.
    Returns {steady, seconds, statistics_after_s, windows}."""
    windows, counted_from, statistics_after = [], None, None
    while True:
        windows.append(next_window())
        seconds = len(windows) * rule.window_s
        if statistics_after is None and seconds >= rule.statistics_after_s:
            take_statistics()
            statistics_after = seconds
            # What ended meanwhile, and the window that it ended in, were not undisturbed.
            counted_from = len(windows) + waiting() + 1
        is_steady = statistics_after is not None and steady(windows[counted_from:], rule)
        if seconds >= rule.most_s or (is_steady and seconds >= rule.least_s):
            return {"steady": is_steady, "seconds": round(seconds, 3), "statistics_after_s": statistics_after,
                    "windows": windows}


def held(timeline, warm_up_s, seconds, rule):
    """Whether the measured part kept its rate: its two halves are held against each other by the same rule.
    `timeline`: [confirmed, refused, others] of each tenth of a second from the start."""
    first, middle, end = (round(10 * at) for at in (warm_up_s, warm_up_s + seconds / 2, warm_up_s + seconds))
    answers = [step[0] + step[1] for step in timeline]
    return alike(sum(answers[first:middle]), sum(answers[middle:end]), rule.share)


def why_not_steady(row):
    """'' when the run was steady; else the reason, in a few words."""
    told = row.get("steadiness")
    if told is None:
        return ""
    if not told["steady"]:
        return "never became steady"
    if not row.get("fault") and not told["held"]:
        return "did not stay steady"
    return ""


def falls_behind(row):
    """Open loop: less was answered than was offered, by more than chance explains. Its queue, and with it
    every latency, grows for as long as the run lasts."""
    offered = row.get("offered_per_s") or 0
    if not offered or row.get("fault"):
        return False
    due = offered * row["seconds"]
    answered = row["answers_per_s"] * row["seconds"]
    return answered < 0.95 * due and due - answered > 2 * math.sqrt(due)
