"""Text teachers, students and recipes by name."""

import os
import re
from collections.abc import Sequence
from typing import Any

import keras

from tfkd import text
from tfkd._core import model_files, names
from tfkd.pipelines._networks import Source, as_teacher, named
from tfkd.pipelines._typed_options import typed_options
from tfkd.tasks import SentenceEmbedding, task_of
from tfkd.text import TextRecipe, Tokenizer, tokenizer_of

_USUAL = "3layers"
_LAYERS = re.compile(r"(\d+)layers(?:x(\d+))?")


def text_recipes() -> dict[str, type[TextRecipe]]:
    """The recipes for classifiers and sentence encoders, by lower-case class name."""
    recipes = names.members(text, TextRecipe).values()
    return {recipe.__name__.lower(): recipe for recipe in recipes if not recipe.of_language_models}


def is_folder_of_hub(source: Source) -> bool:
    """Whether a teacher is a Hugging Face folder."""
    return not isinstance(source, keras.Model) and os.path.isfile(os.path.join(source, "config.json"))


def tokenizer_for(folder: str | os.PathLike | None, teacher: Source, max_length: int) -> Tokenizer:
    """The tokenizer of a folder, or of the teacher if that is a folder.

    Raises:
        ValueError: if there is none.
    """
    if folder is None:
        if not is_folder_of_hub(teacher):
            raise ValueError(
                f"`tokenizer` is needed: the teacher {named(teacher)!r} is a network without a tokenizer. "
                "Give the folder of the tokenizer that it was trained with."
            )
        folder = os.fspath(teacher)  # pyright: ignore[reportArgumentType]
    return Tokenizer(folder, max_length=max_length)


def text_teacher(
    source: Source, tokenizer: Tokenizer, classes: int | None, max_length: int
) -> tuple[keras.Model, bool]:
    """A teacher, and whether it must be fine-tuned first.

    Args:
        source: a file or a model; or a Hugging Face folder, which becomes a sentence encoder or, with
            classes, a classifier with a new head.
        tokenizer: the tokenizer of the texts.
        classes: number of classes in the training data; None for texts alone.
        max_length: number of tokens at which texts are truncated.

    Raises:
        ValueError: if it cannot be read, or was trained with another tokenizer.
    """
    new = False
    if is_folder_of_hub(source):
        folder = os.fspath(source)  # pyright: ignore[reportArgumentType]
        backbone, new = text.load(folder, max_length=max_length).backbone, classes is not None
        if classes is not None:
            teacher = text.classifier(backbone, classes, pooling="mean", name="teacher")
            # These are most of a small encoder's weights, and few texts would only degrade them.
            teacher.get_layer("token_embedding").trainable = False
        else:
            teacher = text.sentence_encoder(backbone)
    else:
        teacher = as_teacher(source, {})
    known = tokenizer_of(teacher)
    if known is not None and known != tokenizer.fingerprint:
        raise ValueError(
            f"`tokenizer`: the teacher {named(source)!r} was trained with the ids of another tokenizer "
            f"({known}, this one is {tokenizer.fingerprint}). Give the folder of its own."
        )
    return teacher, new


def recipe_for(
    recipe: str | TextRecipe | None,
    student: Source | None,
    teacher: keras.Model,
    options: Sequence[str] = (),
    **overrides: Any,
) -> TextRecipe:
    """A recipe that makes the requested student.

    Args:
        recipe: a recipe, which defines everything; or its name, in any letter case, with or without
            underscores; None for the usual one: "BERTToBiLSTM" for "bilstm", "EmbeddingDistillation" for
            sentence encoders, otherwise "DistilBERT".
        student: "3layers", "3layersx192", "0,2,5" (indices of the teacher's layers), "bilstm", a file or a
            model; None for the recipe's, or "3layers" for a recipe given by name.
        teacher: the teacher.
        options: `key=value` strings.
        **overrides: further options; None leaves an option alone.

    Raises:
        ValueError: for an unknown name or option, with close matches, or a student that the recipe cannot
            make.
    """
    changed = {name: value for name, value in overrides.items() if value is not None}
    if isinstance(recipe, TextRecipe):
        if not (student is None or _is_network(student)) or options or changed:
            given = [*([] if _is_network(student) else [f"student={student!r}"]), *options, *changed]
            raise ValueError(
                "`recipe` is an object, which already defines the student and all options. Also received: "
                f"{', '.join(given)}. Set them in the recipe, or give the recipe by name."
            )
        return recipe
    if recipe is None:
        usual = "berttobilstm" if student == "bilstm" else "distilbert"
        recipe = "embeddingdistillation" if isinstance(task_of(teacher), SentenceEmbedding) else usual
    kind = names.lookup(text_recipes(), re.sub(r"[_-]", "", recipe.lower()), "recipe")
    known = kind.options()
    values = typed_options(known, options, f"recipe {kind.__name__!r}", "recipe_options")
    made = {} if _is_network(student) else _student_options(str(student or _USUAL), known, kind.__name__)
    return kind(**{**made, **values, **changed})


def _student_options(word, known, recipe):
    """The options of a recipe for a named student."""
    if word == "bilstm":
        if "network" in known:
            return {"network": "bilstm"}
        if "layers" not in known:
            return {}
    elif "layers" in known:
        if found := _LAYERS.fullmatch(word):
            # By default it is as wide as its teacher, even with TinyBERT.
            return {"layers": int(found[1]), "hidden_dim": None if found[2] is None else int(found[2])}
        if re.fullmatch(r"\d+(,\d+)+", word):
            return {"layers": tuple(map(int, word.split(",")))}
    makes = [*(["3layers", "3layersx192", "0,2,5"] if "layers" in known else [])]
    makes += ["bilstm"] if "network" in known or "layers" not in known else []
    raise ValueError(
        f"`student` must be one that the recipe {recipe!r} makes: {', '.join(makes)}; or a .keras file. "
        f"Received: {word!r}."
    )


def text_student(student: Source | None, recipe: TextRecipe, teacher: keras.Model) -> keras.Model:
    """The student to train.

    Raises:
        ValueError: if its file cannot be read, or the recipe cannot make one from this teacher.
    """
    if isinstance(student, keras.Model):
        return student
    if student is not None and _is_network(student):
        return model_files.load_keras(os.fspath(student), "student")
    return recipe.student(teacher)


def _is_network(student):
    """Whether a student is a network or a file, not a name."""
    return isinstance(student, keras.Model) or str(student).endswith(".keras")
