"""Groups of flags shared by several programs; call a group to define its flags.

Your own program can combine these groups with its own flags:

    TEACHER, RUN = flag_groups.teacher(), flag_groups.run()
    flags.DEFINE_string("student", None, "which student")

    def main(argv):
        tfkd.pipelines.distil(students=FLAGS.student, **TEACHER.arguments(), **RUN.arguments())
"""

from collections.abc import Mapping
from types import MappingProxyType

from absl import flags

from tfkd._core.importing import import_code
from tfkd._core.layouts import LAYOUTS
from tfkd.cli._flag_group import FlagGroup
from tfkd.cli._strategies import STRATEGIES, limit_gpus, strategy_named
from tfkd.export import QUANTIZATIONS, read_labels
from tfkd.export._low_bits import LOW_BITS
from tfkd.pipelines._automatic import AUTO as AUTO_RECIPE
from tfkd.pipelines._automatic import recipe_asked_for
from tfkd.pipelines._recipes import data_free_recipes, recipe_named
from tfkd.tasks import known_tasks
from tfkd.teachers._scaling import AUTO, ORDERS

# The task for distilling texts.
TEXT = "text"
_TEACHER_IS = (
    "trained network: a .keras, .h5 or .tflite file, a SavedModel folder, or a name: "
    "keras.applications:MobileNetV2, keras_hub:resnet_18_imagenet or keras_hub:FOLDER"
)


def _define_teacher(values):
    flags.DEFINE_string("teacher", None, _TEACHER_IS, flag_values=values)
    _define_teacher_options(values)


def _define_teachers(values):
    several = (
        "; may be repeated if a scheme takes several. With --task=text: one .keras file or Hugging Face "
        "folder"
    )
    flags.DEFINE_multi_string("teacher", None, _TEACHER_IS + several, flag_values=values)
    _define_teacher_options(values, {TEXT: "; text: distil texts, with the flags of that group"})


def _define_teacher_options(values, further: Mapping[str, str] = MappingProxyType({})):
    flags.DEFINE_enum(
        "task",
        "auto",
        ["auto", *sorted(known_tasks()), *further],
        f"meaning of the teacher's outputs; auto: inferred from its last layer{''.join(further.values())}",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "layout",
        "auto",
        ["auto", *LAYOUTS],
        "meaning of the teacher's input axes; auto: inferred from its first layers and their shape",
        flag_values=values,
    )
    flags.DEFINE_list(
        "input_shape",
        None,
        "height,width,channels of the teacher's images, such as 28,28,1, if it takes them as flat vectors "
        "or has an open size; default: its own",
        flag_values=values,
    )
    flags.DEFINE_list(
        "input_range",
        ["0", "1"],
        "low,high: the range of pixels in the teacher's own pipeline, before mean and std; auto: detected, "
        "with mean and channel order, from its layers and its outputs for photographs",
        flag_values=values,
    )
    flags.DEFINE_list(
        "input_mean",
        ["0"],
        "mean that the pipeline subtracts: one value, or one per channel",
        flag_values=values,
    )
    flags.DEFINE_list(
        "input_std",
        ["1"],
        "standard deviation that it then divides by: one value, or one per channel",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "channel_order",
        "rgb",
        ORDERS,
        "bgr: the teacher takes channels in the order blue, green, red; --input_mean and --input_std are "
        "in that order, too",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "from_logits",
        "auto",
        ["auto", "true", "false"],
        "whether the teacher returns logits; auto: inferred from its last layer",
        flag_values=values,
    )
    flags.DEFINE_string(
        "teacher_output",
        None,
        "name or index of the output to distil, if the teacher has several",
        flag_values=values,
    )
    flags.DEFINE_string(
        "teacher_weights",
        None,
        ".h5 file of weights for a teacher keras.applications:NAME; default: ImageNet weights are "
        "downloaded",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "import",
        [],
        "a .py file, or a module, with the custom classes and functions in the teacher's file; it is "
        "executed. May be repeated",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "trust_files",
        False,
        "let the teacher's file run any code: Lambda layers, and SavedModel operators that read and write "
        "files; only for files from people you trust",
        flag_values=values,
    )


def _teacher_arguments(values):
    for source in values["import"].value:
        import_code(source)
    output = values.teacher_output
    options = {
        **_scaling(values),
        "from_logits": {"auto": None, "true": True, "false": False}[values.from_logits],
        "output": int(output) if output and output.isdigit() else output,
        "task": None if values.task == "auto" else values.task,
        "trust_files": values.trust_files,
        "layout": None if values.layout == "auto" else values.layout,
        "input_shape": _sides(values.input_shape),
        "weights": values.teacher_weights,
    }
    return {"teacher": values.teacher, "teacher_options": options}


def _scaling(values):
    given = values.input_range
    try:
        input_range = AUTO if given == [AUTO] else _two_numbers(given)
        mean, std = ([float(value) for value in each] for each in (values.input_mean, values.input_std))
    except ValueError:
        raise ValueError(
            "--input_range takes two numbers or auto, --input_mean and --input_std one, or one per "
            f"channel. Received: {values.input_range}, {values.input_mean}, {values.input_std}."
        ) from None
    mean, std = (each[0] if len(each) == 1 else each for each in (mean, std))
    # Flags that are not given are left to `load_teacher`, which warns if a value seems wrong.
    said = values["input_range"].present
    return {
        "input_range": input_range if said else None,
        "mean": mean,
        "std": std,
        "channel_order": values.channel_order,
    }


def _sides(typed):
    if typed is None:
        return None
    if not all(each.isdigit() for each in typed):
        raise ValueError(f"--input_shape takes integers, such as 28,28,1. Received: {','.join(typed)}.")
    return tuple(map(int, typed))


def _two_numbers(typed):
    low, high = (float(value) for value in typed)
    return low, high


_NAMED = {"mean": "input_mean", "std": "input_std", "weights": "teacher_weights"}
teacher = FlagGroup("teacher", _define_teacher, _teacher_arguments, named=_NAMED)
# For programs that take several teachers; the other flags apply to all of them.
teachers = FlagGroup("teacher", _define_teachers, _teacher_arguments, named=_NAMED)


def _define_student(values):
    flags.DEFINE_string(
        "student",
        "0.5x",
        "a .keras file; a factor of the teacher's width (0.5x) or of its residual blocks (0.6deep); or a "
        "network by name (lenet5_half, resnet20)",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "inherit",
        False,
        "initialize a 0.5x or 0.6deep student from the teacher's weights",
        flag_values=values,
    )


student = FlagGroup(
    "student",
    _define_student,
    lambda values: {"students": values.student, "inherit": values.inherit},
    named={"students": "student"},
)


def _define_recipe(values, default="procedural", before=""):
    known = ", ".join(sorted(data_free_recipes()))
    flags.DEFINE_string("recipe", default, f"training recipe: {before}{known}", flag_values=values)
    flags.DEFINE_multi_string(
        "recipe_options", [], "key=value: an option of the recipe; may be repeated", flag_values=values
    )
    flags.DEFINE_string(
        "pictures",
        None,
        "folder of pictures for the recipe's prior 'pictures' to crop; default: those shipped with the "
        "library",
        flag_values=values,
    )
    for name, least, what in (
        ("epochs", 1, "epochs"),
        ("steps_per_epoch", 1, "steps in an epoch"),
        ("batch_size", 1, "images in each update"),
        ("memory", 0, "images to keep with the teacher's outputs; 0 for none"),
    ):
        flags.DEFINE_integer(
            name, None, f"{what}; default: the recipe's", lower_bound=least, flag_values=values
        )


def _overrides(values):
    names = ("epochs", "steps_per_epoch", "batch_size", "memory", "pictures")
    return {name: values[name].value for name in names}


recipe = FlagGroup(
    "recipe",
    _define_recipe,
    lambda values: {"recipe": recipe_named(values.recipe, values.recipe_options, **_overrides(values))},
)
recipe_or_auto = FlagGroup(
    "recipe",
    lambda values: _define_recipe(values, AUTO_RECIPE, "auto, the recipe that suits the teacher, "),
    lambda values: {"recipe": recipe_asked_for(values.recipe, values.recipe_options, **_overrides(values))},
)


def _define_export(values):
    flags.DEFINE_enum(
        "tflite",
        "int8",
        [*QUANTIZATIONS, "none"],
        f"kind of TFLite file; {', '.join(LOW_BITS)}: low-bit weights, with the extra aeq",
        flag_values=values,
    )
    flags.DEFINE_float(
        "min_agreement",
        0.9,
        "fraction of images, synthesized or held out, on which the TFLite file must agree with its model; "
        "otherwise the next best kind of file that does is written",
        lower_bound=0.0,
        upper_bound=1.0,
        flag_values=values,
    )
    flags.DEFINE_list(
        "labels",
        None,
        "names of the classes in order, or a .txt file with one per line, such as Teachable Machine's "
        "labels.txt; stored in the TFLite file",
        flag_values=values,
    )


def _export_arguments(values):
    return {
        "tflite": None if values.tflite == "none" else values.tflite,
        "min_agreement": values.min_agreement,
        "labels": _labels(values.labels),
    }


def _labels(typed):
    if typed is not None and len(typed) == 1 and typed[0].endswith(".txt"):
        return read_labels(typed[0])
    return typed


export = FlagGroup("export", _define_export, _export_arguments)


def _define_distribution(values):
    flags.DEFINE_enum(
        "strategy",
        "none",
        STRATEGIES,
        "replicas that train one student: none; mirrored: one for each GPU of this machine; multi_worker: "
        "those of all processes in TF_CONFIG, each of which runs this command",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "gpus",
        None,
        "number of GPUs this process uses; default: all that TensorFlow finds",
        lower_bound=0,
        flag_values=values,
    )


def _distribution_arguments(values):
    if values.gpus is not None:
        limit_gpus(values.gpus)
    return {"strategy": strategy_named(values.strategy)}


distribution = FlagGroup("distribution", _define_distribution, _distribution_arguments)


def _define_run(values):
    flags.DEFINE_string(
        "eval_data",
        None,
        "npz file with x_test and y_test, for evaluation only",
        flag_values=values,
    )
    flags.DEFINE_string("output_dir", None, "folder for the results", flag_values=values)
    flags.DEFINE_boolean(
        "overwrite", False, "replace an earlier run in the output folder", flag_values=values
    )
    flags.DEFINE_boolean("resume", False, "continue an interrupted run", flag_values=values)
    flags.DEFINE_integer("seed", 0, "random seed", flag_values=values)
    flags.DEFINE_enum(
        "jit_compile",
        "auto",
        ["auto", "true", "false"],
        "XLA; auto: on accelerators only",
        flag_values=values,
    )


def _run_arguments(values):
    return {
        "evaluation_data": values.eval_data,
        "folder": values.output_dir,
        "overwrite": values.overwrite,
        "resume": values.resume,
        "seed": values.seed,
        "jit_compile": {"auto": "auto", "true": True, "false": False}[values.jit_compile],
    }


run = FlagGroup(
    "run",
    _define_run,
    _run_arguments,
    named={"evaluation_data": "eval_data", "folder": "output_dir"},
)
