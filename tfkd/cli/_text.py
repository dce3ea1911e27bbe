"""The flags of tfkd-distill for texts, and what the others mean beside them."""

from typing import Any

from absl import flags

from tfkd.cli import flag_groups
from tfkd.cli._flag_group import FlagGroup
from tfkd.pipelines._text_networks import text_recipes

_NAMES = (
    "tokenizer",
    "recipe",
    "recipe_options",
    "text_column",
    "label_column",
    "max_length",
    "teacher_epochs",
    "augment",
)
# What speaks of schemes and of images.
_REFUSED = (
    "scheme",
    "scheme_options",
    "inherit",
    "losses",
    "loss_weights",
    "student_loss_weight",
    "optimizer",
    "layout",
    "input_shape",
    "input_range",
    "input_mean",
    "input_std",
    "channel_order",
    "from_logits",
    "teacher_output",
    "teacher_weights",
    "trust_files",
    "import",
    "strategy",
)


def _define(values):
    flags.DEFINE_string(
        "tokenizer",
        None,
        "folder of the tokenizer that the teacher was trained with; without, the teacher's folder",
        flag_values=values,
    )
    recipes = ", ".join(sorted(recipe.__name__ for recipe in text_recipes().values()))
    flags.DEFINE_string(
        "recipe",
        None,
        f"how the student is taught, and which it can be: {recipes}, in any case. Without, BERTToBiLSTM of "
        "--student=bilstm, EmbeddingDistillation of a sentence encoder, else DistilBERT",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "recipe_options", [], "key=value: an option of the recipe; may be repeated", flag_values=values
    )
    for name, what, usual in (
        ("text_column", "texts", "text, sentence, review or content, else the first"),
        ("label_column", "labels", "label, class, category or sentiment, else the second of two"),
    ):
        flags.DEFINE_string(
            name,
            None,
            f"name, or number from 0, of the column of {what} in csv and tsv files; without, {usual}",
            flag_values=values,
        )
    flags.DEFINE_integer(
        "max_length", 64, "tokens at which texts are cut", lower_bound=3, flag_values=values
    )
    flags.DEFINE_integer(
        "teacher_epochs",
        3,
        "epochs in which a folder of Hugging Face learns the labels before it teaches",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "augment",
        False,
        "learn also from copies of the texts with words masked and n-grams, by the teacher's answers",
        flag_values=values,
    )


def _arguments(values) -> dict[str, Any]:
    """The arguments of `distil_text` as `text`; None if images are distilled."""
    text = values.task == flag_groups.TEXT
    foreign = [f"--{name}" for name in (_REFUSED if text else _NAMES) if values[name].present]
    if foreign and text:
        raise ValueError(
            f"With --task=text there is no {', '.join(foreign)}. Leave that out; --recipe and "
            "--recipe_options say how a student of texts is taught."
        )
    if foreign:
        raise ValueError(f"{', '.join(foreign)}: only with --task=text. Give that, too, or leave it out.")
    return {"text": _of_text(values) if text else None}


def _of_text(values):
    if len(values.teacher or ()) != 1:
        raise ValueError(
            "--teacher: --task=text needs one, a .keras file or a folder of Hugging Face. Received: "
            f"{values.teacher or 'none'}."
        )
    # What these are otherwise is for images.
    typed = {
        name: values[name].value if values[name].present else None
        for name in ("epochs", "batch_size", "learning_rate")
    }
    written = flag_groups.export.arguments()
    if not values["tflite"].present:
        written["tflite"] = "dynamic"
    return {
        **{name: values[name].value for name in (*_NAMES, "validation_split", "unlabelled_data")},
        **typed,
        **written,
        **flag_groups.run.arguments(),
        "teacher": values.teacher[0],
        "student": values.student and ",".join(values.student),
        "training_data": values.train_data,
    }


def asked_for(values: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Of the values of all flags those that say what a run on texts is, as it is meant there.

    Args:
        values: of the flags, by name.
        arguments: of `distil_text`.
    """
    meant = {name: arguments[name] for name in ("epochs", "batch_size", "learning_rate", "tflite")}
    return {name: meant.get(name, value) for name, value in values.items() if name not in _REFUSED}


text = FlagGroup("text", _define, _arguments)
