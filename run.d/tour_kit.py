"""What the tour (run.d/tour.py) stands on: the screen, a REST client that repeats what was
interrupted, the five databases through psql, and the coordinator's life.

Nothing here knows a step of the tour. Python's standard library only.
"""

import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
import urllib.parse

WIDTH = 100
SERVICES = ("order", "inventory", "payment", "shipping")


class Screen:
    """Prints; counts what was shown to be true and what was not. Colours on a terminal only."""

    def __init__(self):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace", line_buffering=True)
        self.colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self.checked = 0
        self.failures = []

    def paint(self, code, text):
        return f"\033[{code}m{text}\033[0m" if self.colours else text

    def step(self, number, total, title):
        print()
        print(self.paint("1;36", f"━━ {number}/{total}  {title} ".ljust(WIDTH, "━")))

    def say(self, text):
        """Narration: one paragraph, wrapped."""
        for line in textwrap.wrap(" ".join(text.split()), WIDTH):
            print(line)

    def quote(self, text, code="2"):
        """What a program printed, or what was sent: indented, as it is."""
        for line in text.rstrip("\n").split("\n"):
            print("    " + self.paint(code, line.rstrip()))

    def check(self, holds, text):
        self.checked += 1
        if holds:
            print("  " + self.paint("32", "✓ ") + text)
        else:
            self.failures.append(text)
            print("  " + self.paint("1;31", "✗ NOT SO: ") + text)
        return holds

    def columns(self, columns):
        """Lists of short lines side by side, one a service; the first line is the heading."""
        width = WIDTH // len(columns) - 2
        cells = [[cell for line in lines[1:] for cell in textwrap.wrap(line, width) or [""]] for lines in columns]
        headings = [self.paint("1", lines[0].ljust(width)) for lines in columns]
        print("    " + "  ".join(headings).rstrip())
        print("    " + "  ".join("─" * width for _ in columns))
        for row in range(max(len(lines) for lines in cells)):
            line = "  ".join((lines[row] if row < len(lines) else "").ljust(width) for lines in cells)
            print("    " + line.rstrip())


class Answer:
    """One REST answer."""

    def __init__(self, status, headers, body):
        self.status = status
        self.replayed = headers.get("Idempotency-Replayed") == "true"
        kind = headers.get("Content-Type", "")
        self.body = json.loads(body) if body and "json" in kind else {}

    def get(self, name):
        return self.body.get(name)


class ConnectionLost(Exception):
    """The outcome is not known: the request may have been carried out, or not."""


class Client:
    """REST over one connection a request, so that each failure belongs to one request."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port = parts.hostname, parts.port

    def once(self, method, path, body=None, key=None):
        """Raises ConnectionLost; never repeats anything."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=15)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if key:
            headers["Idempotency-Key"] = key
        try:
            payload = None if body is None else json.dumps(body, ensure_ascii=False).encode()
            connection.request(method, path, payload, headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionLost(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()

    def call(self, method, path, body=None, key=None, patience_s=20):
        """Repeats a call that was lost, unavailable (503) or is under way under its key: everything
        used here is safe to repeat, since PUT and GET are and a POST carries the same key each time."""
        give_up = time.monotonic() + patience_s
        while True:
            try:
                answer = self.once(method, path, body, key)
                again = answer.status == 503 or answer.get("reason") == "REQUEST_IN_FLIGHT"
                if not again or time.monotonic() > give_up:
                    return answer
            except ConnectionLost:
                if time.monotonic() > give_up:
                    raise
            time.sleep(0.2)


class Database:
    """One of the five databases, read through psql."""

    def __init__(self, psql, dsn):
        self.psql, self.dsn = psql, dsn

    def run(self, sql, options=(), variables=None):
        command = [self.psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", *options, "-d", self.dsn]
        for name, value in (variables or {}).items():
            command += ["-v", f"{name}={value}"]
        done = subprocess.run(command, input=sql, capture_output=True, text=True, timeout=30, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"psql: {done.stderr.strip()}")
        return done.stdout

    def rows(self, sql, **variables):
        """Rows as dicts. Variables are named :'name' in the SQL."""
        text = self.run(f"SELECT coalesce(json_agg(t), '[]') FROM ({sql}) t;", ("-A", "-t"), variables)
        return json.loads(text)

    def rows_free(self, sql):
        """Those of the rows that somebody who wants to write could lock now."""
        text = self.run(f"SELECT coalesce(json_agg(t), '[]') FROM ({sql} FOR UPDATE SKIP LOCKED) t;", ("-A", "-t"))
        return json.loads(text)

    def one(self, sql, **variables):
        """The only value of the only row, or None."""
        rows = self.rows(sql, **variables)
        return next(iter(rows[0].values())) if rows else None

    def listing(self, sql, **variables):
        """As psql shows it to a person."""
        return self.run(sql + ";", ("-P", "null=∅"), variables).rstrip()


class Coordinator:
    """The coordinator's process under the supervisor of ./run (see run.d/stack.sh): a crash_at file
    is taken by its next start, a hold file keeps a dead one down."""

    def __init__(self, state, client):
        self.state, self.client = pathlib.Path(state), client
        self.hold_file = self.state / "hold" / "coordinator"
        self.crash_file = self.state / "crash_at"

    def pid(self):
        """The process, or None: a number alone proves nothing, since numbers are used again."""
        try:
            pid = int((self.state / "run" / "coordinator.pid").read_text())
            command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if str(self.state / "txcoord.toml").encode() in command else None

    def ready(self):
        try:
            return self.client.once("GET", "/readyz").status == 200
        except ConnectionLost:
            return False

    def restart_armed(self, point):
        """Ends it and waits for the next one, which will SIGKILL itself at the crash point."""
        old = self.pid()
        self.crash_file.write_text(point)
        if old:
            os.kill(old, signal.SIGTERM)
        wait_for("the coordinator to start with a crash point", 30,
                 lambda: self.pid() not in (None, old) and not self.crash_file.exists() and self.ready())
        self.hold_file.touch()

    def wait_dead(self):
        wait_for("the coordinator to die", 15, lambda: self.pid() is None)

    def release(self):
        """Lets a held coordinator start again; returns at once."""
        self.hold_file.unlink(missing_ok=True)

    def leave(self):
        """Whatever happened: nothing held down, nothing armed for the next start."""
        self.release()
        self.crash_file.unlink(missing_ok=True)


def wait_for(what, seconds, condition):
    """Waits until condition() holds; returns the seconds it took. Raises TimeoutError."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.05)
    return time.monotonic() - begun
