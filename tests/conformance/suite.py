#!/usr/bin/python3
"""The conformance suite of the participant protocol (docs/participant-protocol.md), for any participant.

    /usr/bin/python3 tests/conformance/suite.py --url http://127.0.0.1:PORT --participant shipping

A line for each rule: ok, FAIL or skip, where the document says it, the case, what was seen. Exit code 1 when a rule
does not hold, 2 when the suite cannot begin. It makes orders, stock and wallets of its own, by ids that nobody else
has, and ends every branch that it began; what it committed stays. Use a database for tests.
"""
import argparse
import os
import sys
import time

import cases_promises  # noqa: F401  (its rules register themselves, as do the next ones')
import cases_branches  # noqa: F401
import cases_steps  # noqa: F401
import cases_fences  # noqa: F401
import cases_services  # noqa: F401
import cases_sync  # noqa: F401
import cases_wire  # noqa: F401
from fixtures import FIXTURES
from kit import RULES, Broken, NotHere, Service

NEEDS = {"dsn": "--dsn", "restart": "--restart-command", "token": "--token-file or TXCOORD_INTERNAL_TOKEN"}


class Database:
    """The service's database, for rules about what stands in it."""

    def __init__(self, dsn):
        import psycopg  # the rest of the suite needs the standard library alone
        self.error = psycopg.Error
        self.connection = psycopg.connect(dsn, autocommit=True, application_name="conformance")

    def query(self, sql, *parameters):
        try:
            cursor = self.connection.execute(sql, parameters or None)
            return cursor.fetchall() if cursor.description else []
        except self.error as error:
            raise Broken(f"the database: {type(error).__name__}") from None


def arguments():
    parser = argparse.ArgumentParser(description="Tests a participant against docs/participant-protocol.md.")
    parser.add_argument("--url", required=True, help="where it listens, without /participant/v1")
    parser.add_argument("--participant", required=True, choices=sorted(FIXTURES))
    parser.add_argument("--token-file", help="holds the bearer token; else TXCOORD_INTERNAL_TOKEN, if it is set")
    parser.add_argument("--dsn", help="its database, to look at what stands there")
    parser.add_argument("--restart-command", help="kills it (-9) and starts it again at the same URL")
    parser.add_argument("--branch-open-ms-max", type=int, default=15000, help="after which it releases an open branch")
    parser.add_argument("--only", action="append", default=[], metavar="CASE", help="this case; may be repeated")
    return parser.parse_args()


def token(options):
    if not options.token_file:
        return os.environ.get("TXCOORD_INTERNAL_TOKEN", "")
    with open(options.token_file, encoding="utf-8") as file:
        return file.read().strip()


def run(service, fixture, case):
    """(verdict, what was seen). A case that meets something that it did not think of has failed."""
    try:
        case(service, fixture(service))
        return "ok", ""
    except NotHere as absent:
        return "skip", str(absent)
    except Broken as broken:
        return "FAIL", str(broken)
    except ConnectionError as silent:
        return "FAIL", str(silent)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as unexpected:
        return "FAIL", f"an answer that has not the members of the document: {type(unexpected).__name__} {unexpected}"
    finally:
        service.clean_up()


def main():
    options = arguments()
    unknown = set(options.only) - {name for _, name, *_ in RULES}
    if unknown:
        print(f"no such case: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    service = Service(options.url, options.participant, token(options), options.restart_command,
                      Database(options.dsn) if options.dsn else None, options.branch_open_ms_max)
    have = {"dsn": options.dsn, "restart": options.restart_command, "token": service.token}
    try:
        service.do("list-prepared", installation=service.installation)
    except (Broken, ConnectionError) as nobody:
        print(f"no participant {options.participant} at {options.url}: {nobody}", file=sys.stderr)
        return 2
    counts = {"ok": 0, "FAIL": 0, "skip": 0}
    for where, name, sentence, needs, only, case in RULES:
        if (options.only and name not in options.only) or (only and options.participant not in only):
            continue
        start = time.monotonic()
        if needs and not have[needs]:
            verdict, seen = "skip", f"needs {NEEDS[needs]}"
        else:
            verdict, seen = run(service, FIXTURES[options.participant], case)
        counts[verdict] += 1
        spent = f"{time.monotonic() - start:.1f} s"
        print(f"{verdict:4} {spent:>6}  {where:26} {name:32} {sentence}{seen and ' | ' + seen}", flush=True)
    print(f"{options.participant}: {sum(counts.values())} rules: {counts['ok']} hold, {counts['FAIL']} do not, "
          f"{counts['skip']} skipped")
    return 1 if counts["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
