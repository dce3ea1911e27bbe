"""PSAQ-ViT: pixels optimized so that a transformer sees patches as diverse as in real pictures."""

import dataclasses
from typing import Annotated

import keras

from tfkd._core.options import Above, AtLeast
from tfkd.datafree import _views as views
from tfkd.datafree._inversion_recipe import PixelInversionRecipe
from tfkd.datafree._lesson import Lesson
from tfkd.datafree.objectives import Objective, OneHot, PatchSimilarity, TokenStatistics, TotalVariation
from tfkd.datafree.sources.inversion import Inversion
from tfkd.optimizers import warmed_up_cosine


@dataclasses.dataclass(frozen=True, kw_only=True)
class PSAQViT(PixelInversionRecipe):
    """Batches of pixels for vision transformers, which have no batch statistics to match.

    It is meant for calibrating quantization: call `distiller.fit(epochs=1)`, then use
    `distiller.synthesize(32)` as `representative_data`. The teacher needs attention layers that
    `tfkd.taps.attention_layers` finds. Defaults are the published ones, for pictures of 224 pixels with
    ImageNet normalization: 1,000 Adam steps of 0.2 on batches of 32. For smaller pictures, lower
    `view_shift`; `pixel_mean` and `pixel_std` should be those of the teacher's images. In addition, tokens
    can be matched to the tokens of photographs, or of a few real images; see the example.

    When:
        You want to quantize a vision transformer, but have no images for calibration.

    Args:
        patch_similarity: the weight of the entropy of patch similarities, which is maximized.
        token_statistics: the weight of `TokenStatistics`, which is not in the paper; try 0.1.
        one_hot: the weight of the cross-entropy with the targets.
        total_variation: the weight of the distance of the total variation to `roughness`.
        roughness: the desired root mean square of the differences between neighbouring pixels, on the
            normalized scale.
        pixel_learning_rate: the learning rate of Adam on normalized pixels; it warms up in 100 steps and
            decays as a cosine.
        student_learning_rate: the peak learning rate of AdamW, which warms up over the first 5 % of the
            updates and decays to 0 as a cosine.
        **kwargs: the options of `PixelInversionRecipe`.

    Example:
        >>> recipe = tfkd.datafree.PSAQViT(view_shift=2, generator_steps=300, token_statistics=0.1)
        >>> distiller = tfkd.DataFreeDistiller(teacher, student, recipe)
        >>> given = tfkd.datafree.measure(teacher, few_images, tfkd.taps.transformer(teacher).hidden)
        >>> recipe.with_options(objectives=[objectives.BatchStatistics(0.1, given=given)])

    Reference:
        Li et al., "Patch Similarity Aware Data-Free Quantization for Vision Transformers", 2022.
        Deviations, in addition to those of `PatchSimilarity`: one phase of 1,000 steps with independent
            rolls of
        both axes by up to 30 pixels, instead of two phases of 500 steps, the first with up to 15 pixels;
        the target of the total variation is the middle of the range from which the authors draw it, for
        pictures of any size; the best images of the steps are used, not the last. The authors do not train
        a student, so its optimizer is this project's own.
    """

    patch_similarity: Annotated[float, AtLeast(0)] = 1.0
    token_statistics: Annotated[float, AtLeast(0)] = 0.0
    one_hot: Annotated[float, AtLeast(0)] = 1.0
    total_variation: Annotated[float, AtLeast(0)] = 0.05
    roughness: Annotated[float, AtLeast(0)] = 0.31
    pixel_learning_rate: Annotated[float, Above(0)] = 0.2
    student_learning_rate: float = 1e-3
    generator_steps: int = 1000
    view_shift: int = 30
    view_flip: bool = True
    inversion_batch: int = 32
    batch_size: int = 32
    temperature: float = 4.0
    replay_steps: int = 20
    epochs: int = 100

    def own_objectives(self) -> tuple[Objective, ...]:
        return (
            PatchSimilarity(self.patch_similarity),
            TokenStatistics(self.token_statistics),
            OneHot(self.one_hot),
            TotalVariation(self.total_variation, self.pixel_std, self.roughness),
        )

    def view(self) -> views.View | None:
        if not (self.view_shift or self.view_flip):
            return None
        return views.Jitter(self.view_shift, self.view_flip)

    def build_inversion(self, lesson: Lesson) -> Inversion:
        rate = self.cosine_rate(self.pixel_learning_rate)
        return self.build_pixels(lesson, keras.optimizers.Adam(rate, beta_1=0.5, beta_2=0.9))

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        return keras.optimizers.AdamW(
            warmed_up_cosine(self.student_learning_rate, updates), weight_decay=self.weight_decay
        )
