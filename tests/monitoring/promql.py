"""Reads PromQL as far as the checks need it: which metrics with which matchers, inside which functions,
grouped by which labels. Whether it is PromQL at all, promtool says.

Also the documented substitutions by which the live test shows in a minute what takes hours in use."""
import dataclasses
import re

TOKEN = re.compile(r"""
    (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
  | (?P<range>\[[^\]]*\])
  | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
  | (?P<number>[0-9.]+(?:e[+-]?[0-9]+)?[a-z]*)
  | (?P<mark>=~|!~|!=|==|>=|<=|[-+*/%^<>=(){},])
  | (?P<space>\s+)""", re.VERBOSE)
LISTS_LABELS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
WORDS = LISTS_LABELS | {"and", "or", "unless", "bool", "offset", "inf", "nan"}
AGGREGATORS = {"sum", "max", "min", "avg", "count", "group", "stddev", "stdvar", "topk", "bottomk", "quantile",
               "count_values"}


@dataclasses.dataclass
class Selector:
    """txcoord_x{label="value"}; `within`: the functions around it, outermost first."""
    metric: str
    matchers: list
    within: tuple

    def aggregator(self):
        """The innermost aggregation around it, or None."""
        return next((name for name in reversed(self.within) if name in AGGREGATORS), None)


class NotUnderstood(ValueError):
    """Not in the part of PromQL that is read here."""


def tokens(expression):
    position, found = 0, []
    while position < len(expression):
        match = TOKEN.match(expression, position)
        if not match:
            raise NotUnderstood(f"at {expression[position:position + 20]!r}")
        position = match.end()
        if match.lastgroup != "space":
            found.append((match.lastgroup, match.group()))
    return found


class Reading:
    """One expression, read: `selectors` and the labels that it groups by."""

    def __init__(self, expression):
        self.selectors, self.grouped_by = [], set()
        self._tokens, self._at = tokens(expression), 0
        self._around, self._calls = [], None
        while self._at < len(self._tokens):
            self._read()

    def _take(self):
        self._at += 1
        return self._tokens[self._at - 1]

    def _next_is(self, mark):
        return self._at < len(self._tokens) and self._tokens[self._at][1] == mark

    def _read(self):
        kind, text = self._take()
        if text == "(":
            self._around.append(self._calls)
            self._calls = None
        elif text == ")":
            if not self._around:
                raise NotUnderstood("a bracket too many")
            self._around.pop()
        elif kind == "name":
            self._read_name(text)
        elif text == "{":
            raise NotUnderstood("a selector without a metric's name")

    def _read_name(self, name):
        if name in LISTS_LABELS:
            if self._next_is("("):
                self.grouped_by |= set(self._labels_in_brackets())
        elif name in AGGREGATORS or self._next_is("("):
            self._calls = name
        elif name not in WORDS:
            matchers = self._matchers() if self._next_is("{") else []
            self.selectors.append(Selector(name, matchers, tuple(call for call in self._around if call)))

    def _labels_in_brackets(self):
        self._take()
        while not self._next_is(")"):
            kind, text = self._take()
            if kind == "name":
                yield text
        self._take()

    def _matchers(self):
        """[(label, operator, value)] of {…}."""
        self._take()
        found = []
        while not self._next_is("}"):
            (_, label), (_, operator), (_, value) = self._take(), self._take(), self._take()
            found.append((label, operator, value[1:-1].replace("\\\\", "\\")))
            if self._next_is(","):
                self._take()
        self._take()
        return found


# --- substitutions -----------------------------------------------------------------------------
# A window that is shorter still holds several scrapes; their order is kept, so that "the long window
# and the short one" stays what it was.
SHORT_WINDOWS = {"1m": "4s", "2m": "5s", "5m": "8s", "15m": "10s", "30m": "12s", "1h": "16s", "2h": "18s",
                 "6h": "20s", "1d": "24s", "3d": "28s"}
SHORT_FOR = {"30s": "2s", "1m": "2s", "2m": "3s", "5m": "3s", "10m": "3s", "15m": "3s", "30m": "4s"}


def with_short_windows(text):
    """[5m] becomes [8s], `offset 5m` too; a window that is not in the table is an error."""
    return re.sub(r"(\[|\boffset )(\d+[smhd])\b", lambda found: found.group(1) + SHORT_WINDOWS[found.group(2)], text)


def rules_in_short(text):
    """A rules file with short windows, short `for`, and groups that are evaluated at Prometheus's own pace.
    Thresholds stay; so does the least number of orders an hour, which is one of orders in the short hour."""
    text = re.sub(r"(?m)^(\s+for: )(\w+)$", lambda line: line.group(1) + SHORT_FOR[line.group(2)], text)
    text = re.sub(r"(?m)^\s+interval: \w+\n", "", text)
    return with_short_windows(text)


def without_variables(expression, rate_interval="5m", coordinators=".+"):
    """A panel's query as Grafana sends it when everything is selected."""
    return (expression.replace("$__rate_interval", rate_interval).replace("$coordinator", coordinators)
            .replace("$participant", ".+"))


def without_thresholds(expression):
    """An alert's expression with every comparison made `bool`: 0 or 1 wherever its operands have data. So a
    query that finds nothing because a name is wrong differs from one that finds nothing wrong."""
    return re.sub(r"(?<=\s)(==|!=|>=|<=|>|<)(?=\s)", r"\1 bool", expression)
