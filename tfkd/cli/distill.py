"""tfkd-distill: distils teachers into a student and TFLite file on data, by any scheme."""

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

_RECIPES = "with --task=text, default: the recipe's"


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
        "network by name (lenet5_half, resnet20); several, separated by commas, for mutual. Default: 0.5x; "
        "for generations, networks like the teacher. With --task=text: 3layers (the default), 3layersx192 "
        "for width 192, 0,2,5 for these layers of the teacher, or bilstm",
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
        "distillation losses by name in snake case, separated by commas, with options after colons: "
        "soft_targets:temperature=4,dist. Feature losses take teacher_layer=...:student_layer=... JSON "
        "works, too; may be repeated. Default: the scheme's",
        flag_values=values,
    )
    flags.DEFINE_list(
        "loss_weights",
        None,
        "a number for each loss, or published for the published weights",
        flag_values=values,
    )
    flags.DEFINE_float(
        "student_loss_weight",
        None,
        "weight of the labels' loss; default: the scheme's",
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
        "or image/class/label. With --task=text: a csv or tsv file of texts and labels, or a txt file with "
        "one text per line. --eval_data takes the same formats",
        flag_values=values,
    )
    flags.DEFINE_float(
        "validation_split",
        0.1,
        "fraction of the training data held out for model selection and for checking files",
        lower_bound=0.0,
        upper_bound=1.0,
        flag_values=values,
    )
    flags.DEFINE_string(
        "unlabelled_data",
        None,
        "more inputs for noisy_student: npz file with x_train, folder of images, or TFRecord files; with "
        "--task=text more texts, in which case labels are ignored",
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
        "a Keras optimizer, with options after colons: sgd:momentum=0.9:nesterov=true",
        flag_values=values,
    )
    flags.DEFINE_float(
        "learning_rate",
        1e-3,
        f"peak learning rate, with cosine decay; {_RECIPES}",
        lower_bound=0.0,
        flag_values=values,
    )


def _training_arguments(values):
    same = ("validation_split", "unlabelled_data", "epochs", "batch_size", "optimizer", "learning_rate")
    return {name: values[name].value for name in same} | {"training_data": values.train_data}


def _distil(
    text: dict[str, Any] | None, flags: dict[str, Any], verbose: int, command: str, **arguments: Any
) -> Distilled | None:
    """Distils texts if the flags say so, otherwise images and other inputs."""
    if text is not None:
        return distil_text(**text, flags=asked_for(flags, text), verbose=verbose, command=command)
    return distil_with_data(**arguments, flags=flags, verbose=verbose, command=command)


PROGRAM = Program(
    name="tfkd-distill",
    purpose="distils teachers on data, images or texts, by any scheme; writes a student, a TFLite file "
    "and a report.",
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
