"""diagnose: whether tfkd works on this machine, and with which versions and devices."""

import dataclasses
import importlib.metadata
import os
import tempfile
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from packaging.requirements import Requirement

from tfkd import students
from tfkd.datafree import DataFreeDistiller, Procedural
from tfkd.export import export_tflite
from tfkd.pipelines._machine import device, versions

# Extras that combine others, or are only for development.
_NOT_MISSED = ("all", "test")


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """The result of `tfkd.pipelines.diagnose`.

    Attributes:
        versions: versions of tfkd, Python and the libraries that results depend on.
        device: the GPUs in use, or how many CPU cores there are.
        missing: requirements that are not installed, or in a wrong version, by extra.
        failures: what did not work, with the error; empty if everything did.
        seconds: duration of the self-test.

    Example:
        >>> diagnosis = tfkd.pipelines.diagnose()
        >>> print(diagnosis.summary())
    """

    versions: dict[str, str]
    device: str
    missing: dict[str, list[str]]
    failures: dict[str, str]
    seconds: float

    @property
    def problem(self) -> str | None:
        """What failed, in one line; None if everything works."""
        return f"These failed: {', '.join(self.failures)}." if self.failures else None

    def summary(self) -> str:
        """The whole diagnosis as lines of text."""
        lines = [f"{name} {version}" for name, version in self.versions.items()]
        lines += [f"device: {self.device}"]
        for extra, requirements in self.missing.items():
            lines.append(
                f"extra {extra}: not installed ({', '.join(requirements)}); pip install 'tfkd[{extra}]'"
            )
        lines += [f"{what} failed: {error}" for what, error in self.failures.items()]
        lines += [self.problem or f"Training, XLA and TFLite files work ({self.seconds:.0f} s)."]
        return "\n".join(lines)


def diagnose() -> Diagnosis:
    """Checks versions, devices and extras, and runs a self-test: training, XLA, conversion.

    Returns:
        A `Diagnosis`.

    Example:
        >>> tfkd.pipelines.diagnose().problem is None
        True
    """
    start = time.perf_counter()
    failures = {}
    for what, attempt in _ATTEMPTS.items():
        try:
            attempt()
        except Exception as error:  # Any failure is a finding.
            failures[what] = f"{type(error).__name__}: {error}".splitlines()[0]
    return Diagnosis(versions(), device(), _missing_extras(), failures, time.perf_counter() - start)


def _missing_extras():
    """Unmet requirements of tfkd's extras; an uninstalled source tree has no extras."""
    try:
        installed = importlib.metadata.distribution("tfkd")
    except importlib.metadata.PackageNotFoundError:
        return {}
    missing = {}
    for requirement in map(Requirement, installed.requires or ()):
        for extra in installed.metadata.get_all("Provides-Extra") or ():
            of_extra = requirement.marker is not None and requirement.marker.evaluate({"extra": extra})
            if of_extra and extra not in _NOT_MISSED and not _is_met(requirement):
                missing.setdefault(extra, []).append(str(requirement).partition(";")[0].strip())
    return missing


def _is_met(requirement):
    try:
        return importlib.metadata.version(requirement.name) in requirement.specifier
    except importlib.metadata.PackageNotFoundError:
        return False


def _train():
    recipe = Procedural(batch_size=16, epochs=1, steps_per_epoch=2, memory=32, replay_steps=1)
    teacher = students.lenet5()
    student = students.scale_width(teacher, 0.5)
    before = [np.array(weight) for weight in student.get_weights()]
    distiller = DataFreeDistiller(teacher, student, recipe)
    distiller.compile(jit_compile=False)
    loss = distiller.fit(verbose=0).history["loss"][-1]
    moved = any((old != new).any() for old, new in zip(before, student.get_weights(), strict=True))
    if not np.isfinite(loss) or not moved:
        raise RuntimeError(f"a student learned nothing (loss {loss})")


def _compile():
    product = tf.function(tf.matmul, jit_compile=True, autograph=False)(tf.eye(2), 2 * tf.eye(2))
    if not np.allclose(product, 2 * np.eye(2)):
        raise RuntimeError(f"a product is wrong: {product}")


def _convert():
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)))
    with tempfile.TemporaryDirectory() as folder:
        # This compares the file's outputs with the model's.
        export_tflite(model, os.path.join(folder, "model.tflite"), "float32")


_ATTEMPTS: dict[str, Callable[[], None]] = {
    "training without data": _train,
    "XLA": _compile,
    "a TFLite file": _convert,
}
