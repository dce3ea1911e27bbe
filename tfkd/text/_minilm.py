"""MiniLM: the last layer's attention and value relations, with an optional assistant."""

import dataclasses
import os
from typing import Any

import keras

from tfkd import students
from tfkd.losses import AttentionKL, KnowledgeLoss, SelfAttentionRelations
from tfkd.text._layer_recipe import LayerRecipe
from tfkd.text._parts_of_models import layers_of, width_at


@dataclasses.dataclass(frozen=True, kw_only=True)
class MiniLM(LayerRecipe):
    """Deep self-attention distillation: the last layer's attention and value relations.

    Texts need no labels and teachers no task: the student is fine-tuned, or trained on a task by another
    recipe, afterwards. Layers after its last attention are not trained and keep their inherited weights.

    Args:
        layers: as for `LayerRecipe`.
        hidden_dim: as for `LayerRecipe`; any multiple of the teacher's number of heads.
        assistant: whether a teacher assistant, as deep as the teacher and as wide as the student, is
            trained first and then teaches the student; None to use one for students of at most half the
            teacher's depth and width.
        **kwargs: the options of `TextRecipe`.

    Example:
        >>> student = tfkd.text.MiniLM(layers=3, hidden_dim=192).distil(teacher, data)

    Reference:
        Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained
        Transformers", 2020. Deviations: the student starts with the teacher's weights, not at random; the
        rate is for batches of 32, theirs is 3e-4 for 256 texts and 5e-4 for 1,024; epochs are for a small
        data set, theirs are 400,000 steps.
    """

    assistant: bool | None = None
    learning_rate: float = 1e-4
    warmup: float = 0.01

    def losses(self, teacher: keras.Model, student: keras.Model) -> tuple[list[KnowledgeLoss], list[float]]:
        theirs, ours = (
            layers_of(teacher, "teacher").attention[-1],
            layers_of(student, "student").attention[-1],
        )
        return [AttentionKL(theirs, ours), SelfAttentionRelations(theirs, ours)], [1.0, 1.0]

    def needs_assistant(self, teacher: keras.Model, student: keras.Model) -> bool:
        """Whether an assistant is used between the two."""
        if self.assistant is not None:
            return self.assistant
        theirs, ours = layers_of(teacher, "teacher").hidden, layers_of(student, "student").hidden
        narrow = 2 * width_at(student, ours[-1]) <= width_at(teacher, theirs[-1])
        return narrow and 2 * len(ours) <= len(theirs)

    def make_assistant(self, teacher: keras.Model, student: keras.Model) -> keras.Model:
        """A new network with the teacher's number of layers and the student's width."""
        theirs, ours = layers_of(teacher, "teacher").hidden, layers_of(student, "student").hidden
        width = width_at(student, ours[-1])
        made = students.from_layers(teacher, list(range(len(theirs))), width)
        made.name = f"{student.name}_assistant"
        return made

    def fit(
        self,
        teacher: keras.Model,
        student: keras.Model,
        x: Any,
        y: Any = None,
        *,
        backup_dir: str | os.PathLike | None = None,
        **kwargs,
    ) -> keras.callbacks.History:
        """Trains a student, with an assistant if needed.

        Args:
            teacher: the trained transformer.
            student: the student, which is trained in place.
            x: as for every recipe.
            y: as for every recipe.
            backup_dir: as for every recipe; with an assistant, each of the two runs has a subfolder.
            **kwargs: the other arguments of `TextRecipe.fit`.

        Returns:
            The `keras.callbacks.History` of the student.
        """
        if self.needs_assistant(teacher, student):
            folders: list[Any] = [None, None]
            if backup_dir is not None:
                folders = [os.path.join(backup_dir, name) for name in ("assistant", "student")]
            assistant = self.make_assistant(teacher, student)
            super().fit(teacher, assistant, x, y, backup_dir=folders[0], **kwargs)
            teacher, backup_dir = assistant, folders[1]
        return super().fit(teacher, student, x, y, backup_dir=backup_dir, **kwargs)
