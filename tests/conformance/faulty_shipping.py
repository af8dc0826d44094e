#!/usr/bin/python3
"""Runs shipping.py with one of the planted faults, named by CONFORMANCE_FAULT; arguments as of shipping.py."""
import os

import faults_branches  # noqa: F401  (each fault registers itself)
import faults_fences  # noqa: F401
import faults_steps  # noqa: F401
import faults_wire  # noqa: F401
import shipping
from faults import FAULTS

if __name__ == "__main__":
    shipping.main(FAULTS[os.environ["CONFORMANCE_FAULT"]][0])
