"""The examples of texts run on a tiny encoder."""

import importlib

import pytest
from absl import flags
from absl.testing import flagsaver

from tests import text_folder
from tfkd import export

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return text_folder.write_folder(tmp_path_factory.mktemp("example") / "encoder")


def run(name, *typed):
    """Runs the main function of an example by its flags."""
    with flagsaver.flagsaver():
        example = importlib.import_module(f"examples.{name}")
        flags.FLAGS([name, *typed])
        try:
            example.main([name])
        finally:
            for flag in flags.FLAGS.get_flags_for_module(example):
                delattr(flags.FLAGS, flag.name)


def test_text_classification(encoder, tmp_path, capsys):
    sets = {"data": text_folder.sentences(96), "test": text_folder.sentences(40, seed=1)}
    files = [f"--{name}={text_folder.write_tsv(tmp_path / name, *each)}" for name, each in sets.items()]
    output = tmp_path / "out.tflite"
    short = ("--layers=1", "--length=16", "--epochs=1", "--teacher_epochs=1", f"--output={output}")
    run("text_classification", f"--encoder={encoder}", *files, *short)
    printed = capsys.readouterr().out
    assert printed.count("accuracy") == 4 and "ms a sentence" in printed
    assert export.read_vocabulary(output) == list(text_folder.VOCABULARY)


def test_sentence_encoder(encoder, tmp_path, capsys):
    lines = text_folder.write_tsv(tmp_path / "lines.txt", text_folder.sentences(96)[0])
    output = tmp_path / "out.tflite"
    typed = (f"--data={lines}", "--layers=1", "--length=16", f"--output={output}")
    run("sentence_encoder", f"--encoder={encoder}", *typed)
    printed = capsys.readouterr().out
    rows = {line[:16].strip(): line[16:].split() for line in printed.splitlines() if line[16:].split()}
    assert all(len(rows[name]) == 3 for name in ("teacher", "student before", "student after", "TFLite"))
    assert "cosine 0." in printed and output.exists()
