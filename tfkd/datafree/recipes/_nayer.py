"""NAYER: a generator conditioned on class embeddings through a noisy layer."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import keras
import numpy as np
from keras import ops

import generators
from tfkd._core.options import Above, AtLeast, Formerly, Share
from tfkd.datafree import _parts as parts
from tfkd.datafree._inversion_recipe import InversionRecipe
from tfkd.datafree._lesson import Lesson
from tfkd.datafree.objectives import Adversarial, BatchStatistics, Objective, OneHot
from tfkd.datafree.sources.inversion import Inversion, NoisyLabels
from tfkd.tasks import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class NAYER(parts.ConvolutionalNetwork, InversionRecipe):
    """A generator conditioned on class embeddings through a noisy layer that is redrawn for each batch.

    Defaults are the published ones for CIFAR-10: batches of 400, 30 steps of Adam 4e-3, two batches and 400
    updates at temperature 20 per epoch, the generator reinitialized every 20 batches. Published: CIFAR-100,
    WRN-40-2 75.83 % -> WRN-16-2 about 70.2 % in 100 epochs, 71.7 % in 300.

    When:
        Embeddings of the class names are available from a language model, and the teacher has batch
        normalization.

    Args:
        embeddings: `(classes, dimension)`, one row for each class, such as a language model's embedding of
            its name; None for rows that are as far from each other as possible.
        one_hot: the weight of the cross-entropy with the classes.
        statistics: the weight of the batch statistics (norm "l2"); ignored, with a warning, for teachers
            without batch normalization.
        momentum: the share of earlier batches in the statistics.
        adversarial: the weight of the divergence between teacher and student on images they agree on.
        generator_learning_rate: the learning rate of Adam.
        noise_size: the width of the noisy layers.
        generator_lifetime: the number of batches after which the generator is reinitialized.
        **kwargs: the options of `ConvolutionalNetwork` and `InversionRecipe`.

    Raises:
        ValueError: if a value is out of range; when the distiller is built, if there are not as many
            embeddings as classes.

    Example:
        >>> tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.NAYER())

    Reference:
        Tran et al., "NAYER: Noisy Layer Data Generation for Efficient and Effective Data-free Knowledge
        Distillation", 2024. Deviations: there are five times as many batches before the first update, not
        in each epoch of the warm-up; the generator is reinitialized after `generator_lifetime` batches then
        too, not after ten epochs; images are stored without rounding, not in 8-bit files, and only the
        latest are kept (`memory`), not all.
    """

    embeddings: Sequence[Sequence[float]] | None = None
    one_hot: Annotated[float, AtLeast(0)] = 0.5
    statistics: Annotated[float, AtLeast(0)] = 10.0
    momentum: Annotated[float, Share()] = 0.9
    adversarial: Annotated[float, AtLeast(0)] = 1.33
    generator_learning_rate: Annotated[float, Above(0)] = 4e-3
    noise_size: Annotated[int, AtLeast(1)] = 1000
    generator_lifetime: Annotated[int, AtLeast(1), Formerly("life")] = 20
    inversions: int = 2
    inversion_batch: int = 400
    batch_size: int = 512
    generator_steps: int = 30
    replay_steps: int = 400
    warmup_steps: int = 100
    view_shift: int = 4
    view_flip: bool = True
    student_shift: int = 4
    student_flip: bool = True
    student_learning_rate: float = 0.2
    epochs: int = 400

    def own_objectives(self) -> tuple[Objective, ...]:
        return (
            OneHot(self.one_hot),
            BatchStatistics(self.statistics, momentum=self.momentum),
            Adversarial(self.adversarial, "kl", only_where_agreeing=True),
        )

    def draw_targets(self, task: Task, seed: keras.random.SeedGenerator):
        """The classes in cyclic order, as the noisy layers expect."""
        return ops.arange(self.inversion_batch, dtype="int32") % task.classes

    def build_inversion(self, lesson: Lesson) -> Inversion:
        embeddings, classes = self.embeddings, lesson.task.classes
        if embeddings is None:
            embeddings = generators.default_embeddings(classes)
        elif len(embeddings) != classes:
            raise ValueError(
                f"NAYER: `embeddings` must have one row for each of the teacher's {classes} classes. "
                f"Received: shape {np.shape(embeddings)}."
            )
        return NoisyLabels(
            lesson.input_shape,
            self.inversion_batch,
            self.generator_steps,
            lesson.seed,
            generator=generators.NoisyLabelGenerator(
                lesson.input_shape,
                embeddings,
                self.inversion_batch,
                self.noise_size,
                filters=self.filters,
                epsilon=self.norm_epsilon,
            ),
            optimizer=keras.optimizers.Adam(self.generator_learning_rate, beta_1=0.5),
            generator_lifetime=self.generator_lifetime,
        )
