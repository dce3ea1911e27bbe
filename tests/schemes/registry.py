"""All schemes: a new one is a file in `tfkd/schemes`, a `cases_....py` here and a line in this one."""

from tests.schemes import cases_chains, cases_ensemble, cases_exits, cases_mutual, cases_noisy

_MODULES = cases_chains, cases_ensemble, cases_exits, cases_mutual, cases_noisy
CASES = {name: case for module in _MODULES for name, case in module.CASES.items()}
