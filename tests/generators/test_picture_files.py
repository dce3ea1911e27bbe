"""Pictures in files: the shipped ones, those of a folder, and what is wrong with a folder."""

import re

import numpy as np
import pytest
import tensorflow as tf

from generators._picture_files import ENDINGS, SHIPPED, read_pictures


def write(path, picture):
    encode = tf.io.encode_png if path.suffix == ".png" else tf.io.encode_jpeg
    path.write_bytes(encode(picture).numpy())


def test_shipped_pictures_are_varied_small_and_licensed():
    pictures = read_pictures()
    assert len(pictures) >= 10
    for picture in pictures:
        assert picture.dtype == np.uint8 and picture.shape[2] == 3
        assert 256 <= max(picture.shape) <= 448 and np.ptp(picture) > 100
    # Some in colour, some grey.
    assert 0 < sum(np.ptp(picture, axis=2).any() for picture in pictures) < len(pictures)
    files = [path for path in SHIPPED.iterdir() if path.suffix in ENDINGS]
    assert sum(path.stat().st_size for path in files) < 700_000
    listed = re.findall(r"^\| `(.+?)`", (SHIPPED / "LICENSES.md").read_text("utf-8"), re.M)
    assert sorted(listed) == sorted(path.name for path in files)


def test_a_folder_is_read_in_order_of_names_and_as_colour(tmp_path):
    (tmp_path / "b").mkdir()
    values = np.random.default_rng(0).integers(0, 256, (3, 33, 32, 3), "uint8")
    write(tmp_path / "c.png", values[2])
    write(tmp_path / "b" / "x.png", values[1])
    write(tmp_path / "a.png", values[0, :, :, :1])
    (tmp_path / "notes.txt").write_text("not a picture")
    first, *others = read_pictures(tmp_path)
    np.testing.assert_array_equal(first, np.repeat(values[0, :, :, :1], 3, axis=2))
    np.testing.assert_array_equal(others, values[1:])


def test_large_pictures_are_scaled_down(tmp_path):
    write(tmp_path / "wide.png", np.full((300, 900, 3), 7, "uint8"))
    (picture,) = read_pictures(tmp_path)
    assert picture.shape == (149, 448, 3) and (picture == 7).all()


def test_pictures_too_small_or_too_many_are_refused(tmp_path):
    write(tmp_path / "dot.png", np.zeros((8, 40, 3), "uint8"))
    with pytest.raises(ValueError, match=r"`pictures`: '.*dot.png' must have at least 32 .* 8 x 40"):
        read_pictures(tmp_path, "`pictures`")
    for i in range(256):
        (tmp_path / f"{i}.png").write_bytes((tmp_path / "dot.png").read_bytes())
    with pytest.raises(ValueError, match=r"at most 256 pictures are held in memory\. Received: 257 in"):
        read_pictures(tmp_path, "`pictures`")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "`pictures`: '.*' is not a folder. Pass the path of a folder of pictures"),
        ({}, r"`pictures`: there is no image \(.bmp, .gif, .* in '.*'. Add some"),
        ({"x.txt": b""}, "there is no image"),
        ({"x.png": b"text"}, "'.*x.png' is not a PNG, JPEG, GIF or BMP image. Remove it"),
        ({"x.jpg": b"\xff\xd8\xff broken"}, "'.*x.jpg' cannot be decoded .* Remove it"),
    ],
)
def test_what_is_refused(tmp_path, content, message):
    folder = tmp_path / "pictures"
    if content is not None:
        folder.mkdir()
        for name, written in content.items():
            (folder / name).write_bytes(written)
    with pytest.raises(ValueError, match=message):
        read_pictures(folder, "`pictures`")
