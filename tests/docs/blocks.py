"""The commands of the documents: fenced blocks of sh, sql and console, and SQL between the lines.

A block that cannot be run by itself says why, in a comment on the line above its fence:
<!-- not run: REASON -->
"""
import dataclasses
import pathlib
import re
import textwrap

from check_docs import slug

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)$")
HEADING = re.compile(r"^#{1,6} +(.*)$")
NOT_RUN = re.compile(r"^ *<!-- not run: (.+) -->$")
COMMANDS = ("sh", "sql", "console")
ANSWER = re.compile(r"^HTTP/", re.MULTILINE)  # in a console: what was typed ends before it
INLINE = re.compile(r"(?<!`)`((?:SELECT|INSERT|UPDATE|DELETE|TABLE|COMMIT PREPARED|ROLLBACK PREPARED|GRANT|ALTER ROLE)\b"
                    r"[^`]*[^`\s])`(?!`)")
# Alone, such a word is a name in a sentence, not a statement.
STATEMENT = re.compile(r"^(SELECT\s+\S|INSERT INTO\s+\w+ |UPDATE\s+\w+ SET|DELETE FROM\s+\w+|TABLE\s+[a-z_]+$"
                       r"|(COMMIT|ROLLBACK) PREPARED '|GRANT .* TO |ALTER ROLE \w+ )")


@dataclasses.dataclass(frozen=True)
class Block:
    document: str
    section: str   # the anchor of its heading
    number: int    # among the commands of its section, from 1
    language: str
    text: str
    line: int
    not_run: str   # why; empty: it is run

    @property
    def id(self):
        return f"{self.document}#{self.section}/{self.number}"


def lines_of(root, document):
    return pathlib.Path(root, document).read_text(encoding="utf-8").splitlines()


def blocks(root, document):
    found, section, numbers, fence, why = [], "", {}, None, ""
    for number, line in enumerate(lines_of(root, document), 1):
        mark = FENCE.match(line)
        if fence:
            if line.strip() == "```":
                language, began, text = fence
                if language in COMMANDS:
                    numbers[section] = numbers.get(section, 0) + 1
                    typed = textwrap.dedent("\n".join(text)) + "\n"
                    if language == "console":
                        typed = ANSWER.split(typed)[0].removeprefix("$ ")
                    found.append(Block(document, section, numbers[section], language, typed, began, why))
                fence, why = None, ""
            else:
                fence[2].append(line)
        elif mark:
            fence = (mark["language"], number, [])
        elif heading := HEADING.match(line):
            section = slug(heading[1])
        elif reason := NOT_RUN.match(line):
            why = reason[1]
        elif line.strip():
            why = ""
    return found


def inline_sql(root, document):
    """(line, statement) of each statement that stands in a sentence."""
    text, fence = [], False
    for line in lines_of(root, document):
        if line.strip().startswith("```"):
            fence = not fence
            text.append("")
        else:
            text.append("" if fence else line)
    whole = "\n".join(text)
    return [(whole[:found.start()].count("\n") + 1, re.sub(r"\s+", " ", found[1]))
            for found in INLINE.finditer(whole) if STATEMENT.match(found[1])]
