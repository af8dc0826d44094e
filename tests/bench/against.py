#!/usr/bin/env python3
"""./run bench --against PROGRAM: this program beside another build of it, an older one as a rule. In turns, on the same
five databases, with the same orders: by two-phase commit on 1000 products and on 2, by sagas, and one client alone.

Started beside five private servers (run.d/with-pg.sh). This program's migrations are used: the other one must be able
to run on them, as in a rolling upgrade. Prints a table, and <state>/against.json with every measurement. Exit 1 when an
answer was not 2xx or the audit finds a violation.
"""
import argparse
import os
import statistics
import subprocess
import sys

from many_orders import finish_wrk, harness, load_rows, measure_and_audit, start_wrk

LOADS = {  # (for people, products, mode, one client alone?)
    "cold": ("two-phase commit, 1000 products", "cold", "2pc", False),
    "hot": ("two-phase commit, 2 products", "hot", "2pc", False),
    "saga": ("saga, 1000 products", "cold", "saga", False),
    "alone": ("two-phase commit, one client alone", "cold", "2pc", True),
}
WAYS = ("the other", "this one")


def arguments():
    parser = argparse.ArgumentParser(prog="./run bench --against", description=__doc__.split("\n", 1)[0])
    parser.add_argument("program", help="the other txcoord program")
    parser.add_argument("--rounds", type=int, default=5, help="medians over so many rounds (5)")
    parser.add_argument("--seconds", type=int, default=6, help="of each measurement, after 2 s of warm-up (6)")
    parser.add_argument("--connections", type=int, default=256, help="of wrk (256)")
    parser.add_argument("--loads", default=",".join(LOADS), help=f"some of {','.join(LOADS)} (all)")
    parser.add_argument("--check", action="store_true", help="say whether this can be measured, and end")
    options = parser.parse_args()
    if min(options.rounds, options.seconds, options.connections) < 1:
        parser.error("rounds, seconds and connections are 1 or more")
    options.loads = options.loads.split(",")
    for load in options.loads:
        if load not in LOADS:
            parser.error(f"--loads: there is no '{load}'; there are {', '.join(LOADS)}")
    if not os.access(options.program, os.X_OK) or os.path.isdir(options.program):
        parser.error(f"{options.program} is not a program")
    return options


def version(program):
    return subprocess.run([program, "--version"], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


class Bench:
    def __init__(self, options):
        self.options = options
        self.stack = harness.Stack()
        settings = {"engine.trim": True}
        self.coordinators = {"this one": self.stack.coordinator("this", settings),
                             "the other": self.stack.coordinator("other", settings, os.path.realpath(options.program))}
        load_rows(self.stack)

    def measure(self, way):
        """{load: result}; the program is started for it, and ended."""
        process = self.coordinators[way].start()
        found = {}
        for load in self.options.loads:
            _, variant, mode, alone = LOADS[load]
            clients = 1 if alone else self.options.connections
            for seconds in (2, self.options.seconds):
                found[load] = finish_wrk(start_wrk(process.port, variant, clients, seconds, mode))
        process.signal(15)
        process.wait_exit(30)
        return found


def table(rounds, loads):
    lines = ["| orders/s; the ratio within each round, its median and its range | the other | this one | ratio |",
             "|---|---|---|---|"]
    for load in loads:
        other, this = (statistics.median(each[way][load]["orders_per_s"] for each in rounds) for way in WAYS)
        ratios = sorted(each["this one"][load]["orders_per_s"] / each["the other"][load]["orders_per_s"]
                        for each in rounds)
        lines.append(f"| {LOADS[load][0]} | {other:,.0f} | {this:,.0f} | {statistics.median(ratios):.2f} "
                     f"({ratios[0]:.2f} to {ratios[-1]:.2f}) |")
    return "\n".join(lines)


def main():
    options = arguments()
    if options.check:
        return 0
    bench = Bench(options)
    programs = {way: version(process.binary) for way, process in bench.coordinators.items()}
    print("; ".join(f"{way}: {programs[way]}" for way in WAYS), flush=True)
    return measure_and_audit(options, bench, WAYS, bench.coordinators["this one"],
                             lambda rounds: table(rounds, options.loads), programs=programs)


if __name__ == "__main__":
    sys.exit(main())
