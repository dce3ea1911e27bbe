"""Pictures: crops of a few photographs, an untrained prior with the texture of real images."""

import functools
import os
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from generators._base import Generator
from generators._checks import check_image_shape, check_range, check_share
from generators._distributions import log_uniform, uniform
from generators._picture_atlas import Atlas, Place
from generators._picture_files import MOST, as_picture, as_text, from_text, read_pictures

# Latent values of one crop: picture, size, centre (2), proportions, angle, shear, flip.
_CROP = 8
# Latent values of the box that another crop is pasted into: whether, centre (2), height, width.
_BOX = 5
# Latent values of the whole image: hue, saturation, contrast, brightness, gamma, inversion.
_TONE = 6
# Latent values of a cut-out object: whether, centre (2), height, width, power, level, sharpness, plain,
# ink, ground.
_CUT = 11
# The brightness of red, green and blue, and the rotation of colours about grey by a right angle.
_LUMA = np.array([0.213, 0.715, 0.072], "float32")
_TURN = np.array([[-0.213, -0.715, 0.928], [0.143, 0.140, -0.283], [-0.787, 0.715, 0.072]], "float32")


@keras.saving.register_keras_serializable(package="tfkd")
class Pictures(Generator):
    """Crops of a few photographs, rotated, stretched and recoloured; nothing to train.

    Each image is a crop from a random place in a picture, covering a few of its pixels up to most of it.
    Crops are rotated, sheared, stretched and sometimes flipped. Each has its own hue, saturation, contrast,
    brightness and gamma; some are inverted. In some images, a box shows another crop (CutMix). In others,
    an object is cut out and placed on a plain background: the part of a rounded window that is brighter
    than a threshold, with its texture or in one tone. Crops are read from image pyramids, so that large
    ones do not alias.

    The pictures are stored in the configuration as JPEG, so that a saved generator works without the
    folder. The photographs shipped with the library are not stored, since every installation has them.

    Args:
        image_shape: `(height, width, channels)`; three channels are colours, other numbers of channels
            mixtures of them.
        pictures: a folder with at most 256 PNG, JPEG, GIF or BMP files of at least 32 pixels a side; a
            list of uint8 arrays `(height, width)`, `(height, width, 1)` or `(height, width, 3)`; or None
            for twelve photographs shipped with the library. Pictures of more than 448 pixels a side are
            scaled down.
        scale: `(small, large)`, the range of crop sizes as a fraction of the picture's shorter side, drawn
            log-uniformly.
        mixed: the fraction of images with another crop in a box, in [0, 1].
        cut_out: the fraction of images with a cut-out object on a plain background, in [0, 1]; None for 0.5
            with one channel and 0 otherwise.
        **kwargs: passed to `keras.Model`.

    Returns (when called on latents):
        Images in [0, 1], float32 `(batch, height, width, channels)`.

    Raises:
        ValueError: for an argument out of range, a folder without pictures, or a picture that is broken or
            too small.

    Example:
        >>> Pictures((32, 32, 3)).sample(4, seed=0).shape
        TensorShape([4, 32, 32, 3])

    Reference:
        Asano, Saeed, "The Augmented Image Prior: Distilling 1000 Classes by Extrapolating from a Single
        Image", ICLR 2023. There, crops of one picture are stored and augmented; here there are several
        pictures, and every image is a new crop. Hue, contrast and gamma have wider ranges, both crops of a
        mixed image share them, and the teacher labels mixed images directly. Cut-out objects, mixtures of
        channels and inversion are additions; MixUp is left out.
    """

    procedural = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        pictures: str | os.PathLike | Sequence[np.ndarray | str] | None = None,
        scale: tuple[float, float] = (0.05, 0.95),
        mixed: float = 0.4,
        cut_out: float | None = None,
        name: str = "pictures",
        **kwargs,
    ) -> None:
        channels = check_image_shape(image_shape)[-1]
        scale, mixed = check_range("scale", scale), check_share("mixed", mixed)
        if cut_out is None:
            cut_out = 0.5 if channels == 1 else 0.0
        self._sizes = [_CROP, _CROP, _BOX, _TONE, _CUT, 3 * channels]
        super().__init__(image_shape, sum(self._sizes), name=name, **kwargs)
        self.encoded = None if pictures is None else _encoded(pictures)
        self._atlas = _atlas(self.encoded)
        self._check_sides()
        self.scale = scale
        self.mixed = mixed
        self.cut_out = check_share("cut_out", cut_out)
        self.built = True

    def _check_sides(self):
        """Raises ValueError if all pictures are smaller than an image, which would be blurred."""
        largest, needed = self._atlas.sides.max(), min(*self.image_shape[:2], MOST)
        if largest < needed:
            height, width, _ = self.image_shape
            raise ValueError(
                f"`pictures`: the longest side of all pictures is {largest:.0f} pixels, so images of "
                f"{height} x {width} made from them would be blurred. Pass a picture of at least {needed} "
                "pixels a side, or leave `pictures` out (--pictures)."
            )

    def call(self, latent, labels=None, training: bool | None = None):
        first, second, box, tone, cut, paint = ops.split(
            latent, np.cumsum(self._sizes)[:-1].tolist(), axis=-1
        )
        place, rows, columns = self._crop(first)
        if self.mixed:
            inside = self._box(box)
            other, *others = self._crop(second)
            place = Place(*(ops.where(inside, *pair) for pair in zip(other, place, strict=True)))
            rows, columns = (ops.where(inside, *pair) for pair in zip(others, (rows, columns), strict=True))
        image = self._toned(self._atlas.read(place, rows, columns) / 255.0, tone, paint)
        return self._cut_out(image, cut) if self.cut_out else image

    def _crop(self, crop):
        """The place that each image's crop is read from, and the points of its pixels there."""
        picture, size, row, column, proportion, angle, shear, flip = ops.unstack(crop, axis=-1)
        pictures = self._atlas.pictures
        picture = ops.minimum(ops.cast(pictures * uniform(picture), "int32"), pictures - 1)
        sides = ops.take(self._atlas.sides, picture, axis=0)
        length = ops.min(sides, axis=-1) * log_uniform(size, *self.scale)
        # Steps in a picture's rows and columns for one step down and one across the image, with area 1.
        cos, sin = ops.cos(0.35 * angle), ops.sin(0.35 * angle)
        stretch, lean = ops.exp(0.2 * proportion), 0.2 * shear
        hand = ops.where(flip < 0, -1.0, 1.0)
        down = (cos * stretch, -sin * stretch * hand)
        across = ((sin + lean * cos) / stretch, (cos - lean * sin) / stretch * hand)
        longer = max(self.image_shape[:2])
        points = []
        for axis, centre in enumerate((row, column)):
            side = sides[:, axis]
            free = ops.maximum(side - length * (self.image_shape[axis] / longer), 0.0)
            middle = 0.5 + (uniform(centre) - 0.5) * free / side
            share = length / side
            points.append(self._plane(middle, share * down[axis], share * across[axis]))
        place = self._atlas.place(picture, length / longer)
        return Place(*(each[:, None, None] for each in place)), *points

    def _plane(self, middle, down, across):
        """Linear values over the image, with the given growth over its longer side, down and across."""
        longer = max(self.image_shape[:2])
        rows, columns = (
            (np.arange(side, dtype="float32") + 0.5 - side / 2) / longer for side in self.image_shape[:2]
        )
        middle, down, across = (each[:, None, None] for each in (middle, down, across))
        return middle + down * rows[:, None] + across * columns

    def _box(self, box):
        """A mask of the pixels that show another crop."""
        chosen, row, column, tall, wide = ops.unstack(uniform(box), axis=-1)
        within = (chosen < self.mixed)[:, None, None]
        for axis, (centre, length) in enumerate(((row, tall), (column, wide))):
            length = 0.2 + 0.7 * length
            start = ((1 - length) * centre)[:, None]
            points = (np.arange(self.image_shape[axis], dtype="float32") + 0.5) / self.image_shape[axis]
            along = (points >= start) & (points < start + length[:, None])
            within &= ops.expand_dims(along, 2 - axis)
        return within

    def _toned(self, colours, tone, paint):
        """The image's channels, computed from the pictures' colours."""
        hue, saturation, contrast, brightness, gamma, inverted = (
            tone[:, i, None, None, None] for i in range(_TONE)
        )
        mixture = self._mixture(hue[..., 0], saturation[..., 0], paint)
        image = ops.einsum("byxk,bck->byxc", colours, mixture)
        middle = ops.mean(image, axis=(1, 2), keepdims=True)
        spread = ops.sqrt(ops.mean((image - middle) ** 2, axis=(1, 2, 3), keepdims=True) + 1e-4)
        # Low contrast is raised and high contrast lowered; dark and bright crops move towards the middle.
        gain = log_uniform(contrast, 0.5, 2.5) * (0.2 / spread) ** 0.5
        tone = 0.5 + 0.75 * (middle - 0.5) + 0.15 * brightness
        image = ops.clip(tone + gain * (image - middle), 1e-4, 1.0)
        image = ops.exp(ops.exp(0.35 * gamma) * ops.log(image))
        # Inverts a third of grey images and a tenth of others.
        bound = 0.43 if self.image_shape[-1] == 1 else 1.28
        return ops.where(inverted > bound, 1 - image, image)

    def _mixture(self, hue, saturation, paint):
        """The weights of red, green and blue in each channel."""
        channels = self.image_shape[-1]
        paint = ops.reshape(paint, (-1, channels, 3))
        if channels != 3:
            return ops.softmax(paint, axis=-1)
        angle = np.pi * (2 * uniform(hue) - 1) ** 3
        # One in ten is grey.
        strength = ops.where(saturation < -1.28, 0.0, log_uniform(saturation, 0.3, 1.8))
        turned = ops.cos(angle) * (np.eye(3, dtype="float32") - _LUMA) + ops.sin(angle) * _TURN
        return ops.exp(0.15 * paint[:, :, :1]) * (_LUMA + strength * turned)

    def _cut_out(self, image, cut):
        """Replaces some images by a cut-out object on a plain background."""
        values = [cut[:, i, None, None] for i in range(_CUT)]
        chosen, row, column, tall, wide, power, level, soft, plain, ink, ground = values
        rows, columns = (
            2 * (np.arange(side, dtype="float32") + 0.5) / side - 1 for side in self.image_shape[:2]
        )
        power = log_uniform(power, 1.5, 8.0)
        up = ops.abs(rows[:, None] - 0.1 * row) / log_uniform(tall, 0.4, 1.1)
        along = ops.abs(columns - 0.1 * column) / log_uniform(wide, 0.4, 1.1)
        window = 1 - (up**power + along**power + 1e-6) ** (1 / power)
        light = ops.mean(image, axis=-1)
        middle = ops.mean(light, axis=(1, 2), keepdims=True)
        spread = ops.sqrt(ops.mean((light - middle) ** 2, axis=(1, 2), keepdims=True) + 1e-4)
        # In half of them, everything within the window.
        brighter = (light - middle) / spread - (1.5 * level - 1.5)
        cover = ops.sigmoid(log_uniform(soft, 12.0, 80.0) * ops.minimum(window, brighter / 4))[..., None]
        ink, ground = (0.4 + 0.6 * uniform(ink))[..., None], uniform(ground)[..., None] ** 4
        thing = ops.where(plain[..., None] > 0.43, ink, image)
        cut_out = ops.cast(uniform(chosen) < self.cut_out, cover.dtype)[..., None]
        return image + cut_out * (ground + cover * (thing - ground) - image)

    def get_config(self) -> dict:
        options = {"scale": list(self.scale), "mixed": self.mixed, "cut_out": self.cut_out}
        return {**super().get_config(), "pictures": self.encoded, **options}


def _encoded(pictures):
    """Pictures in the form that a configuration stores."""
    if isinstance(pictures, (str, os.PathLike)):
        pictures = read_pictures(pictures, "`pictures`")
    if not isinstance(pictures, Sequence) or not pictures:
        raise ValueError(
            "`pictures` must be a folder, a list of arrays, or None for the photographs shipped with the "
            f"library. Received: {pictures!r}."
        )
    return [
        each if isinstance(each, str) else as_text(as_picture(each, f"`pictures`[{i}]"))
        for i, each in enumerate(pictures)
    ]


def _atlas(encoded):
    if encoded is None:
        return _shipped()
    return Atlas([from_text(text, f"`pictures`[{i}]") for i, text in enumerate(encoded)])


@functools.cache
def _shipped():
    return Atlas(read_pictures())
