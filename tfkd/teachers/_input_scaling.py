"""Scaling: what a network's own pipeline does to pictures, and how that was found out."""

import dataclasses

import numpy as np

# ImageNet's means and deviations of red, green and blue, on the scale from 0 to 1.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Those of blue, green and red on the scale from 0 to 255, that Caffe's models subtract.
_CAFFE_MEAN = (103.939, 116.779, 123.68)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scaling:
    """How a network's inputs are scaled, as far as that could be found out.

    Attributes:
        input_range: `(low, high)`, what black and white become first.
        mean: what is then subtracted, a number or one per channel in the network's order.
        std: what is then divided by, likewise.
        channel_order: "rgb", or "bgr" for a network that takes blue first.
        name: what messages and tables call it.
        evidence: what speaks for it, a sentence without a full stop; empty of a mere candidate.
        sure: whether that is enough to go by.

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
        """The arguments of `tfkd.load_teacher` that ask for it."""
        names = ("input_range", "mean", "std", "channel_order")
        return {name: getattr(self, name) for name in names}

    @property
    def words(self) -> str:
        """It as arguments of Python."""
        return ", ".join(f"{name}={value!r}" for name, value in self._told())

    @property
    def flags(self) -> str:
        """It as flags of the programs."""
        as_flag = {"mean": "input_mean", "std": "input_std"}
        return " ".join(f"--{as_flag.get(name, name)}={_typed(value)}" for name, value in self._told())

    def because(self, evidence: str, sure: bool) -> "Scaling":
        """This scaling with what speaks for it."""
        return dataclasses.replace(self, evidence=evidence, sure=bool(sure))

    def _told(self):
        """What does not go without saying."""
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
    """The scalings that a network of pictures with so many channels may have."""
    return [UNIT, SYMMETRIC, BYTES, *((IMAGENET, CAFFE) if channels == 3 else ())]


def _typed(value):
    return value if isinstance(value, str) else ",".join(f"{each:g}" for each in np.atleast_1d(value))
