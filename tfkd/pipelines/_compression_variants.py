"""The variants of a compressed model, from the original to the requested file."""

import math
from typing import Any

import keras
import numpy as np

from tfkd import compression
from tfkd._core.named_inputs import takes_texts
from tfkd.datafree import DataFreeDistiller, Recipe
from tfkd.datafree._parts import Prior
from tfkd.datafree.recipes._choosing import calibrating_recipe
from tfkd.pipelines._variants import Variants

_CALIBRATION_IMAGES, _JUDGING_IMAGES = 256, 1000
# Large images take long to make, so fewer are used for comparison.
_BYTES, _LEAST_IMAGES = 2**26, 200


class CompressionVariants(Variants):
    """Measures a model after each stage, as a float32 file and the smaller kind that suits it."""

    @property
    def _smaller(self):
        # Text models lose too much when quantized after training.
        return "dynamic" if isinstance(self.calibration, dict) else "int8"

    def measure_original(self, model: keras.Model, smaller: bool) -> None:
        """Measures the original model, and as the smaller kind; for int8 also with ranges from noise."""
        self._measure("original", model, "float32")
        if not smaller:
            return
        self._measure("original", model, self._smaller)
        if self._smaller == "int8":
            noise = np.random.default_rng(0).uniform(size=self.calibration.shape).astype("float32")
            self._measure("original, calibrated on noise", model, "int8", calibration=noise)

    def measure_stage(self, name: str, model: keras.Model) -> None:
        """Measures the plain model after a stage."""
        self._measure(name, model, "float32")
        self._measure(name, model, self._smaller)

    def _measure(self, name, model, quantization, **options):
        described = {"name": name, "sparsity": compression.sparsity(model)}
        return self.add(described, model, quantization, **options)


def synthetic_inputs(
    model: keras.Model, teacher: keras.Model, seed: int, recipe: Recipe | None = None
) -> tuple[Any, Any]:
    """Inputs typical of a teacher, for calibration, and others for comparing files.

    Args:
        model: the model that takes the inputs.
        teacher: the network that balances and refines them.
        seed: int seed.
        recipe: its generators make the words for a text model, and its pictures are cropped; nothing else
            of it is used.
    """
    judging = _JUDGING_IMAGES
    if recipe is not None and takes_texts(model):
        recipe = recipe.with_options(memory=0)
    else:
        recipe = calibrating_recipe(teacher, recipe.pictures if isinstance(recipe, Prior) else None)
        of_one = 4 * math.prod(model.input_shape[1:])
        judging = max(_LEAST_IMAGES, min(judging, _BYTES // of_one))
    maker = DataFreeDistiller(teacher, keras.models.clone_model(model), recipe, seed=seed)
    inputs = maker.synthesize(_CALIBRATION_IMAGES + judging)
    parts = (slice(_CALIBRATION_IMAGES), slice(_CALIBRATION_IMAGES, None))
    first, second = (
        keras.tree.map_structure(lambda array, part=part: array[part], inputs) for part in parts
    )
    return first, second
