#!/usr/bin/env python3
"""./run bench --apart: what it costs that each participant is a service of its own. The same coordinator,
databases and load, in turns: with all four participants in its process, and with four services over HTTP.

Started beside five private servers (run.d/with-pg.sh). Prints a table, and <state>/apart.json with every
measurement. Exit 1 when an answer was not 2xx or the audit finds a violation.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

import psycopg

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import stack as harness  # noqa: E402 (the path is set above)

PRODUCTS = {"cold": 1000, "hot": 2}
WALLETS = 10_000
SHAPES = ("one process", "services apart")


def arguments():
    parser = argparse.ArgumentParser(prog="./run bench --apart", description="one process beside services apart")
    parser.add_argument("--rounds", type=int, default=5, help="medians over so many rounds (5)")
    parser.add_argument("--seconds", type=int, default=8, help="of each measurement, after 2 s of warm-up (8)")
    parser.add_argument("--connections", type=int, default=256, help="of wrk (256)")
    options = parser.parse_args()
    if min(options.rounds, options.seconds, options.connections) < 1:
        parser.error("rounds, seconds and connections are 1 or more")
    return options


class Bench:
    def __init__(self, options):
        self.options, self.runs = options, 0
        self.stack = harness.Stack(apart=True)
        services = self.stack.services
        self.coordinators = {}
        for shape in SHAPES:
            self.stack.services = services if shape == "services apart" else {}
            self.coordinators[shape] = self.stack.coordinator(shape.split()[0], {"engine.trim": True})
        self.services = services
        self.load_rows()

    def load_rows(self):
        def sql(name, *statements):
            with psycopg.connect(self.stack.databases[name].dsn, autocommit=True) as session:
                for statement in statements:
                    session.execute(statement)

        for variant, products in PRODUCTS.items():
            sql("inventory",
                "INSERT INTO inventory (sku, title, category, unit_price, available) SELECT"
                f" '{variant}-' || n, 'Product', 'bench', 100, 1000000000 FROM generate_series(0, {products - 1}) n",
                "INSERT INTO stock_ledger (sku, delta, cause) SELECT sku, available, 'LOAD' FROM inventory"
                f" WHERE sku LIKE '{variant}-%'")
        sql("payment",
            "INSERT INTO wallets (customer_id, balance)"
            f" SELECT 'bench-' || n, 1000000000000 FROM generate_series(0, {WALLETS - 1}) n",
            "INSERT INTO wallet_ledger (customer_id, delta, cause) SELECT customer_id, balance, 'LOAD' FROM wallets")
        for name in self.stack.databases:
            sql(name, "VACUUM ANALYZE")

    def wrk(self, port, variant, connections, seconds):
        self.runs += 1
        settings = {"BENCH_RUN": f"run{self.runs}-{int(time.time())}", "BENCH_SKU_PREFIX": f"{variant}-",
                    "BENCH_PRODUCTS": str(PRODUCTS[variant]), "BENCH_WALLETS": str(WALLETS)}
        done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "--latency",
                               "-s", str(ROOT / "tests" / "bench" / "place_orders.lua"), f"http://127.0.0.1:{port}"],
                              env={**os.environ, **settings}, check=True, text=True, stdout=subprocess.PIPE)
        result = json.loads(re.search(r"^BENCH (\{.*\})$", done.stdout, flags=re.MULTILINE).group(1))
        if result["not_2xx"] or not result["answers"]:
            raise SystemExit(f"bench: answers that were not 2xx: {result}")
        return {"orders_per_s": result["answers"] / result["seconds"], "p50_ms": result["p50_ms"],
                "p99_ms": result["p99_ms"]}

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

    def run(self):
        rounds = []
        for number in range(self.options.rounds):
            print(f"bench: round {number + 1} of {self.options.rounds}", file=sys.stderr, flush=True)
            order = SHAPES if number % 2 == 0 else SHAPES[::-1]  # neither is always the first
            rounds.append({shape: self.measure(shape) for shape in order})
        return rounds


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
    bench = Bench(options)
    try:
        rounds = bench.run()
        report = bench.stack.run("audit", bench.coordinators["one process"])
    finally:
        bench.stack.close()
    print(table(rounds))
    print(report.stdout, end="")
    pathlib.Path(os.environ["TXC_REPORT"]).write_text(json.dumps({"options": vars(options), "rounds": rounds}, indent=1)
                                                      + "\n", encoding="utf-8")
    return report.returncode


if __name__ == "__main__":
    sys.exit(main())
