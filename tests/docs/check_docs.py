#!/usr/bin/env python3
"""Fails when the documents name something that is not there (any more).

Looked at: *.md in the root and docs/, outside of fenced blocks.

  `txcoord/engine/driver.cpp`          a path to a source file, or one that starts with a folder or
                                       file of the root: exists
  `path: name` or | `path` | `name` |  the name stands in that file; Class::method also as a
                                       definition or a declaration
  [text](docs/api.md#pages)            the file and the heading exist
  `txcoord_orders_total{mode}`         a metric of tests/unit/metrics_golden.txt
  `engine.lanes`                       a setting of txcoord.example.toml
  `./run demo`                         a command of ./run
  `txcoord audit --json`               a command of the program, and an option that one of them has

As a command: check_docs.py [ROOT]; prints what is wrong, exit code 1.
"""
import functools
import pathlib
import re
import sys

SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\[[^\]\[]*\]\(([^)\s]+)\)")
PATH = re.compile(r"[\w.\-]+(?:/[\w.\-]+)*/?")
PAIR = re.compile(r"(?P<path>[\w.\-]+(?:/[\w.\-]+)+): (?P<name>\S.*)")
PAIR_OF_CELLS = re.compile(r"\| `(?P<path>[\w.\-]+(?:/[\w.\-]+)+)` \| `(?P<name>[\w:~]+)` \|")
METRIC = re.compile(r"(txcoord_[a-z_]+)(?:\{.*\})?")
SETTING = re.compile(r"(?:http|engine|log|participants\.\w+)\.[a-z_]+")
RUN = re.compile(r"\./run ([a-z]+)\b.*")
PROGRAM = re.compile(r"txcoord ([a-z][a-z-]*)\b(.*)")
COMMAND_LINE = "txcoord/cli/command_line.cpp"
# Made by the build or by a run, or placeholders: never in the source tree.
NOT_IN_TREE = re.compile(r"(build|\.local)/|.*(<|>|…|NNNN|\*)")
SOURCE = re.compile(r"\w[\w.\-]*(/[\w.\-]+)+\.(cpp|hpp|md|py|sh|sql|txt)")
# CMake targets and database names look like metrics; their own prefixes tell them apart.
NOT_METRICS = re.compile(r"txcoord_(protocol|base|pg|participants|log|engine|http|audit|order|inventory|payment"
                         r"|shipping|bench_one_database|bench_load)$")
SAMPLE_SUFFIX = re.compile(r"_(bucket|sum|count)$")


def prose(text):
    """(line number, line) of everything outside of fenced blocks."""
    fence = None
    for number, line in enumerate(text.splitlines(), 1):
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark and (fence is None or line.strip().startswith(fence)):
            fence = None if fence else mark.group(1)
            continue
        if fence is None:
            yield number, line


def slug(heading):
    """GitHub's anchor of a heading."""
    heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(text):
    found = set()
    for _, line in prose(text):
        heading = re.match(r"#{1,6}\s+(.*)", line)
        if not heading:
            continue
        anchor, again = slug(heading.group(1)), 0
        while anchor in found:
            again += 1
            anchor = f"{slug(heading.group(1))}-{again}"
        found.add(anchor)
    return found


class Checker:
    def __init__(self, root):
        self.root = pathlib.Path(root).resolve()
        self.tops = {entry.name for entry in self.root.iterdir()} - {".git", "build", ".local"}
        self.problems = []

    def documents(self):
        return sorted([*self.root.glob("*.md"), *self.root.glob("docs/**/*.md")])

    def check(self):
        for document in self.documents():
            for number, line in prose(document.read_text(encoding="utf-8")):
                where = f"{document.relative_to(self.root)}:{number}"
                for pair in PAIR_OF_CELLS.finditer(line):
                    self.check_pair(where, pair["path"], pair["name"])
                for span in SPAN.finditer(line):
                    self.check_span(where, span.group(1))
                for link in LINK.finditer(SPAN.sub("", line)):
                    self.check_link(where, document, link.group(1))
        return self.problems

    def report(self, where, what):
        self.problems.append(f"{where}: {what}")

    @functools.cache
    def text_of(self, path):
        return (self.root / path).read_text(encoding="utf-8", errors="replace")

    def words_of(self, path, pattern):
        """None where the file that would say it is not there: nothing can be checked against it."""
        if not (self.root / path).is_file():
            return None
        return set(re.findall(pattern, self.text_of(path), re.MULTILINE))

    def check_span(self, where, span):
        if pair := PAIR.fullmatch(span):
            if self.is_ours(pair["path"]):
                return self.check_pair(where, pair["path"], pair["name"])
        if command := RUN.fullmatch(span):
            commands = self.words_of("run", r"^  \./run ([a-z, ]+?)(?:  | \[| NAME)")
            known = commands is None or any(command.group(1) in words.split(", ") for words in commands)
            return None if known else self.report(where, f"./run has no command {command.group(1)}")
        if program := PROGRAM.fullmatch(span):
            return self.check_program(where, program.group(1), program.group(2))
        if metric := METRIC.fullmatch(span):
            return self.check_metric(where, metric.group(1))
        if SETTING.fullmatch(span):
            return self.check_setting(where, span)
        if self.is_ours(span) and not (self.root / span).exists():
            self.report(where, f"{span} does not exist")
        return None

    def is_ours(self, span):
        """Whether it reads as a path of this tree."""
        if NOT_IN_TREE.match(span) or not PATH.fullmatch(span):
            return False
        if SOURCE.fullmatch(span):
            return True  # also when its whole top folder is gone
        return span.split("/")[0] in self.tops and ("/" in span or "." in span)

    def check_pair(self, where, path, name):
        if not (self.root / path).is_file():
            return self.report(where, f"{path} does not exist")
        text = self.text_of(path)
        member = name.rsplit("::", 1)
        found = name in text
        if re.fullmatch(r"[\w:~]+", name):
            found = re.search(rf"\b{re.escape(name)}\b", text) is not None
            if not found and len(member) == 2:  # inside its class, or in its namespace
                found = re.search(rf"\b{re.escape(member[1])}\(", text) is not None and \
                    re.search(rf"\b{re.escape(member[0])}\b", text) is not None
        return None if found else self.report(where, f"{path} does not hold {name}")

    def check_program(self, where, command, rest):
        commands = self.words_of(COMMAND_LINE, r'\badd\("([a-z-]+)"')
        if commands is None:
            return
        if command not in commands:
            self.report(where, f"txcoord has no command {command}")
        known = self.words_of(COMMAND_LINE, r'"(--[a-z-]+)') | {"--help", "--version"}
        for option in re.findall(r"(?<!\S)(--[a-z-]+)", rest):
            if option not in known:
                self.report(where, f"txcoord has no option {option}")

    def check_metric(self, where, name):
        golden = self.words_of("tests/unit/metrics_golden.txt", r"\b(txcoord_\w+)\{")
        if golden is None or name in golden or SAMPLE_SUFFIX.sub("", name) in golden:
            return
        if not NOT_METRICS.match(name):
            self.report(where, f"{name} is no metric of tests/unit/metrics_golden.txt")

    def check_setting(self, where, name):
        if not (self.root / "txcoord.example.toml").is_file():
            return
        section, _, key = name.rpartition(".")
        if section.startswith("participants."):
            section = "participants.order"  # the four are alike; the example spells them out
        known, current = set(), ""
        for line in self.text_of("txcoord.example.toml").splitlines():
            if header := re.match(r"\[([\w.]+)\]", line):
                current = header.group(1)
            elif entry := re.match(r"#?([a-z_]+) = ", line):
                known.add((current, entry.group(1)))
        if (section, key) not in known:
            self.report(where, f"{name} is no setting of txcoord.example.toml")

    def check_link(self, where, document, target):
        if re.match(r"[a-z]+:", target):
            return  # another site: not ours to keep
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists():
            self.report(where, f"link to {target}: no such file")
        elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text(encoding="utf-8")):
            self.report(where, f"link to {target}: no such heading")


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2]
    problems = Checker(root).check()
    for problem in problems:
        print(problem)
    print(f"docs: {len(problems)} problems" if problems else "docs: what they name is there")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
