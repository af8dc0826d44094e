#!/usr/bin/env python3
"""What the documents name is there; and the check finds each kind of thing that is not."""
import pathlib
import re
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from check_docs import Checker, anchors  # noqa: E402 (the path is set above)

ROOT = pathlib.Path(__file__).resolve().parents[2]
TREE = {
    "run": "  ./run demo [--no-wait]   the tour\n  ./run compare, prove     not built yet\n",
    "src/engine.cpp": "void Engine::start() {}\n",
    "src/engine.hpp": "namespace engine { class Driver { void stop(); }; }\n",
    "tests/unit/engine_test.cpp": 'TEST_CASE("it starts, and stops") {}\n',
    "tests/unit/metrics_golden.txt": "counter txcoord_orders_total{mode}\n",
    "txcoord/cli/command_line.cpp": 'add("audit", "x", y)->add_flag("--json", z); add("serve")->o("--config,-c");',
    "txcoord.example.toml": "#log_level = 1\n[engine]\n#lanes = 2\n[participants.order]\ndsn = 1\n",
    "docs/other.md": "# Other\n## What `it` does\n## Twice\n## Twice\n```\n## not a heading\n```\n",
}


class TheDocuments(unittest.TestCase):
    def test_name_only_what_is_there(self):
        checker = Checker(ROOT)
        self.assertGreater(len(checker.documents()), 5)
        self.assertEqual([], checker.check())


class NextSteps(unittest.TestCase):
    """What `txcoord audit` says after a violation leads to a page, and is written for a check that exists."""

    def test_lead_to_pages(self):
        text = (ROOT / "txcoord/audit/next_steps.cpp").read_text(encoding="utf-8")
        pages = re.findall(r"docs/operating\.md#([a-z0-9-]+): ", text)
        self.assertGreater(len(pages), 5)
        self.assertEqual([], [page for page in pages if page not in anchors(self.page())])
        sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "txcoord/audit").glob("*.cpp")
                          if path.name != "next_steps.cpp")
        checks = re.findall(r'^    \{"(\w+)", \w+\},$', text, re.MULTILINE)
        self.assertGreater(len(checks), 20)
        self.assertEqual([], [check for check in checks if f'"{check}"' not in sources])

    @staticmethod
    def page():
        return (ROOT / "docs/operating.md").read_text(encoding="utf-8")


class ExitCodes(unittest.TestCase):
    """The table in operating.md, the manual page and --help say the same of each code."""
    # What a script or a supervisor decides by: in each of the three.
    ESSENCE = {1: "audit: a violation", 2: "audit: a database could not be read, or orders did not come to rest",
               3: "a database is not what it must be", 4: "fenced", 134: "defect"}

    def test_are_the_same_everywhere(self):
        page = re.sub(r"\n\.(Cm|Nm) audit\n", " audit: ", self.read("packaging/txcoord.1")).replace("\n", " ")
        page = page.replace("found a violation", "a violation").replace("could not read a database",
                                                                        "a database could not be read")
        table = self.read("docs/operating.md").replace("`", "")
        usage = re.sub(r'"\s*"', "", re.search(r'"Exit codes: [^;]*', self.read("txcoord/cli/command_line.cpp"))[0])
        for code, essence in self.ESSENCE.items():
            with self.subTest(code):
                for text, entry in ((table, rf"\| {code} \|[^|]*"), (page, rf"\.It {code} .*?(?=\.It|\.El)"),
                                    (usage, rf"\b{code} [a-z].*?(?=, \d|\.\")")):
                    found = re.search(entry, text)
                    self.assertIsNotNone(found, text[:300])
                    self.assertIn(essence, found[0].lower())

    def test_that_the_page_lists_are_those_of_the_table(self):
        table = re.findall(r"(?m)^\| (\d+) \| [^|]*\| [^|]*\|$", self.read("docs/operating.md").split("## Health")[0])
        page = re.findall(r"(?m)^\.It (\d+)$", self.read("packaging/txcoord.1"))
        self.assertEqual(table, page)

    @staticmethod
    def read(path):
        return (ROOT / path).read_text(encoding="utf-8")


class TheCheck(unittest.TestCase):
    def problems(self, text):
        with tempfile.TemporaryDirectory() as folder:
            for name, content in {**TREE, "docs/page.md": text}.items():
                file = pathlib.Path(folder, name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(content, encoding="utf-8")
            return Checker(folder).check()

    def accepts(self, text):
        self.assertEqual([], self.problems(text))

    def finds(self, text, problem):
        self.assertEqual([f"docs/page.md:1: {problem}"], self.problems(text))

    def test_paths(self):
        self.accepts("`src/engine.cpp`, `src/`, `run`, `src/*_test.cpp`, `build/release/program`, `and/or`")
        self.finds("`src/gone.cpp`", "src/gone.cpp does not exist")
        self.finds("`gone/with/its_folder.cpp`", "gone/with/its_folder.cpp does not exist")

    def test_names_in_a_file(self):
        self.accepts("`src/engine.cpp: Engine::start` and `src/engine.hpp: Driver::stop`")
        self.accepts("`tests/unit/engine_test.cpp: it starts, and stops`")
        self.finds("`src/engine.cpp: Engine::halt`", "src/engine.cpp does not hold Engine::halt")
        self.finds("`src/engine.cpp: Engine::star`", "src/engine.cpp does not hold Engine::star")
        self.finds("`tests/unit/engine_test.cpp: it halts`", "tests/unit/engine_test.cpp does not hold it halts")

    def test_names_in_the_next_cell(self):
        self.accepts("| 1 | `src/engine.cpp` | `Engine::start` | it starts |")
        self.finds("| 1 | `src/engine.cpp` | `Engine::halt` | it halts |",
                   "src/engine.cpp does not hold Engine::halt")

    def test_links(self):
        self.accepts("[a](other.md) [b](../src/engine.cpp) [c](other.md#what-it-does) [d](other.md#twice-1) "
                     "[e](https://example.org/x)")
        self.finds("[a](gone.md)", "link to gone.md: no such file")
        self.finds("[a](other.md#not-a-heading)", "link to other.md#not-a-heading: no such heading")

    def test_metrics_settings_and_commands(self):
        self.accepts("`txcoord_orders_total{mode=\"2pc\"}` `txcoord_orders_total_count` `engine.lanes` "
                     "`participants.payment.dsn` `./run demo --no-wait` `./run prove`")
        self.finds("`txcoord_order_total`", "txcoord_order_total is no metric of tests/unit/metrics_golden.txt")
        self.finds("`engine.lane`", "engine.lane is no setting of txcoord.example.toml")
        self.finds("`./run fast`", "./run has no command fast")

    def test_commands_of_the_program(self):
        self.accepts("`txcoord audit --json`, `txcoord serve --config FILE`, `txcoord --version`, `txcoord`")
        self.finds("`txcoord repair`", "txcoord has no command repair")
        self.finds("`txcoord audit --fix`", "txcoord has no option --fix")

    def test_fenced_blocks_are_not_looked_at(self):
        self.accepts("```sh\ncat `src/gone.cpp`\n```")


if __name__ == "__main__":
    unittest.main(verbosity=2)
