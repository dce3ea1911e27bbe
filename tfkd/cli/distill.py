"""tfkd-distill: training data and teachers in, a student and its TFLite file out, by any scheme."""

import sys
from typing import Any

from absl import flags

from tfkd.cli import flag_groups
from tfkd.cli._flag_group import FlagGroup
from tfkd.cli._program import Program
from tfkd.cli._text import asked_for
from tfkd.cli._text import text as text_flags
from tfkd.pipelines import Distilled, distil_text, distil_with_data
from tfkd.pipelines._schemes import SCHEMES, options_in_words

_RECIPES = "with --task=text the recipe's unless given"


def _define_scheme(values):
    flags.DEFINE_string("scheme", "distil", f"who teaches whom: {', '.join(SCHEMES)}", flag_values=values)
    flags.DEFINE_multi_string(
        "scheme_options",
        [],
        f"key=value: an option of the scheme; may be repeated. {options_in_words()}",
        flag_values=values,
    )
    flags.DEFINE_list(
        "student",
        None,
        "a .keras file; a factor of the teacher's width (0.5x) or of its residual blocks (0.6deep); or a "
        "network by name (lenet5_half, resnet20); several, separated by commas, for mutual. Without, 0.5x, "
        "or networks like the teacher for generations. With --task=text 3layers (the default), "
        "3layersx192, which is 192 wide, 0,2,5, which are the teacher's layers, or bilstm",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "inherit",
        False,
        "initialize 0.5x or 0.6deep students from the teacher's weights",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "losses",
        [],
        "distillation losses by name in snake case, separated by commas, with options behind colons: "
        "soft_targets:temperature=4,dist. Those of features take teacher_layer=...:student_layer=... "
        "JSON will do, too; may be repeated. Without, the scheme's",
        flag_values=values,
    )
    flags.DEFINE_list(
        "loss_weights",
        None,
        "a number for each loss, or published for those they were published with",
        flag_values=values,
    )
    flags.DEFINE_float(
        "student_loss_weight",
        None,
        "share of the labels' loss; without, the scheme's",
        lower_bound=0.0,
        upper_bound=1.0,
        flag_values=values,
    )


def _scheme_arguments(values):
    same = ("scheme", "scheme_options", "inherit", "student_loss_weight")
    return {
        **{name: values[name].value for name in same},
        "students": values.student,
        "losses": values.losses or None,
        "loss_weights": _weights(values.loss_weights),
    }


def _weights(typed):
    if typed is None or typed == ["published"]:
        return typed and "published"
    try:
        return [float(each) for each in typed]
    except ValueError:
        raise ValueError(
            f"--loss_weights takes numbers, or published. Received: {','.join(typed)}."
        ) from None


def _define_training(values):
    flags.DEFINE_string(
        "train_data",
        None,
        "npz file with x_train and y_train; a folder with a folder of images for each class; or a TFRecord "
        "file or a pattern of them, of tf.train.Examples with image (encoded) or image/encoded, and label "
        "or image/class/label. With --task=text a csv or tsv file of texts and labels, or a txt file with "
        "a text a line. --eval_data takes the same kinds",
        flag_values=values,
    )
    flags.DEFINE_float(
        "validation_split",
        0.1,
        "share of the training data that is held out, for choices and to judge files",
        lower_bound=0.0,
        upper_bound=1.0,
        flag_values=values,
    )
    flags.DEFINE_string(
        "unlabelled_data",
        None,
        "more inputs for noisy_student: npz file with x_train, folder of images, or TFRecord files; with "
        "--task=text more texts, after which labels do not count",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "epochs", 10, f"epochs of each network; {_RECIPES}", lower_bound=1, flag_values=values
    )
    flags.DEFINE_integer(
        "batch_size", 128, f"images in each update; {_RECIPES}", lower_bound=1, flag_values=values
    )
    flags.DEFINE_string(
        "optimizer",
        "adam",
        "an optimizer of Keras, with options behind colons: sgd:momentum=0.9:nesterov=true",
        flag_values=values,
    )
    flags.DEFINE_float(
        "learning_rate",
        1e-3,
        f"its peak rate, which falls as a cosine; {_RECIPES}",
        lower_bound=0.0,
        flag_values=values,
    )


def _training_arguments(values):
    same = ("validation_split", "unlabelled_data", "epochs", "batch_size", "optimizer", "learning_rate")
    return {name: values[name].value for name in same} | {"training_data": values.train_data}


def _distil(
    text: dict[str, Any] | None, flags: dict[str, Any], verbose: int, command: str, **arguments: Any
) -> Distilled | None:
    """Distils texts where flags ask for that, else images and the like."""
    if text is not None:
        return distil_text(**text, flags=asked_for(flags, text), verbose=verbose, command=command)
    return distil_with_data(**arguments, flags=flags, verbose=verbose, command=command)


PROGRAM = Program(
    name="tfkd-distill",
    purpose="training data and teachers in, a student, a TFLite file and a report out, by any scheme, of "
    "images or texts.",
    example="tfkd-distill --teacher=t.keras --train_data=train.npz --output_dir=runs/half",
    pipeline=_distil,
    groups=[
        flag_groups.teachers,
        FlagGroup("scheme", _define_scheme, _scheme_arguments, named={"students": "student"}),
        FlagGroup("training", _define_training, _training_arguments, named={"training_data": "train_data"}),
        text_flags,
        flag_groups.export,
        flag_groups.distribution,
        flag_groups.run,
    ],
    needed=["train_data", "output_dir"],
)


def run() -> int:
    """Runs the program; returns its exit status."""
    return PROGRAM.run()


if __name__ == "__main__":
    sys.exit(run())
