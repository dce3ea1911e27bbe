"""Scaling: how a network's own pipeline scales images, and the evidence."""

import dataclasses

import numpy as np

# ImageNet's means and standard deviations of red, green and blue, for values from 0 to 1.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Means of blue, green and red, for values from 0 to 255, as subtracted by Caffe models.
_CAFFE_MEAN = (103.939, 116.779, 123.68)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scaling:
    """How a network's inputs are scaled, as far as known.

    Attributes:
        input_range: `(low, high)`, the values of black and white.
        mean: the mean that is then subtracted: a number, or one per channel in the network's order.
        std: the standard deviation that it is then divided by, in the same form.
        channel_order: "rgb", or "bgr" for a network that takes blue first.
        name: its name in messages and tables.
        evidence: the evidence, a sentence without a full stop; empty for a mere candidate.
        sure: whether the evidence is sufficient.

    Example:
        >>> found = tfkd.teachers.find_scaling("resnet.keras")
        >>> teacher = tfkd.load_teacher("resnet.keras", **found.options)
    """

    input_range: tuple[float, float]
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0
    channel_order: str = "rgb"
    name: str
    evidence: str = ""
    sure: bool = False

    @property
    def options(self) -> dict:
        """The arguments of `tfkd.load_teacher` for it."""
        names = ("input_range", "mean", "std", "channel_order")
        return {name: getattr(self, name) for name in names}

    @property
    def words(self) -> str:
        """The scaling as Python arguments."""
        return ", ".join(f"{name}={value!r}" for name, value in self._told())

    @property
    def flags(self) -> str:
        """The scaling as flags of the programs."""
        as_flag = {"mean": "input_mean", "std": "input_std"}
        return " ".join(f"--{as_flag.get(name, name)}={_typed(value)}" for name, value in self._told())

    def because(self, evidence: str, sure: bool) -> "Scaling":
        """This scaling with evidence."""
        return dataclasses.replace(self, evidence=evidence, sure=bool(sure))

    def _told(self):
        """The values that differ from the defaults."""
        usual = {"mean": 0.0, "std": 1.0, "channel_order": "rgb"}
        return [
            each for each in self.options.items() if not np.array_equal(each[1], usual.get(each[0], ""))
        ]


UNIT = Scaling(input_range=(0, 1), name="x/255")
SYMMETRIC = Scaling(input_range=(-1, 1), name="x/127.5 - 1")
BYTES = Scaling(input_range=(0, 255), name="0 to 255")
IMAGENET = Scaling(input_range=(0, 1), mean=_MEAN, std=_STD, name="ImageNet's mean and deviation")
CAFFE = Scaling(
    input_range=(0, 255), mean=_CAFFE_MEAN, channel_order="bgr", name="blue first, mean subtracted"
)


def candidates(channels: int) -> list[Scaling]:
    """The possible scalings of a network for images with that many channels."""
    return [UNIT, SYMMETRIC, BYTES, *((IMAGENET, CAFFE) if channels == 3 else ())]


def _typed(value):
    return value if isinstance(value, str) else ",".join(f"{each:g}" for each in np.atleast_1d(value))
