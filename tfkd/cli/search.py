"""tfkd-search: finds a teacher's best student within a budget."""

import math
import sys

from absl import flags

from tfkd.cli import flag_groups
from tfkd.cli._flag_group import FlagGroup
from tfkd.cli._program import Program
from tfkd.pipelines import search
from tfkd.searching import Budget
from tfkd.searching._budget import TIMED
from tfkd.searching._strategies import STRATEGIES

# Type and help of each dimension of the search space.
_CHOICES = {
    "width": (float, "factors of the teacher's width to choose from, such as 0.25,0.5,1"),
    "depth": (float, "fractions of its residual blocks to keep, such as 0.6,1"),
    "kernel": (int, "kernel sizes of its convolutions, such as 3,5"),
    "exit": (str, "layers of the teacher after which students end"),
}
# The value for the teacher's own setting.
_OWN = "own"


def _define(values):
    for name, (_, what) in _CHOICES.items():
        flags.DEFINE_list(name, None, f"{what}; {_OWN}: the teacher's", flag_values=values)
    flags.DEFINE_integer(
        "max_params", None, "maximum number of parameters of a student", lower_bound=1, flag_values=values
    )
    flags.DEFINE_integer(
        "max_flops",
        None,
        "maximum floating-point operations for one input",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_float(
        "max_ms",
        None,
        "maximum milliseconds of its TFLite file for one input on this machine",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "timed_as", "float32", TIMED, "kind of TFLite file for timing students", flag_values=values
    )
    flags.DEFINE_integer(
        "trials", 20, "maximum number of students to train", lower_bound=1, flag_values=values
    )
    flags.DEFINE_enum(
        "strategy", "random", STRATEGIES, "how the next student is chosen", flag_values=values
    )
    flags.DEFINE_boolean(
        "inherit", False, "initialize students from the teacher's weights", flag_values=values
    )
    flags.DEFINE_string(
        "train_data",
        None,
        "npz file with x_train and y_train; a fifth is held out to judge students; default: they learn by "
        "--recipe and are judged by their agreement with the teacher",
        flag_values=values,
    )


def _arguments(values):
    space = {name: _chosen(name, values[name].value) for name in _CHOICES if values[name].value}
    if not space:
        named = ", ".join(f"--{name}" for name in _CHOICES)
        raise ValueError(f"The search space is empty: give at least one of {named}.")
    budget = Budget(
        parameters=values.max_params,
        flops=values.max_flops,
        milliseconds=math.inf if values.max_ms is None else values.max_ms,
        quantization=values.timed_as,
    )
    same = ("trials", "strategy", "inherit")
    return {
        **{name: values[name].value for name in same},
        "space": space,
        "budget": budget,
        "training_data": values.train_data,
        # From the recipe's flags, since both are about a trial.
        "epochs": values.epochs,
        "batch_size": values.batch_size,
    }


def _chosen(name, typed):
    convert, _ = _CHOICES[name]
    try:
        return [None if word == _OWN else convert(word) for word in typed]
    except ValueError:
        kind = {float: "numbers", int: "integers"}[convert]
        raise ValueError(f"--{name} takes {kind}, or {_OWN}. Received: {','.join(typed)}.") from None


PROGRAM = Program(
    name="tfkd-search",
    purpose="finds the best student of a trained network within a budget, and writes its TFLite file.",
    example="tfkd-search --teacher=teacher.keras --width=0.25,0.5 --max_ms=0.5 --output_dir=runs/search",
    pipeline=search,
    groups=[
        flag_groups.teacher,
        flag_groups.recipe,
        flag_groups.export,
        flag_groups.run,
        FlagGroup(
            "search",
            _define,
            _arguments,
            named={
                "training_data": "train_data",
                "parameters": "max_params",
                "flops": "max_flops",
                "milliseconds": "max_ms",
                "quantization": "timed_as",
            },
        ),
    ],
    needed=["teacher", "output_dir"],
)


def run() -> int:
    """Runs the program; returns its exit status."""
    return PROGRAM.run()


if __name__ == "__main__":
    sys.exit(run())
