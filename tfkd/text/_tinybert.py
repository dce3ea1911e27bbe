"""TinyBERT: embeddings, hidden states and attention of a few layers, then predictions."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import keras

from tfkd._core.options import Above, AtLeast, OneOf
from tfkd.distilling._token_tables import check_tokens
from tfkd.losses import AttentionScores, HiddenStates, KnowledgeLoss
from tfkd.schemes import Stage
from tfkd.tasks import marked_task, task_of
from tfkd.text._layer_recipe import LayerRecipe
from tfkd.text._parts_of_models import layers_of
from tfkd.text._predicted_words import augment_by_predictions
from tfkd.text._sentences import Sentences


@dataclasses.dataclass(frozen=True, kw_only=True)
class TinyBERT(LayerRecipe):
    """Transformer distillation: layer by layer first, then the predictions.

    `stage="task"` has two stages on the task's texts, including augmented ones: first embeddings, hidden
    states and attention scores, then the teacher's predictions, without labels. `stage="general"` is the
    first of them alone, with a teacher that is not fine-tuned and any texts; run it before the task stages
    if there is time. A student with m layers is matched to every k-th of the teacher's m * k layers.

    Args:
        layers: number of the student's layers, which must divide the teacher's depth; or as for
            `LayerRecipe`.
        hidden_dim: width of the student's hidden states; None for the teacher's.
        stage: "task" or "general".
        epochs: epochs of the first task stage.
        learning_rate: peak learning rate of the first task stage.
        prediction_epochs: epochs of the second task stage.
        prediction_learning_rate: its peak learning rate, above 0.
        general_epochs: epochs of the general stage.
        general_learning_rate: its peak learning rate, above 0.
        copies: number of sentences `augment` makes from each, at least 1.
        replace: probability that it replaces a word, in (0, 1].
        candidates: number of candidates per word, at least 1.
        **kwargs: the options of `TextRecipe`.

    Raises:
        ValueError: if a value is out of its range.

    Example:
        >>> recipe = tfkd.text.TinyBERT(layers=3, hidden_dim=192)
        >>> student = recipe.student(teacher)
        >>> recipe.with_options(stage="general").fit(pretrained, student, general_data)
        >>> recipe.fit(teacher, student, task_data)

    Reference:
        Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding", 2020: 4 layers of 312,
        20 epochs at 5e-5, 3 at one of 1e-5, 2e-5, 3e-5, batches of 32, 3 general epochs. Deviations: the
        student starts with the teacher's layers, projected to its width, while the paper starts from the
        general stage; cross-entropy is summed over classes, while their code takes the mean.
    """

    layers: int | tuple[int, ...] | None = 4
    hidden_dim: Annotated[int | None, AtLeast(1)] = 312
    stage: Annotated[str, OneOf("task", "general")] = "task"
    epochs: int = 20
    prediction_epochs: Annotated[int, AtLeast(1)] = 3
    prediction_learning_rate: Annotated[float, Above(0)] = 3e-5
    general_epochs: Annotated[int, AtLeast(1)] = 3
    general_learning_rate: Annotated[float, Above(0)] = 1e-4
    copies: Annotated[int, AtLeast(1)] = 20
    replace: Annotated[float, Above(0)] = 0.4
    candidates: Annotated[int, AtLeast(1)] = 15
    weight_decay: float = 1e-4

    def choice_of(self, count: int, depth: int) -> list[int]:
        step = _step(count, depth)
        return [i * step + step - 1 for i in range(count)]

    def losses(self, teacher: keras.Model, student: keras.Model) -> tuple[list[KnowledgeLoss], list[float]]:
        theirs, ours = layers_of(teacher, "teacher"), layers_of(student, "student")
        step = _step(len(ours.hidden), len(theirs.hidden))
        losses = [
            HiddenStates(theirs.embeddings, ours.embeddings, name="embeddings"),
            HiddenStates(theirs.hidden[step - 1 :: step], ours.hidden),
            AttentionScores(theirs.attention[step - 1 :: step], ours.attention),
        ]
        return losses, [1.0] * len(losses)

    def stages(
        self,
        teacher: keras.Model,
        student: keras.Model,
        updates: int | None = None,
        labelled: bool = True,
    ) -> list[Stage]:
        check_tokens(teacher, student)
        losses, weights = self.losses(teacher, student)
        if self.stage == "general":
            rate = self.general_learning_rate
            return [self.training(student, losses, weights, 0.0, self.general_epochs, rate, updates)]
        answers = (marked_task(teacher) or task_of(teacher)).soft_loss(1.0)
        last = self.prediction_epochs, self.prediction_learning_rate, updates
        return [
            self.training(student, losses, weights, 0.0, self.epochs, self.learning_rate, updates),
            self.training(student, [answers], [1.0], 0.0, *last),
        ]

    def augment(self, texts: Sequence[str], model: keras.Model, tokenizer: Any, seed: int = 0) -> Sentences:
        """Augments the task's sentences with `augment_by_predictions` and the recipe's options.

        Args:
            texts: sentences of the task.
            model: a masked language model.
            tokenizer: its tokenizer.
            seed: int seed of all choices.

        Returns:
            `Sentences`.
        """
        numbers = {"copies": self.copies, "replace": self.replace, "candidates": self.candidates}
        return augment_by_predictions(texts, model, tokenizer, seed=seed, **numbers)


def _step(count, depth):
    """The number of teacher layers per student layer."""
    if depth % count:
        divisors = [n for n in range(1, depth) if depth % n == 0]
        raise ValueError(
            f"`layers` must divide the teacher's {depth} layers, so that each stands for the same number "
            f"of them. Received: {count} layers. Give one of {divisors}."
        )
    return depth // count
