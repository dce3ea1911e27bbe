import pytest

from tfkd.export import read_labels


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("0 card board\n1 plastic\n", ["card board", "plastic"]),
        ("cat\ndog\n\n", ["cat", "dog"]),
        ("\ufeffcat\r\ndog", ["cat", "dog"]),
        # Numbers that are not those of the lines belong to the names.
        ("3 doors\n5 doors\n", ["3 doors", "5 doors"]),
        ("0\n1\n2\n", ["0", "1", "2"]),
        ("0 Glas\n1 Müll\n", ["Glas", "Müll"]),
    ],
)
def test_names_of_classes(tmp_path, content, expected):
    path = tmp_path / "labels.txt"
    path.write_bytes(content.encode())
    assert read_labels(path) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "labels.txt': it is empty"),
        (b"cat\n\ndog\n", "labels.txt': line 2 is empty"),
        (b"\xff\xfe\x00", r"labels.txt', which cannot be read: .*decode"),
        (None, r"labels.txt', which cannot be read: .*No such file"),
    ],
)
def test_files_without_names_are_refused(tmp_path, content, message):
    path = tmp_path / "labels.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_labels(path)
