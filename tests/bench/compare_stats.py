"""Medians, their spread, and who is named a winner: the statistics of ./run compare."""
import random
import statistics

RESAMPLES = 2000
# A winner must be ahead by this much; with fewer rounds than intervals need, by more.
ROUNDS_ENOUGH = 5
MARGIN, MARGIN_OF_FEW_ROUNDS = 0.05, 0.5
# An interval wider than this part of its median says too little for the median to stand for it.
WIDTH_MAX = 0.5
NOT_JUDGED = "not judged"


def resampled_medians(values, seed):
    generator = random.Random(seed)
    return sorted(statistics.median(generator.choices(values, k=len(values))) for _ in range(RESAMPLES))


def interval(values, seed=1):
    """Bootstrap 95 % interval of the median (percentile method). Source: Efron, 1979."""
    medians = resampled_medians(values, seed)
    return medians[int(0.025 * len(medians))], medians[int(0.975 * len(medians)) - 1]


def summary(values):
    """{median, low, high, min, max, rounds} or None."""
    values = [value for value in values if value is not None]
    if not values:
        return None
    low, high = interval(values)
    return {"median": statistics.median(values), "low": low, "high": high, "min": min(values), "max": max(values),
            "rounds": len(values)}


def too_wide(figures):
    """Whether the interval of a summary is too wide for its median to be told as the value, or judged."""
    return figures["high"] - figures["low"] > WIDTH_MAX * abs(figures["median"])


def verdict(first, second, higher_is_better):
    """Who wins by these values, one a round for each side, rounds in the same order: 'first', 'second', 'tie'
    or 'not judged'; None when there are less than two pairs. A winner is named only when the two medians'
    intervals do not overlap, the interval of the median difference within the rounds does not hold 0, and
    the margin is kept. Where an interval is too wide nothing is said, not even that it is a tie."""
    pairs = [(a, b) for a, b in zip(first, second) if a is not None and b is not None]
    if len(pairs) < 2:
        return None
    first, second = zip(*pairs)
    a, b = summary(first), summary(second)
    differences = [x - y for x, y in pairs]
    low, high = interval(differences)
    rounds = len(pairs)
    margin = MARGIN if rounds >= ROUNDS_ENOUGH else MARGIN_OF_FEW_ROUNDS
    smaller = min(a["median"], b["median"])
    apart = abs(a["median"] - b["median"]) > margin * smaller
    no_overlap = a["low"] > b["high"] or b["low"] > a["high"]
    winner = "tie"
    if too_wide(a) or too_wide(b):
        winner = NOT_JUDGED
    elif no_overlap and apart and (low > 0 or high < 0):
        winner = "first" if (a["median"] > b["median"]) == higher_is_better else "second"
    return {"winner": winner, "first": a, "second": b, "rounds": rounds,
            "difference": {"median": statistics.median(differences), "low": low, "high": high},
            "ratio": ratio_within_rounds(pairs)}


def ratio_within_rounds(pairs):
    """{median, low, high} of first to second, taken within each round; None where something is 0."""
    if not all(a > 0 and b > 0 for a, b in pairs):
        return None
    ratios = [a / b for a, b in pairs]
    low, high = interval(ratios)
    return {"median": round(statistics.median(ratios), 3), "low": round(low, 3), "high": round(high, 3)}
