"""How the commands of the documents are run: as they stand, in a folder of their own, with the programs that a
reader would have. Three things are put in their place, because a document cannot know them: the ports of the stack
that runs beside the test, identifiers that a document abbreviates by an ellipsis, and `serve`, which a reader leaves
running in a terminal."""
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]
import blocks as documents  # noqa: E402 (the path is set above)
import stack as harness  # noqa: E402
from ports import said_by  # noqa: E402
from servers import is_dead, send_signal, wait_until  # noqa: E402

ROOT = pathlib.Path(harness.ROOT)
DOCUMENTS = ("README.md", "docs/operating.md", "docs/databases.md", "docs/api.md")
RUN = {}  # by id of a block: the test that runs it

# Says which status each call got.
CURL = """#!/bin/bash
exec /usr/bin/curl -sS -w '\\n<%{http_code}>\\n' "$@"
"""
TXCOORD = """#!/bin/bash
# What serves goes on behind the commands that follow it, on free ports.
case "$1" in
    serve | participant) ;;
    *) exec "$TXC_DOCS_PROGRAM" "$@" ;;
esac
"$TXC_DOCS_PROGRAM" "$@" --set http.port=0 --set http.ports_file="$TXC_DOCS_FOLDER/ports" \\
    </dev/null >"$TXC_DOCS_FOLDER/$1.log" 2>&1 &
echo "$!" >"$TXC_DOCS_FOLDER/pid"
for ((i = 0; i < 200; i++)); do
    if grep -qx "pid=$!" "$TXC_DOCS_FOLDER/ports" 2>/dev/null; then exit 0; fi
    if ! kill -0 "$!" 2>/dev/null; then break; fi
    sleep 0.05
done
cat "$TXC_DOCS_FOLDER/$1.log" >&2
exit 1
"""


def runs(*ids):
    """A test that runs these blocks."""
    def remember(test):
        for one in ids:
            assert one not in RUN, f"{one} is run by {RUN[one]} already"
            RUN[one] = test.__qualname__
        return test
    return remember


def all_blocks():
    return [block for document in DOCUMENTS for block in documents.blocks(ROOT, document)]


def text_of(block_id):
    return next(block.text for block in all_blocks() if block.id == block_id)


class Reader:
    """Somebody who types what stands in the documents."""

    def __init__(self, dsns, port=None, admin_port=None):
        self._folder = tempfile.TemporaryDirectory(prefix="txcdocs.")
        self.folder = pathlib.Path(self._folder.name)
        self.port, self.admin_port = port, admin_port
        programs = self.folder / "bin"
        programs.mkdir()
        for name, text in (("curl", CURL), ("txcoord", TXCOORD)):
            (programs / name).write_text(text, encoding="utf-8")
            (programs / name).chmod(0o755)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("TXCOORD_", "PG"))},
            "PATH": f"{programs}:{os.environ['TXC_TEST_PGBIN']}:{os.environ['PATH']}", "HOME": str(self.folder),
            "PAGER": "cat", "LC_ALL": "C.UTF-8", "TXC_DOCS_PROGRAM": harness.BINARY,
            "TXC_DOCS_FOLDER": str(self.folder), **{name.upper(): dsn for name, dsn in dsns.items()}}

    def shell(self, text, folder=None, **variables):
        """What it printed. Raises AssertionError if a command fails."""
        if self.port:
            text = text.replace("localhost:8080", f"localhost:{self.port}")
            text = text.replace("localhost:8081", f"localhost:{self.admin_port}")
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=folder or self.folder, timeout=120,
                              env={**self.environment, **variables}, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{text}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def sql(self, dsn, text):
        """Rows as psql prints them without ornament. Raises AssertionError if a statement fails."""
        done = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", dsn], input=text, timeout=60,
                              env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{text}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def takes_ports_of_what_serves(self):
        pid = int((self.folder / "pid").read_text(encoding="ascii"))
        self.port, self.admin_port = said_by(self.folder / "ports", pid)

    def ends_what_serves(self):
        """SIGTERM, and its end."""
        pid = int((self.folder / "pid").read_text(encoding="ascii"))
        send_signal(pid, signal.SIGTERM)
        wait_until("it stops", lambda: is_dead(pid), 20)

    def close(self):
        self._folder.cleanup()


def statuses(printed):
    """Of the calls of curl, in their order."""
    return [int(code) for code in re.findall(r"^<(\d{3})>$", printed, re.MULTILINE)]
