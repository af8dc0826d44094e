"""A load program (load.cpp, one_database.cpp) as ./run compare runs it: its windows, the word that begins the
measured part, and its result.
"""
import json
import queue
import subprocess
import tempfile
import threading

EXIT_NOT_AVAILABLE = 3
# Windows come every half second; a program that is silent for so long hangs.
SILENT_SECONDS_MAX = 30


class NotAvailable(Exception):
    """The server does not offer what this run needs (501)."""


class LoadProgram:
    def __init__(self, command, window_s):
        self.command = command
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8")
        self.process = subprocess.Popen([*command, "--until-told", "--window", str(window_s)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def _line(self, seconds):
        """The next line; None at the end. Raises TimeoutError."""
        try:
            return self.lines.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(f"{self.command[0]} was silent for {seconds:g} s") from None

    def next_window(self):
        line = self._line(SILENT_SECONDS_MAX)
        if line is None:
            self._fail()
        return line["answers_in_window"]

    def waiting(self):
        return self.lines.qsize()

    def measure(self):
        self.process.stdin.write("measure\n")
        self.process.stdin.flush()

    def result(self, seconds):
        """The last line, once the program has ended. Raises NotAvailable."""
        last = None
        while (line := self._line(seconds)) is not None:
            last = line
        if self.process.wait(10) != 0 or last is None:
            self._fail()
        return last

    def _fail(self):
        code = self.process.wait(10)
        self.errors.seek(0)
        told = self.errors.read().strip()
        if code == EXIT_NOT_AVAILABLE:
            raise NotAvailable(told)
        raise RuntimeError(f"{self.command[0]} ended with {code}: {told}")

    def close(self):
        self.process.kill()
        self.process.wait(10)
        self.reader.join(10)
        for file in (self.process.stdin, self.process.stdout, self.errors):
            file.close()
