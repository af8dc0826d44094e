"""What ./run compare has measured so far, one line a run: so that a comparison can be done in pieces
(--minutes, then --continue), and an interrupted one goes on where it ended.

The first line says what was compared and how; runs of another program, of another length or with other
orders are never put into one comparison.
"""
import json


class CannotContinue(ValueError):
    """What stands there belongs to another comparison, or is none."""


def read(path):
    """(head, rows). A last line that was cut off by a kill is left out. Raises CannotContinue."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise CannotContinue(f"there is nothing to continue: {path} does not exist. Begin without --continue") from None
    try:
        head, rows = json.loads(lines[0]), [json.loads(line) for line in lines[1:-1]]
        if not isinstance(head["identity"], dict) or not isinstance(head["context"], dict):
            raise TypeError("its first line")
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CannotContinue(f"{path} is no journal of ./run compare ({error!r}). Begin without --continue") from error
    return head, rows


def check(head, identity, path):
    """Raises CannotContinue when the runs there were made otherwise."""
    differ = [f"{name} {head['identity'].get(name)!r} there, {value!r} now" for name, value in identity.items()
              if head["identity"].get(name) != value]
    if differ:
        raise CannotContinue(f"{path} cannot be continued: {'; '.join(differ)}. Begin without --continue, or give the "
                             "same options and the same program")


class Journal:
    """Appends to `path`; each run is there as soon as it is told."""

    def __init__(self, path, identity, context):
        """Begins anew; the one before is kept beside it as NAME.before."""
        if path.exists():
            path.replace(path.with_name(path.name + ".before"))
        self.path, self.head, self.rows = path, {"identity": identity, "context": context}, []
        self._file = open(path, "a", encoding="utf-8")
        self._put(self.head)

    @classmethod
    def continued(cls, path, identity):
        """Raises CannotContinue."""
        head, rows = read(path)
        check(head, identity, path)
        self = cls.__new__(cls)
        self.path, self.head, self.rows = path, head, rows
        # Written anew as far as it could be read: a line that was cut off must not be appended to.
        path.write_text("".join(json.dumps(line) + "\n" for line in (head, *rows)), encoding="utf-8")
        self._file = open(path, "a", encoding="utf-8")
        return self

    def add(self, row):
        self.rows.append(row)
        self._put(row)

    def _put(self, line):
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self):
        self._file.close()
