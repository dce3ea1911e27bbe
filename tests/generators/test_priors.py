"""What untrained priors look like."""

import numpy as np
import pytest

import generators
from generators import DeadLeaves, Silhouettes, SmoothNoise, Strokes
from generators._smooth_noise import bicubic_matrix

# Nine pixels of the second image of seed 0. Published accuracies were reached on these images.
PIXELS = {
    "SmoothNoise": [[0.079, 0.888, 0.991], [0.984, 0.907, 0.018], [0.884, 0.040, 0.997]],
    "DeadLeaves": [[0.649, 0.303, 0.630], [0.764, 0.650, 0.325], [0.736, 0.687, 0.300]],
    "Strokes": [[0.866, 0.784, 0.498], [0.443, 0.942, 0.537], [0.316, 0.664, 0.633]],
    "Silhouettes": [[0.001, 0.228, 0.002], [0.212, 0.062, 0.354], [0.001, 0.002, 0.010]],
}


@pytest.mark.parametrize("name", PIXELS)
def test_images_of_a_seed_stay_what_they_were(name):
    images = getattr(generators, name)((28, 28, 1)).sample(2, seed=0).numpy()
    np.testing.assert_allclose(images[1, 4::8, 4::8, 0], PIXELS[name], atol=1e-3)


@pytest.mark.parametrize("kind", [DeadLeaves, Silhouettes, SmoothNoise, Strokes])
def test_priors_use_the_whole_range(kind):
    images = kind((28, 28, 1)).sample(256, seed=0).numpy()
    assert images.min() < 0.05 and images.max() > 0.95
    assert images.mean(axis=(1, 2, 3)).std() > 0.1


def test_smooth_noise_is_smooth():
    images = SmoothNoise((32, 32, 1), grids=(4,), contrast=(1, 2)).sample(64, seed=0).numpy()
    neighbours = np.abs(np.diff(images, axis=1)).mean()
    assert neighbours < 0.2 * np.abs(images - images[::-1]).mean()


def test_smooth_noise_of_other_inputs_is_smooth_along_all_axes_but_the_last():
    fields = SmoothNoise((20, 16, 3), grids=(4,), contrast=(1, 1)).sample(64, seed=0).numpy()
    series = SmoothNoise((64, 2), grids=(4,), contrast=(1, 1)).sample(64, seed=0).numpy()
    vectors = SmoothNoise((64,), contrast=(1, 1)).sample(64, seed=0).numpy()
    for values, axes in ((fields, (1, 2)), (series, (1,))):
        apart = np.abs(values - values[::-1]).mean()
        for axis in axes:
            assert np.abs(np.diff(values, axis=axis)).mean() < 0.4 * apart
    # Channels, like the values of vectors, have nothing to do with each other.
    for values in (series, vectors):
        assert np.abs(np.diff(values, axis=-1)).mean() > 0.8 * np.abs(values - values[::-1]).mean()


def test_strokes_of_both_polarities_on_paper():
    images = Strokes((28, 28, 3)).sample(256, seed=0).numpy()
    # Ink covers the smaller part, so the mean leans from the median towards the ink.
    lean = images.mean(axis=(1, 2)) - np.median(images, axis=(1, 2))
    assert (lean > 0.05).mean() > 0.2 and (lean < -0.05).mean() > 0.2


def test_strokes_are_as_wide_as_asked():
    generator = Strokes((64, 64, 1), strokes=1, width=(0.05, 0.05))
    controls = np.array([[32, 8], [32, 24], [32, 40], [32, 56]], "float32")[None, None] / 64
    deviation = 0.05 * 64 / np.sqrt(2 * np.log(2))
    # Straight along row 32: dense to 3.2 pixels on both sides, from column 8 to 56.
    density = generator._density(
        64 * controls, np.ones((1, 1), "float32"), np.array([deviation], "float32")
    )
    density = np.asarray(density)[0]
    np.testing.assert_allclose(density[31:33, 20:44], np.exp(-((0.5 / deviation) ** 2) / 2), rtol=1e-3)
    np.testing.assert_array_equal(np.flatnonzero(density[:, 32] > 0.5), np.arange(29, 35))
    assert density[32, :4].max() < 0.1 and density[32, 60:].max() < 0.1


def test_silhouettes_are_things_on_a_plain_ground():
    images = Silhouettes((32, 32, 1)).sample(512, seed=0).numpy()[..., 0]
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    ground = np.median(corners, axis=1)[:, None, None]
    thing = np.abs(images - ground) > 0.1
    assert (np.ptp(corners, axis=1) < 0.05).mean() > 0.6
    # What stands out lies in the middle, not at the rim.
    assert thing[:, 8:24, 8:24].mean() > 2.5 * thing[:, [0, -1]].mean()
    # Two thirds are the same left and right but for where they stand.
    rolled = [np.roll(images[:, :, ::-1], shift, axis=2) for shift in range(-6, 7)]
    lopsided = np.min([np.abs(images - other).mean((1, 2)) for other in rolled], axis=0)
    assert 0.4 < (lopsided < 0.03).mean() < 0.95


def test_silhouettes_are_as_large_as_asked():
    def share(size):
        images = Silhouettes((32, 32, 1), size=size).sample(256, seed=0).numpy()
        return (np.abs(images - images[:, :1, :1]) > 0.1).mean()

    assert share((0.9, 1.0)) > 2 * share((0.3, 0.4))


def test_bicubic_matrix():
    matrix = bicubic_matrix(28, 6)
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-6)
    # Cubic convolution reproduces straight lines away from the edges.
    line = matrix @ np.arange(6.0)
    np.testing.assert_allclose(np.diff(line[10:18]), 6 / 28, rtol=1e-5)
    np.testing.assert_allclose(bicubic_matrix(5, 5), np.eye(5), atol=1e-7)
