"""./run compare --against RESULTS: do the winners that an earlier comparison named win again?

A rule with a threshold cannot promise the same word twice for two values that lie beside it. So three
things are told apart: named again; ahead again, by less than the rule asks for; not ahead again. Only the
last contradicts the earlier comparison. What is not judged this time (an interval too wide, a run that was
not steady) says nothing either way.
"""
import json

from compare_stats import NOT_JUDGED


def key_of(found):
    """Points of a quick comparison and of a full one share a name; with other connections they are others."""
    return found["sweep"], found["x"], found["connections"], found["metric"], tuple(found["pair"])


def read_verdicts(path):
    """The verdicts of a results.json. Raises ValueError for a file that is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)["verdicts"]
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no results.json of ./run compare: {error!r}") from error


def repeated(earlier, now, higher_is_better):
    """{"again", "ahead", "not_ahead", "not_measured": [(earlier verdict, verdict now or None)]}, of the
    earlier verdicts that name a winner. `higher_is_better`: of a metric's name."""
    by_key = {key_of(found): found for found in now}
    told = {"again": [], "ahead": [], "not_ahead": [], "not_measured": []}
    for before in earlier:
        if before["winner"] in ("tie", NOT_JUDGED):
            continue
        found = by_key.get(key_of(before))
        if found is None or found["winner"] == NOT_JUDGED:
            told["not_measured"].append((before, None))
        elif found["winner"] == before["winner"]:
            told["again"].append((before, found))
        else:
            first_is_more = found["first"]["median"] > found["second"]["median"]
            leader = before["pair"][0 if first_is_more == higher_is_better(before["metric"]) else 1]
            ahead = leader == before["winner"] and found["winner"] == "tie"
            told["ahead" if ahead else "not_ahead"].append((before, found))
    return told


def in_words(told):
    """One sentence for people."""
    named = sum(len(told[kind]) for kind in ("again", "ahead", "not_ahead"))
    missing = f"; {len(told['not_measured'])} were not measured, or not judged, this time" if told["not_measured"] else ""
    return (f"of {named} winners named there, {len(told['again'])} are named again, {len(told['ahead'])} are ahead again "
            f"by less than the rule asks for, {len(told['not_ahead'])} are not ahead{missing}")
