"""What a generator is trained for, one objective a file; all are minimized."""

from tfkd.datafree.objectives.activation import Activation, activation
from tfkd.datafree.objectives.adversarial import Adversarial, adversarial
from tfkd.datafree.objectives.base import Objective, Synthesized
from tfkd.datafree.objectives.class_balance import ClassBalance, class_balance
from tfkd.datafree.objectives.one_hot import OneHot, one_hot

__all__ = [
    "Activation",
    "Adversarial",
    "ClassBalance",
    "Objective",
    "OneHot",
    "Synthesized",
    "activation",
    "adversarial",
    "class_balance",
    "one_hot",
]
