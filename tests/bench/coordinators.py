#!/usr/bin/env python3
"""./run bench --coordinators 2: what a second coordinator over the same databases costs, and brings.

In turns, on the same servers: one coordinator alone; the same beside one that merely lives; and both
loaded, each with as many connections as the one alone. On 1000 products and on 2. Started beside five private servers
(run.d/with-pg.sh). Prints a table, and <state>/coordinators.json with every measurement. Exit 1 when an
answer was not 2xx or the audit finds a violation.
"""
import argparse
import statistics
import sys

from many_orders import PRODUCTS, finish_wrk, harness, load_rows, measure_and_audit, start_wrk

WAYS = ("alone", "beside an idle one", "both loaded")


def arguments():
    parser = argparse.ArgumentParser(prog="./run bench --coordinators 2", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--coordinators", type=int, choices=(2,), default=2, help="how many (2)")
    parser.add_argument("--rounds", type=int, default=5, help="medians over so many rounds (5)")
    parser.add_argument("--seconds", type=int, default=8, help="of each measurement, after 2 s of warm-up (8)")
    parser.add_argument("--connections", type=int, default=256, help="of wrk, to each loaded coordinator (256)")
    parser.add_argument("--check", action="store_true", help="say whether this can be measured, and end")
    options = parser.parse_args()
    if min(options.rounds, options.seconds, options.connections) < 1:
        parser.error("rounds, seconds and connections are 1 or more")
    return options


class Bench:
    def __init__(self, options):
        self.options = options
        self.stack = harness.Stack()
        self.pair = [self.stack.coordinator(name, {"engine.trim": True}) for name in ("c1", "c2")]
        load_rows(self.stack)

    def load(self, processes, variant, seconds):
        running = [start_wrk(process.port, variant, self.options.connections, seconds)
                   for process in processes]
        return sum(finish_wrk(wrk)["orders_per_s"] for wrk in running)

    def measure(self, way):
        """{variant: orders/s}; everything is started for it, and ended."""
        started = self.pair if way != "alone" else self.pair[:1]
        for process in started:
            process.start()
        loaded = self.pair if way == "both loaded" else self.pair[:1]
        found = {}
        for variant in PRODUCTS:
            self.load(loaded, variant, 2)
            found[variant] = self.load(loaded, variant, self.options.seconds)
        for process in started:
            process.signal(15)
            process.wait_exit(30)
        return found


def table(rounds):
    lines = ["| orders/s, and the ratio to alone within each round | " + " | ".join(WAYS) + " |",
             "|---|" + "---|" * len(WAYS)]
    for variant, products in PRODUCTS.items():
        cells = []
        for way in WAYS:
            rate = statistics.median(each[way][variant] for each in rounds)
            ratio = statistics.median(each[way][variant] / each["alone"][variant] for each in rounds)
            cells.append(f"{rate:,.0f}" + (f" ({ratio:.2f})" if way != "alone" else ""))
        lines.append(f"| {products} products | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    options = arguments()
    if options.check:
        return 0
    bench = Bench(options)
    return measure_and_audit(options, bench, WAYS, bench.pair[0], table)


if __name__ == "__main__":
    sys.exit(main())
