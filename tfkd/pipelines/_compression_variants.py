"""The variants of a model that is compressed, from the original to the file that was asked for."""

import keras
import numpy as np

from tfkd import compression
from tfkd.datafree import DataFreeDistiller, Procedural
from tfkd.pipelines._variants import Variants
from tfkd.teachers import BlackBoxTeacher

_CALIBRATION_IMAGES, _JUDGING_IMAGES = 256, 1000


class CompressionVariants(Variants):
    """Measures a model after each stage, as files in float32 and int8."""

    def measure_original(self, model: keras.Model, as_int8: bool) -> None:
        """Measures the model as it was; in int8, too, with ranges from synthetic inputs and from noise."""
        self._measure("original", model, "float32")
        if as_int8:
            self._measure("original", model, "int8")
            noise = np.random.default_rng(0).uniform(size=self.calibration.shape).astype("float32")
            self._measure("original, calibrated by noise", model, "int8", calibration=noise)

    def measure_stage(self, name: str, model: keras.Model) -> None:
        """Measures the plain model after a stage."""
        self._measure(name, model, "float32")
        self._measure(name, model, "int8")

    def _measure(self, name, model, quantization, **options):
        described = {"name": name, "sparsity": compression.sparsity(model)}
        return self.add(described, model, quantization, **options)


def synthetic_inputs(model: keras.Model, teacher: keras.Model, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of the prior, balanced and refined, to take ranges from, and others to compare files on."""
    refine_steps = 0 if isinstance(teacher, BlackBoxTeacher) else 2
    # Nothing has to be learned for them, whatever recipe trains.
    recipe = Procedural(memory=0, refine_steps=refine_steps)
    maker = DataFreeDistiller(teacher, keras.models.clone_model(model), recipe, seed=seed)
    inputs = maker.synthesize(_CALIBRATION_IMAGES + _JUDGING_IMAGES)
    return inputs[:_CALIBRATION_IMAGES], inputs[_CALIBRATION_IMAGES:]
