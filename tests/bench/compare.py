#!/usr/bin/env python3
"""./run compare: two-phase commit and saga beside each other and beside one database, by speed and by
what a reader could see in between. Started by run.d/compare.sh, which brings up the servers.

Writes report.html, results.json, runs.csv and verdicts.csv into <state>/compare, and runs.journal, from which
--continue goes on. Exit status 1 when anything lasting was wrong after any run: an order lost, torn for
good, stock or money not exact. 2: what was asked for cannot be done, or selects nothing.
"""
import dataclasses
import datetime
import hashlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import compare_options
import compare_plan
import compare_repeat
import compare_report
from compare_findings import Findings
from compare_journal import CannotContinue, Journal, check, read
from compare_runs import VARIANTS, NotAvailable, Runs


# --quick begins no run after this: with the servers' start and stop it ends within 3 minutes.
QUICK_SECONDS_MAX = 150


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
                         "warm_up": options.warm_up, "warm_up_max": options.warm_up_max, "seed": options.seed,
                         "observed_rounds": options.observed_rounds, "observer_ms": options.observer_ms},
            "rule": options.rule.in_words(), "pieces": 1, "flush_costs_ms": flush_costs(stack)}


def flush_costs(stack):
    """What commit_delay really delays: measured, at each setting that the plan uses."""
    server = stack.servers["payment"]
    costs = {}
    for delay in compare_plan.COMMIT_DELAYS_MS:
        server.set_commit_delay(1000 * delay)
        costs[f"{delay:g}"] = server.flush_costs()
    server.set_commit_delay(0)
    return costs


# What a row says of its place in the comparison; the rest is what was measured there.
STAMPED = ("round", "sweep", "x", "label", "variant", "seed", "observed")


def every_point(options):
    return compare_plan.quick() if options.quick else compare_plan.full()


def essence(point):
    """Points that differ in nothing but the sweep they stand in are measured once."""
    return dataclasses.replace(point, sweep="", x=0, label="", variants=())


class Comparison:
    """`journal`: has `rows`, those of earlier pieces among them, and add()."""

    def __init__(self, runs, options, journal):
        self.runs, self.options, self.journal = runs, options, journal
        self.unavailable = {}   # variant, or variant at point: why
        self.begun = time.monotonic()
        self.stopped = False
        self.done = 0
        places = {(point.sweep, point.x): point for point in every_point(options)}
        self.there = {self._key_of(row) for row in journal.rows}
        self.measured = {(row["round"] - 1, essence(places[row["sweep"], row["x"]]), row["variant"], row["observed"]):
                         {name: value for name, value in row.items() if name not in STAMPED} for row in journal.rows}
        self.total = len(self.missing())

    @property
    def rows(self):
        return self.journal.rows

    @staticmethod
    def _key_of(row):
        return row["round"], row["sweep"], row["x"], row["variant"], bool(row.get("observed"))

    def _plan(self):
        """(round from 0, point, variant, observed), in the order in which they are run."""
        for number in range(self.options.rounds):
            for place, point in enumerate(self.options.points):
                names = compare_plan.variants_of(point, self.options.variants)
                # Each round begins with another variant: nobody always runs in somebody's wake.
                turn = (number + place) % len(names)
                for name in names[turn:] + names[:turn]:
                    for observed in (False, True):
                        if not observed or compare_options.observes(self.options, number, point):
                            yield number, point, name, observed

    def missing(self):
        """What is still to be run; points that are the same stand there once."""
        return {(number, essence(point), name, observed) for number, point, name, observed in self._plan()
                if (number, essence(point), name, observed) not in self.measured}

    def run(self, after_round=lambda: None):
        last = 0
        for number, point, name, observed in self._plan():
            if number != last:
                after_round()
                last = number
            if (number + 1, point.sweep, point.x, name, observed) in self.there:
                continue
            key = (number, essence(point), name, observed)
            if key not in self.measured:
                if self._time_is_up(number):
                    break
                self.measured[key] = self._one(number, point, VARIANTS[name], observed)
            if self.measured[key] is not None:
                stamps = (number + 1, point.sweep, point.x, point.label, name, self.options.seed + number, observed)
                self.journal.add({**dict(zip(STAMPED, stamps)), **self.measured[key]})
        after_round()

    def _time_is_up(self, number):
        seconds = time.monotonic() - self.begun
        if self.options.quick and seconds > QUICK_SECONDS_MAX:
            self.unavailable[f"the rest of round {number + 1}"] = "this machine was too slow for all of it in 3 minutes"
            return True
        self.stopped = self.options.minutes is not None and seconds > 60 * self.options.minutes
        return self.stopped

    def _one(self, number, point, variant, observed):
        self.done += 1
        where = f"{variant.name} at {point.sweep} {point.label}"
        if variant.name in self.unavailable or where in self.unavailable:
            return None
        try:
            result = self.runs.run(variant, point, self.options.seed + number, observed)
        except NotAvailable as reason:
            self.unavailable[where if point.delay else variant.name] = str(reason)
            note(f"{where}: not available ({reason})")
            return None
        note(f"[{time.monotonic() - self.begun:4.0f} s, run {self.done} of {self.total}] round {number + 1}  "
             f"{where:42} {compare_report.run_in_words(result)}{'  observed' if observed else ''}")
        return result


def open_journal(stack, options):
    identity = identity_of(options, os.environ["TXC_BIN"])
    path = stack.state / "runs.journal"
    if not options.goes_on:
        return Journal(path, identity, about(stack, options))
    journal = Journal.continued(path, identity)
    journal.head["context"]["settings"].update(rounds=options.rounds, observed_rounds=options.observed_rounds)
    journal.head["context"]["pieces"] += 1
    return journal


def identity_of(options, program):
    contents = hashlib.sha256(pathlib.Path(program).read_bytes()).hexdigest()
    return compare_options.identity(options, os.environ.get("TXC_REVISION", ""), contents)


def all_points(options, rows):
    """Those of this piece, and those of earlier pieces, in the plan's order."""
    there = {(row["sweep"], row["x"]) for row in rows} | {(point.sweep, point.x) for point in options.points}
    return [point for point in every_point(options) if (point.sweep, point.x) in there]


def compare(stack, options):
    note("preparing the databases")
    stack.prepare()
    journal = open_journal(stack, options)
    context = journal.head["context"]
    before = context.get("seconds_in_all", 0)
    comparison = Comparison(Runs(stack, options, journal.rows), options, journal)
    note(f"{comparison.total} runs in {options.rounds} rounds"
         + (f"; {len(journal.rows)} are there from before" if journal.rows else ""))

    def report():  # after each round, so that an interrupted comparison has told what it knows
        if not journal.rows:
            return
        context["seconds_in_all"] = before + round(time.monotonic() - comparison.begun)
        context["rounds_done"] = max((row["round"] for row in journal.rows), default=0)
        compare_report.Report(stack.state, context, all_points(options, journal.rows), journal.rows,
                              comparison.unavailable, options.earlier).write()

    comparison.run(report)
    journal.close()
    return comparison


def main():
    options = compare_options.parse()
    if options.dry_run:
        return dry_run(options)
    from compare_stack import Stack
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what we started is ended
    stack = Stack()
    try:
        comparison = compare(stack, options)
    except CannotContinue as error:
        note(str(error))
        return 2
    finally:
        stack.close()
    rows = comparison.rows
    note(f"the report is {stack.state / 'report.html'}")
    if comparison.stopped:
        note(f"the time is up: {comparison.done} of {comparison.total} runs are done; the same command with --continue "
             "goes on")
    if options.earlier is not None:
        told = compare_report.repeated(options.earlier, Findings(all_points(options, rows), rows))
        note(f"against {options.against}: {compare_repeat.in_words(told)}")
    wrong = [row for row in rows if compare_report.lasting_of(row)]
    if wrong:
        note(f"{len(wrong)} runs left something wrong behind: the report says what")
    if not rows:
        note("nothing was measured")
    return 1 if wrong or not rows else 0


def dry_run(options):
    """What would be measured, without a server."""
    rows = []
    if options.goes_on:
        try:
            path = pathlib.Path(os.environ["TXC_STATE"], "runs.journal")
            head, rows = read(path)
            # Before the program is built its part cannot be held against anything.
            told = head["identity"]
            check(head, identity_of(options, os.environ["TXC_BIN"]) if "TXC_BIN" in os.environ else
                  compare_options.identity(options, told["revision"], told["program"]), path)
        except CannotContinue as error:
            note(str(error))
            return 2

    class Known:
        pass

    Known.rows = rows
    missing = Comparison(None, options, Known).missing()
    seconds = sum((point.seconds or options.seconds) + options.rule.least_s + 3 for _, point, _, _ in missing)
    print(f"{len(missing)} runs in {options.rounds} rounds, about {max(1, round(seconds / 60))} minutes: "
          f"{', '.join(dict.fromkeys(point.sweep for point in options.points))}; {', '.join(options.variants)}")
    print(f"when a run begins to count: {options.rule.in_words()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
