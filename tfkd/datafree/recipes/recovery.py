"""Recovery: what a student lost that began as part of its teacher, got back without data."""

import dataclasses
import math

import keras

from tfkd.datafree.objectives import BatchStatistics, ClassBalance, Objective, OneHot
from tfkd.datafree.recipe import Recipe
from tfkd.losses import Hint, KnowledgeLoss, SoftTargets
from tfkd.losses.base import check_positive
from tfkd.taps import shared_stages


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recovery(Recipe):
    """For students that inherited weights: features of the teacher, on images with its statistics.

    A generator is held to the teacher's batch statistics and to sure and balanced classes, alone for the
    first `warmup_steps` steps, since the student needs few images, but good ones. The student then learns
    the teacher's features at the end of each stage beside its soft targets, on new and remembered images.
    It should come from `tfkd.students.scale_depth` or `scale_width` with `inherit=True`; one that starts
    afresh learns too, but much less in the same time.

    Args:
        statistics: weight of the batch statistics (norm "l2"); left out, with a warning, for teachers
            without normalization, where half of the images come from the prior instead.
        one_hot: weight of sure classes.
        class_balance: weight of the balance of classes.
        features: weight of the relative distance of features beside the soft targets; 0 to leave it out.
        feature_layers: pairs of taps, teacher's and student's; None for the last of each size of maps
            that both networks have.
        temperature: of the soft targets.
        generator_learning_rate: of Adam with first moment 0.5.
        student_learning_rate: peak rate of Adam, which warms up over the first 5 % of the updates and
            decays to 0 as a cosine.
        **kwargs: the other fields of `Recipe`.

    Example:
        >>> student = tfkd.students.scale_depth(teacher, 0.6, inherit=True)
        >>> tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.Recovery())

    Reference:
        This project's own, of known parts: statistics from DeepInversion (Yin et al., 2020), class terms
        from DAFL (Chen et al., 2019), features from FitNets (Romero et al., 2015).
    """

    statistics: float = 1.0
    one_hot: float = 1.0
    class_balance: float = 5.0
    features: float = 50.0
    feature_layers: tuple[tuple[str, str], ...] | None = None
    temperature: float = 4.0
    generator_learning_rate: float = 1e-3
    student_learning_rate: float = 1e-3
    generator_steps: int = 1
    warmup_steps: int = 500
    batch_size: int = 128
    latent_size: int = 128
    filters: int = 64
    memory: int | None = None
    memory_dtype: str = "uint8"
    replay_steps: int = 2
    student_flip: bool = True
    epochs: int = 40
    steps_per_epoch: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(temperature=self.temperature)
        self._above_0("student_learning_rate", "generator_learning_rate")
        self._in_range(0, math.inf, "statistics", "one_hot", "class_balance", "features")

    def build_objectives(self) -> tuple[Objective, ...]:
        terms = (
            BatchStatistics(self.statistics),
            OneHot(self.one_hot),
            ClassBalance(self.class_balance),
        )
        return self.with_own(terms)

    def build_student_loss(self) -> KnowledgeLoss:
        return SoftTargets(self.temperature)

    def build_student_losses(
        self, teacher: keras.Model, student: keras.Model
    ) -> list[tuple[KnowledgeLoss, float]]:
        losses = [(self.build_student_loss(), 1.0)]
        if not self.features:
            return losses
        pairs = self.feature_layers
        if pairs is None:
            pairs = shared_stages(teacher, student)
        if not pairs:
            raise ValueError(
                "Recovery: `feature_layers` must name pairs of layers, since teacher and student have no "
                "maps of the same size. Give them, or features=0."
            )
        teachers, students = (list(taps) for taps in zip(*pairs, strict=True))
        return [*losses, (Hint(teachers, students, relative=True), self.features)]

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        warmup = max(1, updates // 20)
        schedule = keras.optimizers.schedules.CosineDecay(
            self.student_learning_rate / 20,
            max(1, updates - warmup),
            warmup_target=self.student_learning_rate,
            warmup_steps=warmup,
        )
        return keras.optimizers.Adam(schedule)

    def generator_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(self.generator_learning_rate, beta_1=0.5)
