"""What ./run compare is asked for, and whether that can be done: told before a server is started."""
import argparse

import compare_plan
import compare_repeat
from compare_runs import VARIANTS
from compare_steady import Rule

# full, quick
DEFAULTS = {"rounds": (5, 2), "seconds": (6.0, 1.2), "warm_up": (6.0, 1.5), "observed_rounds": (1, 1)}
# --warm-up-max, when it is not told: so much more than --warm-up.
MORE_WARM_UP = (14.0, 1.5)
# A quick look is content with a rougher rule.
QUICKLY = {"window_s": 0.2, "windows": 3, "share": 0.2, "statistics_after_s": 0.4}


def parser_of():
    parser = argparse.ArgumentParser(prog="./run compare", description="2PC and saga, side by side", allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="two rounds of short runs, a few points: within 3 minutes")
    parser.add_argument("--rounds", type=int, help="each point and variant so often, in turns (5; quick: 2)")
    parser.add_argument("--seconds", type=float, help="measured of each run (6; quick: 1.2)")
    parser.add_argument("--warm-up", type=float, metavar="S",
                        help="seconds before that at least (6; quick: 1.5); then until the rate is steady")
    parser.add_argument("--warm-up-max", type=float, metavar="S",
                        help="seconds before that at most (14 more than --warm-up; quick: 1.5 more)")
    parser.add_argument("--seed", type=int, default=20260101, help="of the orders; round n takes seed + n")
    parser.add_argument("--variants", help=f"a selection, with commas, of {', '.join(VARIANTS)}")
    parser.add_argument("--sweeps", help=f"a selection, with commas, of {', '.join(compare_plan.SWEEPS)}")
    parser.add_argument("--points", help="a selection, with commas, of the values that the sweeps go through: 1,256")
    parser.add_argument("--observed-rounds", type=int, metavar="N",
                        help="rounds in which each run is repeated with the observer (1; quick: the refused orders alone);"
                             " 0: no observer at all")
    parser.add_argument("--observer-ms", type=float, default=20, help="the observer's interval (20)")
    parser.add_argument("--minutes", type=float, help="begin no run after so long; --continue goes on from there")
    parser.add_argument("--continue", dest="goes_on", action="store_true",
                        help="go on with the comparison that stands in the state folder: same options, same program")
    parser.add_argument("--against", metavar="RESULTS",
                        help="a results.json of an earlier comparison: are the winners that it names ahead again?")
    parser.add_argument("--dry-run", action="store_true", help="say what would be measured, and end")
    return parser


def parse(arguments=None):
    """The options, `points` and `rule` among them. Ends the process with 2 when they ask for what cannot be
    done, or for nothing."""
    parser = parser_of()
    options = parser.parse_args(arguments)
    for name, values in DEFAULTS.items():
        if getattr(options, name) is None:
            setattr(options, name, values[options.quick])
    if options.warm_up_max is None:
        options.warm_up_max = options.warm_up + MORE_WARM_UP[options.quick]
    try:
        check_numbers(options)
        points = compare_plan.quick() if options.quick else compare_plan.full()
        sweeps, variants, places = (text.split(",") if text is not None else None
                                    for text in (options.sweeps, options.variants, options.points))
        options.points = compare_plan.select(points, sweeps, variants, VARIANTS, places)
        options.variants = variants or list(VARIANTS)
        # Before hours of measuring, and before our own results.json replaces it.
        options.earlier = compare_repeat.read_verdicts(options.against) if options.against else None
        if options.earlier is not None:
            check_against(options)
    except ValueError as error:
        parser.error(str(error))
    options.rule = Rule(options.warm_up, options.warm_up_max, **(QUICKLY if options.quick else {}))
    return options


def check_numbers(options):
    if options.rounds < 1:
        raise ValueError("--rounds: 1 or more")
    if options.seconds < 0.5:
        raise ValueError("--seconds: 0.5 or more")
    if options.warm_up < 0 or options.warm_up_max < max(options.warm_up, 0.5):
        raise ValueError("--warm-up: 0 or more, and --warm-up-max: not less, and 0.5 or more")
    if options.warm_up_max > 300:
        raise ValueError("--warm-up-max: 300 or less")
    if options.observer_ms < 1:
        raise ValueError("--observer-ms: 1 or more; without the observer: --observed-rounds 0")
    if not 0 <= options.observed_rounds <= options.rounds:
        raise ValueError("--observed-rounds: 0 to the number of rounds")
    if options.minutes is not None and options.minutes <= 0:
        raise ValueError("--minutes: more than 0")


def check_against(options):
    if options.rounds < 2:
        raise ValueError("--against needs 2 rounds or more: one round names no winner")
    here = {(point.sweep, point.x, point.connections) for point in options.points}
    common = [found for found in options.earlier
              if (found["sweep"], found["x"], found["connections"]) in here and set(found["pair"]) <= set(options.variants)]
    if not common:
        raise ValueError(f"--against {options.against}: none of its verdicts is about what this comparison measures")


def observes(options, number, point):
    """Whether the runs of this point are repeated with the observer in round `number` (from 0)."""
    return number < options.observed_rounds and (not options.quick or point.sweep in compare_plan.OBSERVED_QUICKLY)


def identity(options, revision, program):
    """What runs must have in common to stand in one comparison."""
    return {"quick": options.quick, "seconds": options.seconds, "warm_up": options.warm_up,
            "warm_up_max": options.warm_up_max, "seed": options.seed, "observer_ms": options.observer_ms,
            "revision": revision, "program": program}
