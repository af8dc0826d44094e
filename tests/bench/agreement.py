"""Whether the load generator of ./run compare and wrk tell the same of one stack, by rates measured in turns:
wrk, the load generator, wrk, in each round. The two runs of wrk say how far the stack agrees with itself;
without that no disagreement could be laid at an instrument's door.
"""
import statistics

from compare_stats import interval

# Two instruments may differ by this much, and wrk from itself, before nothing is judged.
SHARE_MAX = 0.15


def judge(rounds):
    """rounds: [(wrk before, load generator, wrk after)], orders/s. Returns (verdict, reason): "agree", "differ",
    or "not judged" because wrk itself did not tell the same twice."""
    ratios = [load / ((before + after) / 2) for before, load, after in rounds]
    itself = [after / before for before, _, after in rounds]
    ratio, (low, high) = statistics.median(ratios), interval(ratios)
    alone, (least, most) = statistics.median(itself), interval(itself)
    told = (f"load generator to wrk {ratio:.2f} ({low:.2f} to {high:.2f}), wrk to itself {alone:.2f} "
            f"({least:.2f} to {most:.2f})")
    if most / least > 1 + 2 * SHARE_MAX or abs(alone - 1) > SHARE_MAX:
        return "not judged", told
    return ("agree" if abs(ratio - 1) <= SHARE_MAX else "differ"), told


def judge_between(one, other):
    """The same for the ratio of two modes, `one` to `other`, each measured as above: does the load generator
    name the ratio that wrk names?"""
    def ratio(pick):
        return statistics.median(map(pick, one)) / statistics.median(map(pick, other))

    by_wrk, by_load = ratio(lambda r: (r[0] + r[2]) / 2), ratio(lambda r: r[1])
    told = f"ratio of the modes by wrk {by_wrk:.2f}, by the load generator {by_load:.2f}"
    return ("agree" if abs(by_load / by_wrk - 1) <= SHARE_MAX else "differ"), told
