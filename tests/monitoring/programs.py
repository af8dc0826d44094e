"""Finds the programs of the monitoring that the tests run: what is on the PATH, or unpacked beside the other
dependencies (the Debian package would start a server for the whole machine where it is installed)."""
import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(os.environ.get("TXCOORD_ROOT") or pathlib.Path(__file__).resolve().parents[2])
SKIP = 77  # what ctest takes as "skipped"


def find(name):
    """The program's path, or None."""
    dependencies = pathlib.Path(os.environ.get("TXCOORD_DEPS_DIR") or ROOT / "build" / "deps")
    return shutil.which(name) or shutil.which(name, path=dependencies / "prefix" / "bin")


def run(*command, folder=None):
    """(exit status, what it said). GOGC: promtool makes a database for each case, and would spend a third of the
    time on collecting what is gone in a moment."""
    done = subprocess.run(command, cwd=folder, env={"GOGC": "400", **os.environ}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=200, check=False)
    return done.returncode, done.stdout
