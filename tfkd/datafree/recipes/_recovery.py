"""Recovery: restores the accuracy of a student that was cut from its teacher, without data."""

import dataclasses
from typing import Annotated

import keras

from tfkd._core.options import Above, AtLeast
from tfkd.datafree._recipe import ConvGeneratorRecipe
from tfkd.datafree.objectives import BatchStatistics, ClassBalance, Objective, OneHot
from tfkd.optimizers import Muon, warmed_up_cosine


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recovery(ConvGeneratorRecipe):
    """For students that inherited weights: matches the teacher's features on images with its statistics.

    A generator is trained for the teacher's batch statistics and for clear, balanced classes. It trains
    alone for `warmup_steps`, because image quality matters more than quantity. The student then learns
    the teacher's features at the end of each stage and its soft targets, on new and stored images. The
    student should come from `tfkd.students.scale_depth` or `scale_width` with `inherit=True`; a student
    with random weights learns too, but much less in the same time.

    When:
        The student inherited weights, the teacher has batch normalization, and its images resemble neither
        drawings nor photographs.

    Args:
        statistics: the weight of the batch statistics (norm "l2"); left out, with a warning, for teachers
            without batch normalization, for which half of the images come from the prior instead.
        one_hot: the weight of the cross-entropy with the predicted classes.
        class_balance: the weight of the class balance.
        generator_learning_rate: the learning rate of Adam with `beta_1=0.5`.
        student_learning_rate: the peak learning rate of `tfkd.optimizers.Muon`, which warms up over the
            first 5 % of the updates and decays to 0 as a cosine.
        **kwargs: the options of `ConvGeneratorRecipe`.

    Example:
        >>> student = tfkd.students.scale_depth(teacher, 0.6, inherit=True)
        >>> tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.Recovery())

    Reference:
        This project's own combination of known parts: statistics from DeepInversion (Yin et al., 2020),
        class terms from DAFL (Chen et al., 2019), features from FitNets (Romero et al., 2015).
    """

    statistics: Annotated[float, AtLeast(0)] = 1.0
    one_hot: Annotated[float, AtLeast(0)] = 1.0
    class_balance: Annotated[float, AtLeast(0)] = 5.0
    features: float = 50.0
    temperature: float = 4.0
    generator_learning_rate: Annotated[float, Above(0)] = 1e-3
    student_learning_rate: Annotated[float, Above(0)] = 6e-3
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

    def own_objectives(self) -> tuple[Objective, ...]:
        return (
            BatchStatistics(self.statistics),
            OneHot(self.one_hot),
            ClassBalance(self.class_balance),
        )

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        return Muon(warmed_up_cosine(self.student_learning_rate, updates))

    def generator_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(self.generator_learning_rate, beta_1=0.5)
