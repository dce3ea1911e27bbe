"""PSAQ-ViT: pixels optimized until their patches differ as those of pictures do to a transformer."""

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

    Made for calibrating quantization: `distiller.fit(epochs=1)` and then `distiller.synthesize(32)` as
    `representative_data`. A teacher needs attention layers that `tfkd.taps.attention_layers` finds.
    Defaults are the published ones, for pictures of 224 pixels normalized as ImageNet's: 1,000 Adam steps
    of 0.2 on batches of 32. For smaller ones lower `view_shift`; `pixel_mean` and `pixel_std` should be
    those of the teacher's images. Beside it tokens can be held to those of photographs, or of a few real
    images where there are some; see the example.

    When:
        A vision transformer is to be quantized, and there are no images to calibrate by.

    Args:
        patch_similarity: weight of the entropy of similarities of patches, which is maximized.
        token_statistics: weight of `TokenStatistics`, which the paper does not have; about 0.1.
        one_hot: weight of the cross-entropy with the targets.
        total_variation: weight of the distance of the total variation to `roughness`.
        roughness: root mean square of the differences between neighbouring pixels, on the normalized scale.
        pixel_learning_rate: of Adam on normalized pixels; it warms up in 100 steps and decays as a cosine.
        student_learning_rate: peak rate of AdamW, which warms up over the first 5 % of the updates and
            decays to 0 as a cosine.
        **kwargs: the options of `PixelInversionRecipe`.

    Example:
        >>> recipe = tfkd.datafree.PSAQViT(view_shift=2, generator_steps=300, token_statistics=0.1)
        >>> distiller = tfkd.DataFreeDistiller(teacher, student, recipe)
        >>> given = tfkd.datafree.measure(teacher, few_images, tfkd.taps.transformer(teacher).hidden)
        >>> recipe.with_options(objectives=[objectives.BatchStatistics(0.1, given=given)])

    Reference:
        Li et al., "Patch Similarity Aware Data-Free Quantization for Vision Transformers", 2022.
        Deviations, beside those of `PatchSimilarity`: one course of 1,000 steps with rolls of up to 30
        pixels, each axis by itself, where theirs has two of 500, the first with up to 15; the total
        variation is held to the middle of the range that they draw from, for pictures of any size; the best
        images of the steps are kept, not the last. They teach no student, so its optimizer is this
        project's own.
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
