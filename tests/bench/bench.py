#!/usr/bin/env python3
"""The measurements of ./run bench: txcoord behind REST beside one plain database, in turns, on the
same machine in the same minutes.

Started by run.d/bench.sh, which brings up the servers and the coordinator and sets TXC_STATE,
TXC_ROOT, TXC_URL, TXC_PSQL, TXC_ONE_DATABASE (the baseline program) and TXC_DSN_<NAME> (order,
inventory, payment, shipping, log; one: the baseline's database). Prints a table, writes
<state>/bench.json. Exit 1 when an answer was not 2xx or the audit finds a violation.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

SERVICES = ("order", "inventory", "payment", "shipping", "log")
HOT_PRODUCTS = 2
VARIANTS = ("cold", "hot")
CLIENT_COUNTS = (16, 32, 64)  # of the baseline: the best is taken
WAYS = ("plain", "statement")


def arguments():
    parser = argparse.ArgumentParser(prog="./run bench", description="txcoord beside one plain database")
    parser.add_argument("--rounds", type=int, default=3, help="medians over so many rounds (3)")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement (10)")
    parser.add_argument("--connections", type=int, default=256, help="of wrk (256)")
    parser.add_argument("--products", type=int, default=1000)
    parser.add_argument("--wallets", type=int, default=10000)
    parser.add_argument("--quick", action="store_true", help="one round of 3 s: to see that it works")
    parser.add_argument("--check", action="store_true", help="say whether this can be measured, and end")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 3
    if min(options.rounds, options.seconds, options.connections, options.wallets) < 1 or options.products < 2:
        parser.error("rounds, seconds, connections and wallets are 1 or more, products 2 or more")
    return options


def note(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


# --- processor time, by process ------------------------------------------------------------------

class Processors:
    """Processor seconds that the servers, the coordinator and everything have used so far."""

    TICK = os.sysconf("SC_CLK_TCK")

    def __init__(self, state):
        self.state = pathlib.Path(state)
        self.roots = {}
        for name in (*SERVICES, "one"):
            pid = int((self.state / "pg" / name / "postmaster.pid").read_text().split("\n", 1)[0])
            self.roots[f"postgres {name}"] = pid
        self.coordinator = int((self.state / "run" / "coordinator.pid").read_text())

    @staticmethod
    def stat(pid):
        """(parent, own ticks, ticks of children that ended) or None."""
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return None
        return int(fields[1]), int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])

    def used(self):
        table = {int(p.name): self.stat(p.name) for p in pathlib.Path("/proc").iterdir() if p.name.isdigit()}
        result = {}
        for name, root in self.roots.items():
            ticks = sum(row[1] for pid, row in table.items() if row and (pid == root or row[0] == root))
            result[name] = (ticks + (table[root][2] if table.get(root) else 0)) / self.TICK
        row = table.get(self.coordinator)
        result["coordinator"] = row[1] / self.TICK if row else 0
        load = os.times()
        result["load generator"] = load.children_user + load.children_system
        busy = [int(n) for n in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        result["whole machine"] = (sum(busy[:3]) + sum(busy[5:8])) / self.TICK
        return result

    @staticmethod
    def grown(before, after):
        """Processor seconds by process; those that used next to nothing are left out."""
        return {name: round(after[name] - before[name], 3) for name in after if after[name] - before[name] >= 0.02}


# --- the two sides ---------------------------------------------------------------------------------

class Bench:
    def __init__(self, options):
        self.options = options
        self.environment = os.environ
        self.url = self.environment["TXC_URL"]
        self.processors = None  # once the servers are loaded
        self.run_number = 0

    def sql(self, database, *commands, files=()):
        """Runs commands, then files, in one session."""
        command = [self.environment["TXC_PSQL"], "-XqAt", "-v", "ON_ERROR_STOP=1",
                   "-d", self.environment[f"TXC_DSN_{database.upper()}"]]
        for text in commands:
            command += ["-c", text]
        for file in files:
            command += ["-f", str(file)]
        environment = {**os.environ, "PGOPTIONS": "-c client_min_messages=error"}
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout

    def products(self, variant):
        return self.options.products if variant == "cold" else HOT_PRODUCTS

    def load(self):
        """Products and wallets with their ledger rows, the same on both sides; the baseline gets the
        tables of all five databases, each in a PostgreSQL schema of its own."""
        schemas = pathlib.Path(self.environment["TXC_ROOT"]) / "schemas"
        for service in SERVICES:
            self.sql("one", f'DROP SCHEMA IF EXISTS "{service}" CASCADE', f'CREATE SCHEMA "{service}"',
                     f'SET search_path = "{service}"', files=sorted((schemas / service).glob("[0-9]*.sql")))
        for variant in VARIANTS:
            stock = f"""
                INSERT INTO inventory (sku, title, category, unit_price, available)
                SELECT '{variant}-' || n, 'Product ' || n, 'bench', 100, 1000000000
                  FROM generate_series(0, {self.products(variant) - 1}) n"""
            ledger = f"""
                INSERT INTO stock_ledger (sku, delta, cause)
                SELECT sku, available, 'LOAD' FROM inventory WHERE sku LIKE '{variant}-%'"""
            self.sql("inventory", stock, ledger)
            self.sql("one", "SET search_path = inventory", stock, ledger)
        wallets = f"""
            INSERT INTO wallets (customer_id, balance)
            SELECT 'bench-' || n, 1000000000000 FROM generate_series(0, {self.options.wallets - 1}) n"""
        ledger = """
            INSERT INTO wallet_ledger (customer_id, delta, cause)
            SELECT customer_id, balance, 'LOAD' FROM wallets WHERE customer_id LIKE 'bench-%'"""
        self.sql("payment", wallets, ledger)
        self.sql("one", "SET search_path = payment", wallets, ledger)
        for database in (*SERVICES, "one"):
            self.sql(database, "VACUUM ANALYZE")
        self.processors = Processors(self.environment["TXC_STATE"])

    def metrics(self):
        with urllib.request.urlopen(self.url + "/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return {name: float(value) for name, value in
                re.findall(r"^(txcoord_[^\s]+) (\S+)$", text, flags=re.MULTILINE)}

    def measured(self, work):
        """Runs one measurement; adds what each process used of the processors meanwhile, and what an
        order cost its side, the load generator apart: that hardly depends on who else is at work."""
        before, begun = self.processors.used(), time.monotonic()
        result = work()
        wall = time.monotonic() - begun
        time.sleep(0.5)  # backends that have just ended: their parent has to count them first
        used = Processors.grown(before, self.processors.used())
        cost = sum(seconds for name, seconds in used.items() if name not in ("load generator", "whole machine"))
        result.update(processor_seconds=used, wall_seconds=round(wall, 3),
                      processor_us_per_order=round(1e6 * cost / max(result["orders"], 1), 1))
        return result

    def txcoord(self, variant, connections, seconds):
        self.run_number += 1
        settings = {"BENCH_RUN": f"run{self.run_number}-{int(time.time())}", "BENCH_SKU_PREFIX": f"{variant}-",
                    "BENCH_PRODUCTS": str(self.products(variant)), "BENCH_WALLETS": str(self.options.wallets)}
        script = pathlib.Path(__file__).with_name("place_orders.lua")
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s", "--latency",
                   "-s", str(script), self.url]

        def work():
            before = self.metrics()
            done = subprocess.run(command, env={**os.environ, **settings}, check=True, text=True,
                                  stdout=subprocess.PIPE)
            result = json.loads(re.search(r"^BENCH (\{.*\})$", done.stdout, flags=re.MULTILINE).group(1))
            after = self.metrics()
            grown = {name: value - before.get(name, 0) for name, value in after.items()}
            result.update(self.answers(grown), inside=self.inside(grown))
            result["orders"] = result["answers"] - result["not_2xx"]
            result["orders_per_s"] = round(result["orders"] / result["seconds"], 1)
            return result

        return self.measured(work)

    @staticmethod
    def answers(grown):
        """Answers by status, orders by outcome and reason: from the coordinator's own metrics."""
        by_status, by_outcome = {}, {}
        for name, count in grown.items():
            labels = dict(re.findall(r'(\w+)="([^"]*)"', name))
            if count and name.startswith("txcoord_http_requests_total") and labels["route"] == "/v1/orders":
                by_status[labels["code"]] = by_status.get(labels["code"], 0) + int(count)
            if count and name.startswith("txcoord_orders_total"):
                outcome = f"{labels['outcome']} {labels.get('reason', '')}".strip()
                by_outcome[outcome] = by_outcome.get(outcome, 0) + int(count)
        return {"by_status": by_status, "by_outcome": by_outcome}

    @staticmethod
    def inside(grown):
        """Means of the group's size and of each phase."""
        def mean(total, count):
            return round(grown.get(total, 0) / grown[count], 6) if grown.get(count) else None

        result = {"group_operations": mean("txcoord_group_operations_sum", "txcoord_group_operations_count")}
        for name in grown:
            found = re.fullmatch(r"txcoord_(phase|branch)_duration_seconds_count(\{.*\})", name)
            if found and grown[name]:
                labels = dict(re.findall(r'(\w+)="([^"]*)"', found.group(2)))
                key = " ".join(filter(None, (labels.get("participant"), labels.get("phase"))))
                seconds = mean(name.replace("_count{", "_sum{"), name)
                result[f"{key} ms"] = round(1000 * seconds, 3)
        return result

    def one_database(self, variant, way, clients, seconds):
        command = [self.environment["TXC_ONE_DATABASE"], "--dsn", self.environment["TXC_DSN_ONE"],
                   "--way", way, "--clients", str(clients), "--seconds", str(seconds), "--sku-prefix", f"{variant}-",
                   "--products", str(self.products(variant)), "--wallets", str(self.options.wallets)]

        def work():
            result = json.loads(subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout)
            del result["timeline"]
            return {**result, **result.pop("latency")}

        return self.measured(work)


# --- what is measured, and how it is told ----------------------------------------------------------

def fdatasync_ms(folder):
    """Median time to make 8 KiB durable: what every commit waits for on this disk."""
    with tempfile.TemporaryFile(dir=folder) as file:
        times = []
        for _ in range(200):
            file.seek(0)
            file.write(os.urandom(8192))
            file.flush()
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(1000 * (time.perf_counter() - begun))
    return round(statistics.median(times), 3)


def machine(bench):
    cpu = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text(), flags=re.MULTILINE)
    return {"processors": os.cpu_count(), "processor": cpu.group(1) if cpu else "unknown",
            "memory_gib": round(int(memory.group(1)) / 2**20, 1), "kernel": os.uname().release,
            "postgresql": bench.sql("one", "SHOW server_version").strip(),
            "fdatasync_8k_ms": fdatasync_ms(os.environ["TXC_STATE"]),
            "load_average_before": os.getloadavg()[0]}


def measure(bench, options):
    """{(side, variant, load): [one result a round]}, the two sides in turns."""
    results = {}

    def add(key, result):
        results.setdefault(key, []).append(result)
        note(f"  {' '.join(map(str, key)):42} {result['orders_per_s']:>8,.0f} orders/s   p50 {result['p50_ms']:.2f} ms")

    note("warming up")
    for variant in VARIANTS:
        bench.txcoord(variant, options.connections, min(3, options.seconds))
        bench.one_database(variant, "plain", 32, min(3, options.seconds))
    for number in range(1, options.rounds + 1):
        note(f"round {number} of {options.rounds}")
        for variant in VARIANTS:
            add(("txcoord", variant, options.connections), bench.txcoord(variant, options.connections, options.seconds))
            for way in WAYS:
                for clients in CLIENT_COUNTS:
                    add((way, variant, clients), bench.one_database(variant, way, clients, options.seconds))
        add(("txcoord", "cold", 1), bench.txcoord("cold", 1, options.seconds))
        for way in WAYS:
            add((way, "cold", 1), bench.one_database("cold", way, 1, options.seconds))
    return results


def medians(rounds):
    return {name: round(statistics.median(r[name] for r in rounds), 3)
            for name in ("orders_per_s", "p50_ms", "p90_ms", "p99_ms", "processor_us_per_order")}


def summarise(results, options):
    """One row for each thing measured; the ratio is taken within each round, then its median."""
    rows = []
    for variant in VARIANTS:
        ours = results[("txcoord", variant, options.connections)]
        rows.append({"side": "txcoord", "variant": variant, "load": options.connections, **medians(ours)})
        for way in WAYS:
            best = max(CLIENT_COUNTS, key=lambda n: medians(results[(way, variant, n)])["orders_per_s"])
            theirs = results[(way, variant, best)]
            ratio = statistics.median(a["orders_per_s"] / b["orders_per_s"] for a, b in zip(ours, theirs))
            rows.append({"side": f"one database, {way}", "variant": variant, "load": best, **medians(theirs),
                         "txcoord_is_times": round(ratio, 2)})
    for side in ("txcoord", *WAYS):
        name = side if side == "txcoord" else f"one database, {side}"
        rows.append({"side": name, "variant": "cold", "load": 1, **medians(results[(side, "cold", 1)])})
    return rows


def show(rows, results, options, about):
    print(f"\n{about['processors']} processors ({about['processor']}), PostgreSQL {about['postgresql']}, fsync on, "
          f"8 KiB durable in {about['fdatasync_8k_ms']} ms")
    print(f"medians of {options.rounds} rounds of {options.seconds:g} s; cold: {options.products} products, "
          f"hot: {HOT_PRODUCTS}; 2 items an order\n")
    print(f"{'':28} {'':5} {'clients':>7} {'orders/s':>9} {'p50 ms':>8} {'p99 ms':>8} "
          f"{'CPU µs/order':>13}   txcoord is")
    for row in rows:
        times = f"{row['txcoord_is_times']:.2f} times" if "txcoord_is_times" in row else ""
        print(f"{row['side']:28} {row['variant']:5} {row['load']:>7} {row['orders_per_s']:>9,.0f} "
              f"{row['p50_ms']:>8.2f} {row['p99_ms']:>8.2f} {row['processor_us_per_order']:>13,.0f}   {times}".rstrip())
    last = results[("txcoord", "cold", options.connections)][-1]
    print(f"\nin the last cold round: groups of {last['inside']['group_operations'] or 0:.1f} operations; "
          "processors kept busy:")
    for name, seconds in sorted(last["processor_seconds"].items(), key=lambda pair: -pair[1]):
        print(f"  {name:22} {seconds / last['wall_seconds']:5.2f}   {1e6 * seconds / last['orders']:6,.0f} µs an order")


def refusals(results):
    """What was not 2xx in all of txcoord's rounds."""
    not_2xx, lost, statuses, outcomes = 0, 0, {}, {}
    for (side, _, _), rounds in results.items():
        for result in rounds if side == "txcoord" else ():
            not_2xx += result["not_2xx"]
            lost += sum(result[name] for name in ("connect_errors", "read_errors", "write_errors", "timeouts"))
            for total, part in ((statuses, result["by_status"]), (outcomes, result["by_outcome"])):
                for name, count in part.items():
                    total[name] = total.get(name, 0) + count
    return {"not_2xx": not_2xx, "connection_errors_and_timeouts": lost, "by_status": statuses, "by_outcome": outcomes}


def main():
    options = arguments()
    if options.check:
        return 0
    bench = Bench(options)
    note(f"loading {options.products} products and {options.wallets} wallets, on both sides")
    bench.load()
    about = machine(bench)
    results = measure(bench, options)
    rows, other = summarise(results, options), refusals(results)
    show(rows, results, options, about)
    print(f"\nanswers by status: {other['by_status']}, by outcome: {other['by_outcome']}, "
          f"connection errors and timeouts: {other['connection_errors_and_timeouts']}")
    report = {"at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
              "revision": os.environ.get("TXC_REVISION", ""), "machine": about, "options": vars(options),
              "summary": rows, "answers": other,
              "rounds": [{"side": side, "variant": variant, "load": load, "results": rounds}
                         for (side, variant, load), rounds in results.items()]}
    target = pathlib.Path(os.environ["TXC_REPORT"])
    target.write_text(json.dumps(report, indent=1) + "\n")
    note(f"everything measured is in {target}")
    failed = other["not_2xx"] + other["connection_errors_and_timeouts"]
    if failed:
        note(f"{failed} answers were not 2xx")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
