"""What the benchmarks beside ./run bench share: a stack with many products and wallets, and wrk."""
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import psycopg

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import stack as harness  # noqa: E402 (the path is set above)

PRODUCTS = {"cold": 1000, "hot": 2}
WALLETS = 10_000
_run_number = 0


def load_rows(stack):
    """The products of both variants and the wallets, with their ledgers (I6)."""
    def sql(name, *statements):
        with psycopg.connect(stack.databases[name].dsn, autocommit=True) as session:
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
    for name in stack.databases:
        sql(name, "VACUUM ANALYZE")


def start_wrk(port, variant, connections, seconds, mode="2pc"):
    """A wrk that places orders; finish_wrk() gives its result."""
    global _run_number
    _run_number += 1
    settings = {"BENCH_RUN": f"run{_run_number}-{int(time.time())}", "BENCH_SKU_PREFIX": f"{variant}-",
                "BENCH_PRODUCTS": str(PRODUCTS[variant]), "BENCH_WALLETS": str(WALLETS), "BENCH_MODE": mode}
    return subprocess.Popen(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "--latency",
                             "-s", str(ROOT / "tests" / "bench" / "place_orders.lua"), f"http://127.0.0.1:{port}"],
                            env={**os.environ, **settings}, text=True, stdout=subprocess.PIPE)


def finish_wrk(wrk):
    """Every answer must be 2xx."""
    output = wrk.communicate()[0]
    if wrk.returncode != 0:
        raise SystemExit(f"bench: wrk ended with {wrk.returncode}")
    result = json.loads(re.search(r"^BENCH (\{.*\})$", output, flags=re.MULTILINE).group(1))
    if result["not_2xx"] or not result["answers"]:
        raise SystemExit(f"bench: answers that were not 2xx: {result}")
    return {"orders_per_s": result["answers"] / result["seconds"], "p50_ms": result["p50_ms"],
            "p99_ms": result["p99_ms"]}


def in_turns(count, ways, measure):
    """[{way: measure(way)} for each of `count` rounds]; no way is always the first."""
    rounds = []
    for number in range(count):
        print(f"bench: round {number + 1} of {count}", file=sys.stderr, flush=True)
        rounds.append({way: measure(way) for way in (ways if number % 2 == 0 else ways[::-1])})
    return rounds


def measure_and_audit(options, bench, ways, auditor, table, **results):
    """Measures the ways in turns, has everything that was ordered audited, prints table(rounds) and the audit's report,
    and writes all of it down. The audit's exit status."""
    try:
        rounds = in_turns(options.rounds, ways, bench.measure)
        report = bench.stack.run("audit", auditor)
    finally:
        bench.stack.close()
    print(table(rounds))
    print(report.stdout, end="")
    write_report(options, rounds=rounds, **results)
    return report.returncode


def write_report(options, **results):
    """The file that TXC_REPORT names: the options and every single measurement."""
    pathlib.Path(os.environ["TXC_REPORT"]).write_text(
        json.dumps({"options": vars(options), **results}, indent=1) + "\n", encoding="utf-8")
