#!/usr/bin/env python3
"""./run bench --apart: what it costs that each participant is a service of its own. The same coordinator,
databases and load, in turns: with all four participants in its process, and with four services over HTTP.

Started beside five private servers (run.d/with-pg.sh). Prints a table, and <state>/apart.json with every
measurement. Exit 1 when an answer was not 2xx or the audit finds a violation.
"""
import argparse
import statistics
import sys

from many_orders import PRODUCTS, finish_wrk, harness, load_rows, measure_and_audit, start_wrk

SHAPES = ("one process", "services apart")


def arguments():
    parser = argparse.ArgumentParser(prog="./run bench --apart", description="one process beside services apart")
    parser.add_argument("--rounds", type=int, default=5, help="medians over so many rounds (5)")
    parser.add_argument("--seconds", type=int, default=8, help="of each measurement, after 2 s of warm-up (8)")
    parser.add_argument("--connections", type=int, default=256, help="of wrk (256)")
    parser.add_argument("--check", action="store_true", help="say whether this can be measured, and end")
    options = parser.parse_args()
    if min(options.rounds, options.seconds, options.connections) < 1:
        parser.error("rounds, seconds and connections are 1 or more")
    return options


class Bench:
    def __init__(self, options):
        self.options = options
        self.stack = harness.Stack(apart=True)
        services = self.stack.services
        self.coordinators = {}
        for shape in SHAPES:
            self.stack.services = services if shape == "services apart" else {}
            self.coordinators[shape] = self.stack.coordinator(shape.split()[0], {"engine.trim": True})
        self.services = services
        load_rows(self.stack)

    def wrk(self, port, variant, connections, seconds):
        return finish_wrk(start_wrk(port, variant, connections, seconds))

    def measure(self, shape):
        """{measurement: result}; everything is started for it, and ended."""
        self.stack.services = self.services if shape == "services apart" else {}
        coordinator = self.coordinators[shape].start()
        found = {}
        for variant in PRODUCTS:
            self.wrk(coordinator.port, variant, self.options.connections, 2)
            found[variant] = self.wrk(coordinator.port, variant, self.options.connections, self.options.seconds)
        found["alone"] = self.wrk(coordinator.port, "cold", 1, max(1, self.options.seconds // 2))
        for process in (coordinator, *self.stack.services.values()):
            process.signal(15)
            process.wait_exit(30)
        return found


def table(rounds):
    def median(value):
        return statistics.median(value(each) for each in rounds)

    lines = ["| | one process | services apart | ratio |", "|---|---|---|---|"]
    for what, label in (("cold", "1000 products, orders/s"), ("hot", "2 products, orders/s")):
        one, apart = (median(lambda each, s=shape: each[s][what]["orders_per_s"]) for shape in SHAPES)
        ratio = median(lambda each: each[SHAPES[1]][what]["orders_per_s"] / each[SHAPES[0]][what]["orders_per_s"])
        lines.append(f"| {label} | {one:,.0f} | {apart:,.0f} | {ratio:.2f} |")
    for quantile in ("p50_ms", "p99_ms"):
        one, apart = (median(lambda each, s=shape: each[s]["alone"][quantile]) for shape in SHAPES)
        lines.append(f"| one client alone, {quantile[:3]} in ms | {one:.1f} | {apart:.1f} | {apart / one:.2f} |")
    return "\n".join(lines)


def main():
    options = arguments()
    if options.check:
        return 0
    bench = Bench(options)
    return measure_and_audit(options, bench, SHAPES, bench.coordinators["one process"], table)


if __name__ == "__main__":
    sys.exit(main())
