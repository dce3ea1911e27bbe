"""TextRecipe: the student of a transformer, its losses, and its training stages."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import keras
import tensorflow as tf

from tfkd._core.keras_internals import flatten_layers
from tfkd._core.options import Above, AtLeast, Options, Share
from tfkd.distilling import Distiller
from tfkd.distilling._token_tables import check_tokens
from tfkd.losses import Batch, CausalLanguageModeling, KnowledgeLoss, MaskedLanguageModeling
from tfkd.schemes import Stage, Stages
from tfkd.tasks import (
    CausalLanguageModel,
    LanguageModel,
    MaskedLanguageModel,
    Perplexity,
    marked_task,
    task_of,
)
from tfkd.text._linear_decay import LinearDecay
from tfkd.text._trained_layers import trained_layers


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextRecipe(Options):
    """How a transformer is distilled; published recipes are subclasses with the authors' values.

    A subclass implements `student` and `losses`, and `stages` for training in several stages.

    Args:
        epochs: number of epochs, at least 1.
        batch_size: texts in a batch, if `x` contains arrays; data sets have their own.
        learning_rate: peak learning rate, above 0.
        warmup: fraction of the updates used for warm-up, in [0, 1); the rate then decays linearly to 0. If
            the number of updates is unknown, the rate is constant.
        weight_decay: weight decay of AdamW, at least 0; not applied to biases and normalizations.
        train_embeddings: whether the student's embedding tables are trained. They hold most of a small
            student's weights: without training them a step is faster, and they keep the teacher's values.

    Raises:
        ValueError: for an option that the recipe does not have, or a value out of its range.

    Example:
        >>> recipe = tfkd.text.DistilBERT(layers=3, epochs=2)
        >>> student = recipe.distil(teacher, tfkd.text.batches(sentences, labels, tokenizer=tokenizer))
    """

    # Whether the recipe is only for language models, which are distilled in code.
    of_language_models: ClassVar[bool] = False

    epochs: Annotated[int, AtLeast(1)] = 3
    batch_size: Annotated[int, AtLeast(1)] = 32
    learning_rate: Annotated[float, Above(0)] = 5e-5
    warmup: Annotated[float, Share()] = 0.1
    weight_decay: Annotated[float, AtLeast(0)] = 0.01
    train_embeddings: bool = True

    def student(self, teacher: keras.Model) -> keras.Model:
        """A new student of this teacher, with inherited weights.

        Raises:
            ValueError: if the teacher is not a transformer, or is shallower than the student.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement student(teacher).")

    def losses(self, teacher: keras.Model, student: keras.Model) -> tuple[list[KnowledgeLoss], list[float]]:
        """The student's losses besides the labels' loss, and their weights."""
        raise NotImplementedError(f"{type(self).__name__} must implement losses(teacher, student).")

    def weight_of_labels(self, teacher: keras.Model) -> float:
        """The weight of the loss on labels relative to the weights of `losses`; 0 if labels are not
        used."""
        return 0.0

    def frozen_layers(self, student: keras.Model) -> list[keras.Layer]:
        """Layers of the student that are not trained."""
        if self.train_embeddings:
            return []
        return [layer for layer in flatten_layers(student) if isinstance(layer, keras.layers.Embedding)]

    def stages(
        self,
        teacher: keras.Model,
        student: keras.Model,
        updates: int | None = None,
        labelled: bool = True,
    ) -> list[Stage]:
        """The stages of training, for `tfkd.schemes.Stages`.

        Args:
            teacher: the trained transformer.
            student: the result of `student`, or another network with the same vocabulary.
            updates: updates per epoch, for the learning rate decay; None for a constant rate.
            labelled: whether there are labels.

        Returns:
            The stages, in order; layers that no loss reaches are not trained.

        Raises:
            ValueError: if the two are not compatible.
        """
        check_tokens(teacher, student)
        losses, weights = self.losses(teacher, student)
        weight = self.weight_of_labels(teacher) if labelled else 0.0
        return [self.training(student, losses, weights, weight, self.epochs, self.learning_rate, updates)]

    def training(
        self,
        student: keras.Model,
        losses: list[KnowledgeLoss],
        weights: list[float],
        labels_weight: float,
        epochs: int,
        learning_rate: float,
        updates: int | None,
    ) -> Stage:
        """One stage; with labels, weights are divided by 1 + `labels_weight`, which Adam ignores."""
        return Stage(
            losses,
            epochs,
            weights,
            labels_weight / (1.0 + labels_weight),
            trainable=trained_layers(student, losses, labels_weight > 0, self.frozen_layers(student)),
            optimizer=self.optimizer(learning_rate, None if updates is None else epochs * updates),
        )

    def optimizer(self, learning_rate: float, updates: int | None) -> keras.optimizers.Optimizer:
        """A new optimizer for a stage.

        Args:
            learning_rate: peak learning rate.
            updates: number of updates in the stage; None if unknown.
        """
        rate: Any = learning_rate if updates is None else LinearDecay(learning_rate, updates, self.warmup)
        optimizer = keras.optimizers.AdamW(rate, self.weight_decay, epsilon=1e-6)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        return optimizer

    def distiller(self, teacher: keras.Model, student: keras.Model) -> Distiller:
        """The distiller of the last stage, to compile and fit yourself.

        This distiller also trains layers that the stage would not train: freeze those layers of the student
        first.
        """
        return self.stages(teacher, student)[-1].distiller(teacher, student)

    def fit(
        self,
        teacher: keras.Model,
        student: keras.Model,
        x: Any,
        y: Any = None,
        *,
        loss: Any = None,
        metrics: Any = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        backup_dir: str | os.PathLike | None = None,
        seed: int | None = None,
        **kwargs,
    ) -> keras.callbacks.History:
        """Trains a student with the recipe.

        Args:
            teacher: the trained transformer; it is not changed.
            student: the student, which is trained in place.
            x: inputs, or a data set of inputs, alone or with labels, as in `keras.Model.fit`.
            y: labels; None if there are none, or `x` has them.
            loss: the labels' loss; None for the task's.
            metrics: metrics of the student's outputs; None for the task's, if there are labels.
            callbacks: callbacks for every stage.
            backup_dir: folder in which every epoch is saved, so that the same call resumes after an
                interruption; None for no backup. The order of the data must be determined by a seed.
            seed: int seed of the initial values of the losses' trained parts; None for a random one.
            **kwargs: passed to `tfkd.schemes.Stages.fit`, such as `validation_data` and `verbose`.

        Returns:
            One `keras.callbacks.History` of all epochs.

        Raises:
            ValueError: if the two are not compatible, or labels that the recipe needs are missing.
        """
        labelled, task = y is not None or _has_labels(x), marked_task(teacher) or task_of(teacher)
        batch_size = kwargs.pop("batch_size", self.batch_size)
        if isinstance(x, tf.data.Dataset):
            # Keras would warn about its own default.
            kwargs.setdefault("shuffle", False)
        elif not isinstance(x, keras.utils.PyDataset):
            kwargs["batch_size"] = batch_size
        stages = self.stages(teacher, student, _updates(x, batch_size), labelled)
        if not labelled and _need_labels(stages):
            raise ValueError(_NO_LABELS.format(recipe=type(self).__name__, teacher=teacher.name))
        return Stages(stages, seed).fit(
            *(teacher, student, x, y),
            loss=task.label_loss() if loss is None and labelled else loss,
            metrics=_metrics(task) if metrics is None and labelled else metrics,
            callbacks=callbacks,
            backup_dir=backup_dir,
            **kwargs,
        )

    def distil(
        self,
        teacher: keras.Model,
        x: Any,
        y: Any = None,
        *,
        student: keras.Model | None = None,
        **kwargs,
    ) -> keras.Model:
        """Creates a student and trains it.

        Args:
            teacher: the trained transformer.
            x: as in `fit`.
            y: as in `fit`.
            student: the student to train in place; None for a new one.
            **kwargs: passed to `fit`.

        Returns:
            The trained student.

        Example:
            >>> small = tfkd.text.TinyBERT(layers=3, hidden_dim=192).distil(teacher, data)
            >>> small.save("student.keras")
        """
        student = self.student(teacher) if student is None else student
        self.fit(teacher, student, x, y, **kwargs)
        return student


_NO_LABELS = (
    "`y` is missing: {recipe} also learns from the tokens, and {teacher!r} is a language model. For a "
    "masked one, use data.apply(tfkd.text.mask_tokens(tokenizer)); for a causal one, "
    "y=tfkd.tasks.next_tokens(ids, mask)."
)


def _need_labels(stages):
    return any("labels" in loss.missing(Batch()) for stage in stages for loss in stage.losses)


def _has_labels(x):
    if isinstance(x, tf.data.Dataset):
        return isinstance(x.element_spec, tuple) and len(x.element_spec) > 1
    # For other data, only a batch shows it.
    return isinstance(x, keras.utils.PyDataset) and isinstance(x[0], tuple) and len(x[0]) > 1


def _updates(x, batch_size):
    """The number of updates per epoch; None if unknown."""
    if isinstance(x, tf.data.Dataset):
        return max(1, count) if (count := int(x.cardinality())) >= 0 else None
    if isinstance(x, keras.utils.PyDataset):
        return x.num_batches
    return -(-len(keras.tree.flatten(x)[0]) // batch_size)


def _metrics(task):
    """New metrics for labels."""
    return [task.metric(), *([Perplexity()] if isinstance(task, LanguageModel) else [])]


def labels_loss(teacher: keras.Model) -> KnowledgeLoss | None:
    """The loss on true tokens if the teacher is a language model, otherwise None."""
    task = marked_task(teacher)
    if isinstance(task, MaskedLanguageModel):
        return MaskedLanguageModeling()
    return CausalLanguageModeling() if isinstance(task, CausalLanguageModel) else None
