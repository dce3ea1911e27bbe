"""What makes inputs: trained generators and procedural priors.

It is the top-level package `generators`, the same module object under the name that documents use.
"""

import sys

import generators

# Editors and type checkers read this; at run time there is one module under both names.
from generators import *  # noqa: F403

sys.modules[__name__] = generators
