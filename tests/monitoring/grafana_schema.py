#!/usr/bin/env python3
"""Holds dashboards against Grafana's own types (npm's @grafana/schema, made into a JSON schema). Needs npm and its
network once: only where TXC_NPM=1 allows it, or it was fetched before; never by itself in ./run test.

As a command (./run check dashboards): prints what is wrong, exit code 1; 77 without npm."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

from programs import ROOT, SKIP

# One that Grafana 10 and 11 both read.
PACKAGES = ("@grafana/schema@11.6.0", "ts-json-schema-generator@2.3.0", "ajv@8.17.1")
FOLDER = pathlib.Path(os.environ.get("TXCOORD_DEPS_DIR") or ROOT / "build" / "deps") / "npm-grafana-schema"
SCRIPT = pathlib.Path(__file__).with_name("grafana_schema.mjs")


def _fetched():
    return (FOLDER / "fetched").exists()


def why_not():
    """Why it cannot be done here; None: it can."""
    if not shutil.which("npm") or not shutil.which("node"):
        return "dashboards are not held against Grafana's schema: npm is not installed"
    if not _fetched() and os.environ.get("TXC_NPM") != "1":
        return "dashboards are not held against Grafana's schema: set TXC_NPM=1 to let npm fetch it"
    return None


def _fetch():
    FOLDER.mkdir(parents=True, exist_ok=True)
    subprocess.run(["npm", "install", "--prefix", FOLDER, "--no-audit", "--no-fund", "--no-save", "--ignore-scripts",
                    *PACKAGES], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=300)
    (FOLDER / "fetched").touch()


def problems(files):
    """["overview.json: /panels/3: must …"]."""
    if not _fetched():
        _fetch()
    # Modules are looked for beside the script.
    script = shutil.copy(SCRIPT, FOLDER)
    done = subprocess.run(["node", script, *files], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=120, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def main():
    if why := why_not():
        print(f"skipped: {why}", file=sys.stderr)
        return SKIP
    files = sorted((ROOT / "monitoring" / "grafana" / "dashboards").glob("*.json"))
    try:
        wrong = problems(files)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as failed:
        print(f"npm could not fetch what is needed: {failed}", file=sys.stderr)
        return 1
    for problem in wrong:
        print(problem)
    print(f"dashboards: {len(wrong)} problems" if wrong else f"dashboards: Grafana's schema takes all {len(files)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
