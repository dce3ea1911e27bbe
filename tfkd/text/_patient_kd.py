"""Patient KD: the first token in several layers, with soft targets and labels."""

import dataclasses
from typing import Annotated

import keras

from tfkd._core.options import Above, AtLeast, OneOf, Share
from tfkd.losses import KnowledgeLoss, PatientCLS, SoftTargets
from tfkd.text._layer_recipe import LayerRecipe
from tfkd.text._parts_of_models import layers_of, width_at


@dataclasses.dataclass(frozen=True, kw_only=True)
class PatientKD(LayerRecipe):
    """PKD: a student made from the teacher's first layers learns [CLS] vectors of several layers.

    The loss is (1 - alpha) times the labels' cross-entropy, plus alpha times the soft targets, plus beta
    times the distance of normalized first tokens in all student layers but the last. Without labels the
    first term is omitted.

    Args:
        layers: as for `LayerRecipe`; the student is initialized from the teacher's first ones.
        hidden_dim: as for `LayerRecipe`; a width other than the teacher's gets a trained projector.
        strategy: "skip" for teacher layers spread over its depth, "last" for those just below the last.
        alpha: weight of the soft targets, in [0, 1).
        beta: weight of the first tokens' distance, at least 0.
        temperature: temperature of the soft targets, above 0.
        **kwargs: the options of `TextRecipe`.

    Raises:
        ValueError: if a value is out of its range.

    Example:
        >>> student = tfkd.text.PatientKD(layers=3).distil(teacher, data)

    Reference:
        Sun et al., "Patient Knowledge Distillation for BERT Model Compression", 2019. The authors search
        alpha in 0.2, 0.5, 0.7, beta in 10, 100, 500, 1,000, temperatures 5, 10, 20 and rates 5e-5, 2e-5,
        1e-5; the defaults are from the middle. Deviations: soft targets are summed over classes, while
        their code takes the mean; all weights are divided by 2 - alpha, which does not affect AdamW; the
        width may differ.
    """

    strategy: Annotated[str, OneOf("skip", "last")] = "skip"
    alpha: Annotated[float, Share()] = 0.5
    beta: Annotated[float, AtLeast(0)] = 100.0
    temperature: Annotated[float, Above(0)] = 10.0
    learning_rate: float = 2e-5
    epochs: int = 4

    def choice_of(self, count: int, depth: int) -> list[int]:
        return list(range(count))

    def losses(self, teacher: keras.Model, student: keras.Model) -> tuple[list[KnowledgeLoss], list[float]]:
        theirs, ours = layers_of(teacher, "teacher").hidden, layers_of(student, "student").hidden
        losses: list[KnowledgeLoss] = [SoftTargets(self.temperature)]
        weights = [self.alpha]
        matched = self.matched_layers(len(theirs), len(ours))
        if matched and self.beta:
            projector = width_at(teacher, theirs[0]) != width_at(student, ours[0])
            losses.append(PatientCLS([theirs[i] for i in matched], ours[:-1], projector=projector))
            weights.append(self.beta)
        return losses, weights

    def weight_of_labels(self, teacher: keras.Model) -> float:
        return 1.0 - self.alpha

    def matched_layers(self, depth: int, student_depth: int) -> list[int]:
        """The indices of the teacher's layers compared with the student's, all but its last.

        Args:
            depth: depth of the teacher.
            student_depth: depth of the student, at most the teacher's.

        Returns:
            Indices from 0; for 12 and 6 layers these are 1, 3, 5, 7, 9 or 6, 7, 8, 9, 10.
        """
        matched = student_depth - 1
        if self.strategy == "last":
            return list(range(depth - 1 - matched, depth - 1))
        return [(i + 1) * depth // student_depth - 1 for i in range(matched)]
