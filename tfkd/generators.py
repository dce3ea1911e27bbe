"""Generators of inputs: trained ones and procedural priors.

This is the top-level package `generators`: the same module under its documented name.
"""

import sys

import generators

# For editors and type checkers; at run time both names are one module.
from generators import *  # noqa: F403

sys.modules[__name__] = generators
