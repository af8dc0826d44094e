"""Shipping services that break a rule each. The suite must tell every one of them, and every rule of the suite must be
told by one of them at least: test_conformance.py sees to both."""

FAULTS = {}  # the fault's name: (the service that has it, the cases that must fail)


def fault(*cases):
    def register(kind):
        FAULTS[kind.__name__] = (kind, frozenset(cases))
        return kind
    return register
