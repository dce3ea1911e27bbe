"""The flags of tfkd-distill for texts, and the meaning of the other flags for texts."""

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
# Flags about schemes and images.
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
        "folder of the tokenizer that the teacher was trained with; default: the teacher's folder",
        flag_values=values,
    )
    recipes = ", ".join(sorted(recipe.__name__ for recipe in text_recipes().values()))
    flags.DEFINE_string(
        "recipe",
        None,
        f"training recipe, which also determines the possible students: {recipes}, in any letter case. "
        "Default: BERTToBiLSTM for --student=bilstm, EmbeddingDistillation for a sentence encoder, "
        "otherwise DistilBERT",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "recipe_options", [], "key=value: an option of the recipe; may be repeated", flag_values=values
    )
    for name, what, usual in (
        ("text_column", "texts", "text, sentence, review or content, otherwise the first"),
        ("label_column", "labels", "label, class, category or sentiment, otherwise the second of two"),
    ):
        flags.DEFINE_string(
            name,
            None,
            f"name, or index from 0, of the column with {what} in csv and tsv files; default: {usual}",
            flag_values=values,
        )
    flags.DEFINE_integer(
        "max_length", 64, "number of tokens at which texts are truncated", lower_bound=3, flag_values=values
    )
    flags.DEFINE_integer(
        "teacher_epochs",
        3,
        "epochs of fine-tuning a Hugging Face folder on the labels before it teaches",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "augment",
        False,
        "also train on augmented copies of the texts (masked words, n-grams), labelled by the teacher",
        flag_values=values,
    )


def _arguments(values) -> dict[str, Any]:
    """The arguments of `distil_text` as `text`; None if images are distilled."""
    text = values.task == flag_groups.TEXT
    foreign = [f"--{name}" for name in (_REFUSED if text else _NAMES) if values[name].present]
    if foreign and text:
        raise ValueError(
            f"{', '.join(foreign)} cannot be used with --task=text. Leave it out; --recipe and "
            "--recipe_options choose how a text student is trained."
        )
    if foreign:
        raise ValueError(f"{', '.join(foreign)}: only with --task=text. Add that flag, or leave this out.")
    return {"text": _of_text(values) if text else None}


def _of_text(values):
    if len(values.teacher or ()) != 1:
        raise ValueError(
            "--teacher: --task=text needs a .keras file or a Hugging Face folder. Received: "
            f"{values.teacher or 'none'}."
        )
    # Their other values are for images.
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
    """The flag values that define a run on texts, as they apply there.

    Args:
        values: values of all flags, by name.
        arguments: arguments of `distil_text`.
    """
    meant = {name: arguments[name] for name in ("epochs", "batch_size", "learning_rate", "tflite")}
    return {name: meant.get(name, value) for name, value in values.items() if name not in _REFUSED}


text = FlagGroup("text", _define, _arguments)
