#!/usr/bin/env python3
"""./run compare: two-phase commit and saga beside each other and beside one database, by speed and by
what a reader could see in between. Started by run.d/compare.sh, which brings up the servers.

Writes report.html, results.json, runs.csv and verdicts.csv into <state>/compare. Exit status 1 when
anything lasting was wrong after any run: an order lost, torn for good, stock or money not exact.
"""
import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import compare_plan
import compare_repeat
import compare_report
from compare_findings import Findings
from compare_runs import VARIANTS, NotAvailable, Runs


# --quick begins no run after this: with the servers' start and stop it ends within 3 minutes.
QUICK_SECONDS_MAX = 130


def arguments():
    parser = argparse.ArgumentParser(prog="./run compare", description="2PC and saga, side by side")
    parser.add_argument("--quick", action="store_true", help="two rounds of short runs, a few points: within 3 minutes")
    parser.add_argument("--rounds", type=int, help="each point and variant so often, in turns (5; quick: 2)")
    parser.add_argument("--seconds", type=float, help="measured of each run (6; quick: 1.5)")
    parser.add_argument("--warm-up", type=float, help="seconds before that (2; quick: 0.5)")
    parser.add_argument("--seed", type=int, default=20260101, help="of the orders; round n takes seed + n")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="a selection, with commas")
    parser.add_argument("--sweeps", default=",".join(compare_plan.SWEEPS), help="a selection, with commas")
    parser.add_argument("--observer-ms", type=float, default=20, help="the observer's interval (20)")
    parser.add_argument("--against", metavar="RESULTS",
                        help="a results.json of an earlier comparison: are the winners that it names ahead again?")
    options = parser.parse_args()
    defaults = {"rounds": 2, "seconds": 1.5, "warm_up": 0.5} if options.quick else {"rounds": 5, "seconds": 6.0,
                                                                                   "warm_up": 2.0}
    for name, value in defaults.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.variants, options.sweeps = options.variants.split(","), options.sweeps.split(",")
    unknown = [name for name in options.variants if name not in VARIANTS]
    unknown += [name for name in options.sweeps if name not in compare_plan.SWEEPS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    if options.rounds < 1 or options.seconds < 0.5 or options.warm_up < 0 or options.observer_ms < 1:
        parser.error("rounds and observer-ms are 1 or more, seconds 0.5 or more")
    try:  # before hours of measuring, and before our own results.json replaces it
        options.earlier = compare_repeat.read_verdicts(options.against) if options.against else None
    except ValueError as error:
        parser.error(str(error))
    return options


def note(text):
    print(f"compare: {text}", file=sys.stderr, flush=True)


def about(stack, options):
    cpu = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text(encoding="utf-8"), re.MULTILINE)
    gnuplot = subprocess.run(["gnuplot", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {"at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "revision": os.environ.get("TXC_REVISION", ""), "postgresql": os.environ.get("TXC_POSTGRESQL", ""),
            "gnuplot": gnuplot, "python": sys.version.split()[0],
            "processors": os.cpu_count(), "processor": cpu.group(1) if cpu else "unknown",
            "memory_gib": round(int(memory.group(1)) / 2**20, 1), "kernel": os.uname().release,
            "load_average_before": os.getloadavg()[0],
            "settings": {"quick": options.quick, "rounds": options.rounds, "seconds": options.seconds,
                         "warm_up": options.warm_up, "seed": options.seed, "observer_ms": options.observer_ms},
            "flush_costs_ms": flush_costs(stack)}


def flush_costs(stack):
    """What commit_delay really delays: measured, at each setting that the plan uses."""
    server = stack.servers["payment"]
    costs = {}
    for delay in compare_plan.COMMIT_DELAYS_MS:
        server.set_commit_delay(1000 * delay)
        costs[f"{delay:g}"] = server.flush_costs()
    server.set_commit_delay(0)
    return costs


class Comparison:
    def __init__(self, runs, options, points):
        self.runs, self.options, self.points = runs, options, points
        self.rows = []
        self.unavailable = {}   # variant, or variant at point: why
        self.begun = time.monotonic()
        self.total = options.rounds * sum(len(self._variants(point)) for point in self._distinct())
        self.done = 0

    def _variants(self, point):
        return compare_plan.variants_of(point, self.options.variants)

    @staticmethod
    def _essence(point):
        return dataclasses.replace(point, sweep="", x=0, label="", variants=())

    def _distinct(self):
        """Points that differ in nothing but the sweep they stand in are measured once."""
        return {(self._essence(point), tuple(self._variants(point))): point for point in self.points}.values()

    def run(self, after_round=lambda: None):
        for number in range(self.options.rounds):
            measured = {}
            for place, point in enumerate(self.points):
                names = self._variants(point)
                # Each round begins with another variant: nobody always runs in somebody's wake.
                turn = (number + place) % len(names) if names else 0
                for name in names[turn:] + names[:turn]:
                    key = (self._essence(point), name)
                    if key not in measured:
                        measured[key] = self._one(number, point, VARIANTS[name])
                    if measured[key] is not None:
                        self.rows.append({"round": number + 1, "sweep": point.sweep, "x": point.x, "label": point.label,
                                          "variant": name, "seed": self.options.seed + number, **measured[key]})
            after_round()

    def _one(self, number, point, variant):
        self.done += 1
        where = f"{variant.name} at {point.sweep} {point.label}"
        if self.options.quick and time.monotonic() - self.begun > QUICK_SECONDS_MAX:
            self.unavailable[f"the rest of round {number + 1}"] = "this machine was too slow for all of it in 3 minutes"
            return None
        if variant.name in self.unavailable or where in self.unavailable:
            return None
        try:
            result = self.runs.run(variant, point, self.options.seed + number)
        except NotAvailable as reason:
            self.unavailable[where if point.delay else variant.name] = str(reason)
            note(f"{where}: not available ({reason})")
            return None
        latency = result["latency_confirmed"] or {"p50_ms": 0, "p99_ms": 0}
        wrong = compare_report.lasting_of(result)
        note(f"[{time.monotonic() - self.begun:4.0f} s, run {self.done} of about {self.total}] round {number + 1}  "
             f"{where:42} {result['orders_per_s']:>7,.0f} orders/s  p50 {latency['p50_ms']:7.2f}  "
             f"p99 {latency['p99_ms']:7.2f} ms" + (f"  LASTING: {wrong}" if wrong else ""))
        return result


def main():
    from compare_stack import Stack
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what we started is ended
    stack = Stack()
    points = compare_plan.quick() if options.quick else compare_plan.full()
    points = [point for point in points if point.sweep in options.sweeps]
    try:
        note("preparing the databases")
        stack.prepare()
        comparison = Comparison(Runs(stack, options), options, points)
        context = about(stack, options)
        note(f"about {comparison.total} runs in {options.rounds} rounds")

        def report():  # after each round, so that an interrupted comparison has told what it knows
            context["seconds_in_all"] = round(time.monotonic() - comparison.begun)
            context["rounds_done"] = max((row["round"] for row in comparison.rows), default=0)
            compare_report.Report(stack.state, context, points, comparison.rows, comparison.unavailable,
                                  options.earlier).write()

        comparison.run(report)
    finally:
        stack.close()
    note(f"the report is {stack.state / 'report.html'}")
    if options.earlier is not None:
        told = compare_report.repeated(options.earlier, Findings(points, comparison.rows))
        note(f"against {options.against}: {compare_repeat.in_words(told)}")
    wrong = [row for row in comparison.rows if compare_report.lasting_of(row)]
    if wrong:
        note(f"{len(wrong)} runs left something wrong behind: the report says what")
    if not comparison.rows:
        note("nothing was measured")
    return 1 if wrong or not comparison.rows else 0


if __name__ == "__main__":
    sys.exit(main())
