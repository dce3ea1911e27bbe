"""All schemes: a new one is a file in `tfkd/schemes`, a `cases_....py` here and a line in this one."""

from tests.schemes import cases_mutual

CASES = {**cases_mutual.CASES}
