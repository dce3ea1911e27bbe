"""The stages of a compression: prune, cluster, quantize, in this order."""

import dataclasses
from collections.abc import Callable

import keras

from tfkd import compression, students
from tfkd._core.checks import check_choice, check_int, check_number
from tfkd.compression._distribution import DISTRIBUTIONS
from tfkd.compression._pruning_schedule import GROWING_SHARE, TOLERATED
from tfkd.pipelines._compression_stages import CompressionStages
from tfkd.pipelines._compression_variants import CompressionVariants
from tfkd.pipelines._networks import copied


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompressionPlan:
    """The stages of a compression.

    Args:
        prune: fraction of all kernel weights to set to 0, or None.
        prune_distribution: how zeros are distributed over layers.
        cluster: number of distinct weight values in each kernel, or None.
        quantize: whether to use quantization-aware training.

    Raises:
        ValueError: if a value is out of its range.
    """

    prune: float | None
    prune_distribution: str
    cluster: int | None
    quantize: bool

    def __post_init__(self) -> None:
        if self.prune is not None:
            check_number("prune", self.prune, least=0, below=1)
        check_choice("prune_distribution", self.prune_distribution, DISTRIBUTIONS)
        if self.cluster is not None:
            check_int("cluster", self.cluster, least=2)

    def not_reached(self, model: keras.Model) -> str | None:
        """How a compressed model falls short of the plan, in words; None if it does not."""
        reached = compression.sparsity(model)
        if self.prune is None or reached >= self.prune - TOLERATED:
            return None
        return (
            f"the requested sparsity, {self.prune:.1%}, was not reached: {reached:.1%} of all kernel "
            "weights are 0; layers that are frozen, or that tfmot does not prune, kept theirs"
        )

    def apply(
        self,
        model: keras.Model,
        stages: CompressionStages,
        variants: CompressionVariants,
        say: Callable[[str], None],
    ) -> keras.Model:
        """Compresses a model.

        Zeros are kept from stage to stage, including those the model came with. Students are trained
        without dropout.

        Args:
            model: the model; not changed.
            stages: trains the student of each stage.
            variants: measures the plain model after each stage except quantization.
            say: prints a line, or does nothing.

        Returns:
            The model after the last stage, still wrapped; the given model if there are no stages.
        """
        if self.prune is None and self.cluster is None and not self.quantize:
            return model
        current = wrapped = students.without_dropout(model if model.trainable else copied(model))
        if self.prune is not None:
            grown = int(GROWING_SHARE * stages.passes)
            wrapped = compression.prune(
                current, self.prune, schedule=(0, grown), distribution=self.prune_distribution
            )
            current = compression.strip(stages.run("pruned", wrapped))
            variants.measure_stage("pruned", current)
        zeros = compression.sparsity(current) > 0
        if self.cluster is not None:
            wrapped = compression.cluster(current, self.cluster, preserve_sparsity=zeros)
            current = compression.strip(stages.run("clustered", wrapped))
            variants.measure_stage("clustered", current)
        if self.quantize:
            kept = ["sparsity"] * zeros + ["clusters"] * (self.cluster is not None)
            # A model that was not changed before only needs the statistics of real data.
            unchanged = self.prune is None and self.cluster is None
            wrapped = compression.quantize_aware(
                current, preserve=kept, images=variants.calibration, freeze_batch_norm=unchanged
            )
            stages.run("quantization-aware", wrapped)
            if left := compression.float_layers(wrapped):
                say(f"kept in float, since tfmot cannot quantize them: {', '.join(left)}")
        return wrapped
