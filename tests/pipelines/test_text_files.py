"""Texts and labels of files: every form, and what is refused."""

import numpy as np
import pytest

from tfkd.pipelines._text_files import read_texts


@pytest.fixture
def save(tmp_path):
    def write(name, content):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.tsv", "a film\t1\nthe plot\t0\n", {}),
        ("a.tsv", "\ufeffa film\t1\r\n\r\nthe plot\t0\r\n", {}),
        ("a.tsv", "sentence\tlabel\na film\t1\nthe plot\t0\n", {}),
        ("a.csv", "Label,Text\n1,a film\n0,the plot\n", {}),
        ("a.csv", '"a film",1\n"the plot",0\n', {}),
        ("a.csv", "1,a film\n0,the plot\n", {"text_column": 1}),
        (
            "a.csv",
            "id,said,right\n7,a film,1\n8,the plot,0\n",
            {"text_column": "said", "label_column": "2"},
        ),
        ("a.tsv", "7\ta film\t1\n8\tthe plot\t0\n", {"text_column": "1", "label_column": 2}),
    ],
)
def test_tables_of_every_form(save, name, content, options):
    texts, labels, names = read_texts(save(name, content), "training_data", **options)
    assert texts == ["a film", "the plot"] and names == ["0", "1"]
    np.testing.assert_array_equal(labels, [1, 0])
    assert labels.dtype == np.int32


def test_cells_with_separators_line_breaks_and_quotes(save):
    csv = save("a.csv", '"so ""good"", so\nwarm",yes\n"dull",no\n')
    assert read_texts(csv, "d").texts == ['so "good", so\nwarm', "dull"]
    # In tsv files a quote is a character, and may stand alone.
    tsv = save("a.tsv", '"good\tyes\nsay "no\tno\n')
    assert read_texts(tsv, "d").texts == ['"good', 'say "no']


@pytest.mark.parametrize(
    ("cells", "class_names", "labels", "names"),
    [
        (["positive", "negative", "positive"], None, [1, 0, 1], ["negative", "positive"]),
        (["positive", "negative", "neutral"], ("negative", "neutral", "positive"), [2, 0, 1], None),
        (["2", "10", "2"], None, [0, 1, 0], ["2", "10"]),
        (["0", "2", "0"], ("a", "b", "c"), [0, 2, 0], None),
    ],
    ids=["sorted", "in order", "numbers sorted as numbers", "numbers of named classes"],
)
def test_labels_by_name_and_number(save, cells, class_names, labels, names):
    path = save("a.tsv", "".join(f"text {i}\t{cell}\n" for i, cell in enumerate(cells)))
    read = read_texts(path, "d", class_names=class_names)
    np.testing.assert_array_equal(read.labels, labels)
    assert read.class_names == (names or list(class_names))


def test_texts_without_labels(save):
    assert read_texts(save("a.txt", "a film\n\n  the plot \n"), "d") == (["a film", "the plot"], None, None)
    assert read_texts(save("a.csv", "text\na film\n"), "d").labels is None
    assert read_texts(save("a.csv", "a,b,c\n"), "d").texts == ["a"]


def test_some_of_the_texts(save):
    read = read_texts(save("a.tsv", "a\t0\nb\t1\nc\t0\n"), "d").chosen(np.array([2, 1]))
    assert read.texts == ["c", "b"] and read.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.txt", " \n\n", {}, "is empty"),
        ("a.tsv", "", {}, "is empty"),
        ("a.csv", "text,label\n", {}, "has a header but no texts"),
        ("a.json", "{}", {}, r"must end in .csv, .tsv or .txt"),
        ("a.txt", b"\xff\xfe\x00", {}, "cannot be read as UTF-8 text"),
        ("a.csv", 'a "film,1\n"b', {}, "cannot be read"),
        ("a.tsv", "a film\t1\nthe plot\n", {}, "line 2, has 1 columns, but column 1 is needed"),
        ("a.tsv", "a film\t1\n\t0\n", {}, "line 2: the text is empty"),
        ("a.csv", "text,label\na,1\nb,0\n", {"text_column": "words"}, "Received: 'words'.*'text', 'label'"),
        ("a.tsv", "a\t1\nb\t0\n", {"label_column": 2}, "Received: 2 .* 2 columns and no header"),
        (
            "a.tsv",
            "a\tyes\nb\tno\n",
            {"class_names": ("yes", "maybe")},
            "line 2: the label 'no' is not one",
        ),
        ("a.tsv", "a\t1\nb\t1\n", {}, "labels of one class only"),
        ("a.tsv", "a\tb\tc\n", {"class_names": ("x", "y")}, "has no labels: none of its 3 columns"),
        ("a.txt", "a\n", {"label_column": 1}, "has no labels: .txt files"),
        ("a.txt", "a\n", {"class_names": ("x", "y")}, "has no labels: .txt files"),
        ("a.tsv", "".join(f"1\ttext {i}\n" for i in range(30)), {}, "30 different labels for 30 texts"),
    ],
)
def test_files_that_cannot_be_read(save, name, content, options, message):
    with pytest.raises(ValueError, match=message) as raised:
        read_texts(save(name, content), "training_data", **options)
    assert str(raised.value).startswith("`training_data`") or "_column`" in str(raised.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`evaluation_data`: the file .* does not exist"):
        read_texts(tmp_path / "none.tsv", "evaluation_data")
