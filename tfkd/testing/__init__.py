"""Contract tests for your own methods, the same as for those of this package."""

from tfkd.testing._check_generator import check_generator
from tfkd.testing._check_loss import LOSS_CLAUSES, check_loss
from tfkd.testing._check_objective import check_objective
from tfkd.testing._check_recipe import check_recipe
from tfkd.testing._check_task import check_task

__all__ = [
    "LOSS_CLAUSES",
    "check_generator",
    "check_loss",
    "check_objective",
    "check_recipe",
    "check_task",
]
