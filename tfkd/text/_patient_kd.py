"""Patient KD: what the first token has become in several layers, beside soft targets and labels."""

import dataclasses
from typing import Annotated

import keras

from tfkd._core.options import Above, AtLeast, OneOf, Share
from tfkd.losses import KnowledgeLoss, PatientCLS, SoftTargets
from tfkd.text._layer_recipe import LayerRecipe
from tfkd.text._parts_of_models import layers_of, width_at


@dataclasses.dataclass(frozen=True, kw_only=True)
class PatientKD(LayerRecipe):
    """PKD: a student of the teacher's first layers learns what [CLS] is in several of them.

    The loss is (1 - alpha) of the labels' cross-entropy, alpha of the soft targets and beta of the distance
    of normalized first tokens of all student layers but the last. Without labels the first part is left
    out.

    Args:
        layers: as of `LayerRecipe`; the student begins with the teacher's first ones.
        hidden_dim: as of `LayerRecipe`; another width than the teacher's gets a trained projector.
        strategy: "skip" for teacher layers spread over its depth, "last" for those below its last one.
        alpha: share of the soft targets, in [0, 1).
        beta: weight of the first tokens' distance, at least 0.
        temperature: of the soft targets, above 0.
        **kwargs: the options of `TextRecipe`.

    Raises:
        ValueError: for a value out of its range.

    Example:
        >>> student = tfkd.text.PatientKD(layers=3).distil(teacher, data)

    Reference:
        Sun et al., "Patient Knowledge Distillation for BERT Model Compression", 2019. The authors search
        alpha in 0.2, 0.5, 0.7, beta in 10, 100, 500, 1,000, temperatures 5, 10, 20 and rates 5e-5, 2e-5,
        1e-5; the defaults are out of the middle. Deviations: soft targets are summed over classes, where
        their code has the mean; all weights are divided by 2 - alpha, which AdamW does not see; another
        width.
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
        """The numbers of the teacher's layers that the student's are compared with, all but its last.

        Args:
            depth: of the teacher.
            student_depth: of the student, at most that.

        Returns:
            From 0; of 12 layers and 6 these are 1, 3, 5, 7, 9 or 6, 7, 8, 9, 10.
        """
        matched = student_depth - 1
        if self.strategy == "last":
            return list(range(depth - 1 - matched, depth - 1))
        return [(i + 1) * depth // student_depth - 1 for i in range(matched)]
