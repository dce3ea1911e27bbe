import keras
import numpy as np
import pytest
import tensorflow as tf

from tfkd.datafree import _views as views

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(64, 6, 8, 2)).astype("float32")


def look(view, images=IMAGES, seed=0, jit_compile=None):
    random = keras.random.SeedGenerator(seed)

    def run(x):
        return views.apply(x, view.draw(*x.shape[:3], random))

    return (run if jit_compile is None else tf.function(run, jit_compile=jit_compile))(
        tf.constant(images)
    ).numpy()


def shifted(image, rows, columns):
    """By NumPy: the crop of a padded image."""
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    return padded[2 + rows : 8 + rows, 2 + columns : 10 + columns]


def test_shifts_are_crops_of_padded_images():
    seen = look(views.Shift(2, flip=False))
    kinds = set()
    for image, ours in zip(IMAGES, seen, strict=True):
        matches = [
            (r, c)
            for r in range(-2, 3)
            for c in range(-2, 3)
            if np.allclose(shifted(image, r, c), ours, atol=1e-6)
        ]
        assert len(matches) == 1
        kinds.update(matches)
    assert len(kinds) > 15


def test_half_are_mirrored():
    seen = look(views.Shift(0, flip=True))
    mirrored = [np.allclose(i[:, ::-1], o, atol=1e-6) for i, o in zip(IMAGES, seen, strict=True)]
    kept = [np.allclose(i, o, atol=1e-6) for i, o in zip(IMAGES, seen, strict=True)]
    assert np.all(np.logical_xor(mirrored, kept)) and 16 < sum(mirrored) < 48


def test_jitter_rolls_the_whole_batch():
    seen = look(views.Jitter(2, flip=False), seed=3)
    matches = [
        (r, c)
        for r in range(-2, 3)
        for c in range(-2, 3)
        if np.allclose(np.roll(IMAGES, (-r, -c), (1, 2)), seen, atol=1e-6)
    ]
    assert len(matches) == 1 and matches != [(0, 0)]


def test_resized_crops_stretch_a_part():
    ramp = np.broadcast_to(np.arange(8, dtype="float32")[None, None, :, None], (64, 8, 8, 1))
    seen = look(views.ResizedCrop(0.25, flip=False), ramp)[:, 0, :, 0]
    width = seen[:, -1] - seen[:, 0]
    assert (np.diff(seen, axis=-1) >= -1e-5).all() and seen.min() >= 0 and seen.max() <= 7
    assert width.min() < 5 and width.max() > 6
    whole = look(views.ResizedCrop(1.0, flip=False), np.ones((64, 8, 8, 1), "float32"))
    np.testing.assert_allclose(whole, 1.0, rtol=1e-5)


@pytest.mark.parametrize("view", [views.Shift(2), views.Jitter(1), views.ResizedCrop()], ids=repr)
def test_compiled_views_are_the_same_and_have_gradients(view):
    np.testing.assert_allclose(look(view), look(view, jit_compile=False), atol=1e-5)
    assert look(view, jit_compile=True).shape == IMAGES.shape
    images = tf.constant(IMAGES)
    drawn = view.draw(*images.shape[:3], keras.random.SeedGenerator(1))
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(views.apply(images, drawn) ** 2)
    direction = RNG.normal(size=IMAGES.shape).astype("float32")
    slope = [tf.reduce_sum(views.apply(images + h * direction, drawn) ** 2) for h in (1e-2, -1e-2)]
    expected = (slope[0] - slope[1]) / 2e-2
    np.testing.assert_allclose(tf.reduce_sum(tape.gradient(total, images) * direction), expected, rtol=1e-2)
