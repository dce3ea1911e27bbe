"""tfkd-compress: prunes, clusters and quantizes a model into a verified TFLite file."""

import sys

from absl import flags

from tfkd.cli import flag_groups
from tfkd.cli._flag_group import FlagGroup
from tfkd.cli._program import Program
from tfkd.compression._distribution import DISTRIBUTIONS
from tfkd.pipelines import compress


def _define(values):
    flags.DEFINE_string(
        "model",
        None,
        "trained network to compress: a .keras or .h5 file; --input_range and similar flags apply to it, "
        "too",
        flag_values=values,
    )
    flags.DEFINE_float(
        "prune",
        None,
        "fraction of all kernel weights to set to 0",
        lower_bound=0.0,
        upper_bound=0.999,
        flag_values=values,
    )
    flags.DEFINE_enum(
        "prune_distribution",
        "lamp",
        sorted(DISTRIBUTIONS),
        "how zeros are distributed over layers: by the importance of weights within their layer (lamp), "
        "fewer in small layers (erk), or the same fraction in each (uniform)",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "cluster", None, "number of distinct weight values per kernel", lower_bound=2, flag_values=values
    )
    flags.DEFINE_boolean(
        "quantize", False, "quantization-aware training, for an int8 file", flag_values=values
    )
    flags.DEFINE_boolean(
        "learn_rounding",
        False,
        "learn which weights to round up, for an int8, int16x8, w4a8 or int4 file without --quantize; "
        "takes minutes",
        flag_values=values,
    )
    flags.DEFINE_string(
        "train_data",
        None,
        "npz file with x_train and y_train, to train on in addition to synthesized images; for text models "
        "a .csv or .tsv file of texts and labels, or an npz file of the model's inputs and y",
        flag_values=values,
    )
    flags.DEFINE_string(
        "tokenizer",
        None,
        "folder of a text model's tokenizer (tokenizer.json or vocab.txt)",
        flag_values=values,
    )
    flags.DEFINE_float(
        "learning_rate", 2e-3, "peak rate of Adam in each stage", lower_bound=0.0, flag_values=values
    )


def _arguments(values):
    same = ("model", "prune", "prune_distribution", "cluster", "quantize", "learn_rounding", "tokenizer")
    return {name: values[name].value for name in (*same, "learning_rate")} | {
        "training_data": values.train_data
    }


PROGRAM = Program(
    name="tfkd-compress",
    purpose="prunes, clusters and quantizes a trained network into a verified TFLite file.",
    example="tfkd-compress --model=model.keras --prune=0.8 --output_dir=runs/small",
    pipeline=compress,
    groups=[
        flag_groups.teacher,
        flag_groups.recipe_or_auto,
        flag_groups.export,
        flag_groups.run,
        FlagGroup("compression", _define, _arguments, named={"training_data": "train_data"}),
    ],
    needed=["model", "output_dir"],
)


def run() -> int:
    """Runs the program; returns its exit status."""
    return PROGRAM.run()


if __name__ == "__main__":
    sys.exit(run())
