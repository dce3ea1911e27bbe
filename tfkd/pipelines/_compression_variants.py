"""The variants of a model that is compressed, from the original to the file that was asked for."""

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
# Of large images, which take long to make, there are fewer to judge by.
_BYTES, _LEAST_IMAGES = 2**26, 200


class CompressionVariants(Variants):
    """Measures a model after each stage, as files in float32 and the smaller kind that suits it."""

    @property
    def _smaller(self):
        # Rounded after training, texts lose too much.
        return "dynamic" if isinstance(self.calibration, dict) else "int8"

    def measure_original(self, model: keras.Model, smaller: bool) -> None:
        """Measures the model as it was, and in the smaller kind; in int8 with ranges from noise, too."""
        self._measure("original", model, "float32")
        if not smaller:
            return
        self._measure("original", model, self._smaller)
        if self._smaller == "int8":
            noise = np.random.default_rng(0).uniform(size=self.calibration.shape).astype("float32")
            self._measure("original, calibrated by noise", model, "int8", calibration=noise)

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
    """Inputs that are typical of a teacher, to take ranges from, and others to compare files on.

    Args:
        model: takes the inputs.
        teacher: what they are balanced and refined by.
        seed: what they follow from.
        recipe: whose generators make the words of a text model, and whose pictures are cropped; nothing
            else of it has to do with these inputs.
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
