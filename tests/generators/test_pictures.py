"""Crops of pictures: what is read of them where, and what images are made of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from generators import Pictures
from generators._picture_atlas import Atlas

# Columns of a plain-coloured picture's latent.
PICTURE, SIZE, FLIP = 0, 1, 7


def ramps(height=64, width=96):
    """A picture that grows brighter downwards in red and to the right in green."""
    rows, columns = np.mgrid[:height, :width]
    picture = np.stack([2 * rows, 2 * columns, 0 * rows], axis=-1)
    return picture.astype("uint8")


def test_an_atlas_reads_what_lies_at_a_point():
    other = np.full((40, 40, 3), 200, "uint8")
    atlas = Atlas([other, ramps()])
    rows, columns = np.array([[0.25, 0.5, 0.75]], "float32"), np.array([[0.2, 0.5, 0.9]], "float32")
    for stride, tolerance in ((1.0, 1e-3), (4.0, 1.5)):
        place = atlas.place(np.array([[1]]), np.array([[stride]], "float32"))
        assert int(place.height[0, 0]) == 64 / stride
        red, green, blue = np.moveaxis(atlas.read(place, rows, columns).numpy(), -1, 0)
        np.testing.assert_allclose(red, 2 * (64 * rows - 0.5), atol=tolerance)
        np.testing.assert_allclose(green, 2 * (96 * columns - 0.5), atol=tolerance)
        np.testing.assert_array_equal(blue, 0)


def test_an_atlas_mirrors_what_lies_outside():
    atlas = Atlas([ramps()])
    place = atlas.place(np.array([0]), np.array([1.0], "float32"))
    inside, outside = (
        atlas.read(place, *np.array(points, "float32"))
        for points in (([0.1, 0.9], [0.3, 0.8]), ([-0.1, 1.1], [0.3, 1.2]))
    )
    np.testing.assert_allclose(inside, outside, atol=1e-2)


def test_strides_beyond_the_smallest_size_read_the_smallest():
    atlas = Atlas([ramps(), ramps(512, 512)])
    place = atlas.place(np.array([0, 1]), np.array([1e6, 1e6], "float32"))
    assert max(place.height) <= 4 and max(place.width) <= 4


def crop(generator, **values):
    """An image of one picture, upright and in the picture's own proportions."""
    latent = np.zeros((1, generator.latent_size), "float32")
    latent[0, FLIP] = 1.0
    for name, value in values.items():
        latent[0, {"size": SIZE, "flip": FLIP}[name]] = value
    return generator(latent).numpy()[0]


def test_crops_are_flipped_or_not():
    generator = Pictures((32, 32, 3), [ramps()], mixed=0.0)
    plain, flipped = crop(generator), crop(generator, flip=-1.0)
    np.testing.assert_allclose(flipped, plain[:, ::-1], atol=1e-3)
    green = plain[..., 1].mean(axis=0)
    assert (np.diff(green) > 0).all()


def test_large_crops_do_not_alias():
    stripes = np.zeros((448, 448, 3), "uint8")
    stripes[:, ::2] = 255
    generator = Pictures((28, 28, 3), [stripes], mixed=0.0)
    # Stripes of a pixel are grey from afar, and stripes from close by.
    assert np.ptp(crop(generator, size=6.0)) < 0.05 < 0.5 < np.ptp(crop(generator, size=-6.0))


def test_images_use_the_whole_range_and_differ():
    for shape in ((32, 32, 3), (28, 28, 1)):
        images = Pictures(shape).sample(256, seed=0).numpy()
        assert images.min() < 0.05 and images.max() > 0.95
        assert images.mean(axis=(1, 2, 3)).std() > 0.1
        assert np.median(images.std(axis=(1, 2))) > 0.08


def test_another_crop_is_pasted_into_the_asked_share_of_images():
    dark, bright = np.full((2, 32, 32, 3), [[[[0]]], [[[255]]]], "uint8")

    def share_of_two_tones(mixed):
        images = Pictures((16, 16, 3), [dark, bright], mixed=mixed).sample(512, seed=0).numpy()
        return (np.ptp(images.mean(axis=-1), axis=(1, 2)) > 0.3).mean()

    assert share_of_two_tones(0.0) == 0.0
    # Both crops are of the same picture as often as not.
    assert 0.4 < share_of_two_tones(1.0) < 0.6


def test_things_are_cut_out_of_grey_images():
    def plain_corners(**options):
        images = Pictures((28, 28, 1), **options).sample(512, seed=0).numpy()[..., 0]
        corners = images[:, [0, 0, 1, -1, -1], [0, -1, 1, 0, -1]]
        return (np.ptp(corners, axis=1) < 0.02).mean()

    none, half, all_of_them = (plain_corners(**each) for each in ({"cut_out": 0.0}, {}, {"cut_out": 1.0}))
    assert none < 0.1 and all_of_them > 0.8
    assert abs(half - (none + all_of_them) / 2) < 0.1


def test_the_pictures_travel_with_the_file(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    tf.io.write_file(str(folder / "a.jpg"), tf.io.encode_jpeg(ramps()))
    generator = Pictures((8, 8, 3), folder)
    generator.save(tmp_path / "prior.keras")
    (folder / "a.jpg").unlink()
    loaded = keras.models.load_model(tmp_path / "prior.keras")
    np.testing.assert_array_equal(loaded.sample(4, seed=0), generator.sample(4, seed=0))
    assert Pictures((8, 8, 3)).get_config()["pictures"] is None


def test_pictures_smaller_than_the_input_are_refused():
    small, large = np.zeros((40, 48, 3), "uint8"), np.zeros((64, 40, 3), "uint8")
    with pytest.raises(
        ValueError, match=r"longest side of all pictures is 48 pixels, so images of 64 x 96 .* 64"
    ):
        Pictures((64, 96, 3), [small, small])
    assert Pictures((64, 96, 3), [small, large]).image_shape == (64, 96, 3)
    # Those that ship with the library are scaled down to 448.
    assert Pictures((512, 512, 1)).image_shape == (512, 512, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pictures": []}, r"`pictures` must be a folder, a list of arrays, or None"),
        ({"pictures": 3}, r"`pictures` must be a folder, a list of arrays, or None .* Received: 3"),
        ({"pictures": [np.zeros((40, 40))]}, r"`pictures`\[0\] must be uint8 .* Received: float64"),
        ({"pictures": [np.zeros((40, 40, 4), "uint8")]}, r"must be uint8 .* \(40, 40, 4\)"),
        ({"pictures": [np.zeros((40, 31), "uint8")]}, "at least 32 pixels a side. Received: 40 x 31"),
        ({"pictures": ["AAAA"]}, r"`pictures`\[0\] is not a picture from a saved configuration"),
        ({"pictures": "nowhere"}, "`pictures`: 'nowhere' is not a folder"),
        ({"scale": (0.5, 0.1)}, r"`scale` must be \(low, high\)"),
        ({"mixed": 1.5}, r"`mixed` must be a number in \[0, 1\]. Received: mixed=1.5"),
        ({"cut_out": -1}, r"`cut_out` must be a number in \[0, 1\]"),
    ],
    ids=str,
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Pictures((8, 8, 1), **options)
