"""The folder of a run: one run at a time, and what killed ones leave."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tfkd._core import files
from tfkd.pipelines._run_folder import Interrupted, RunFolder

SETTINGS = {"seed": 1}


def begun(path):
    """A folder in which a run has begun and ended early."""
    with RunFolder(path, SETTINGS, resume=False, overwrite=False) as folder:
        folder.begin()
    return path


def test_a_folder_is_one_runs_at_a_time(tmp_path):
    with RunFolder(tmp_path / "out", SETTINGS, resume=False, overwrite=False) as folder:
        folder.begin()
        lock = json.loads((tmp_path / "out/run.lock").read_text())
        assert lock["process"] == os.getpid()
        for asked in ({"resume": True, "overwrite": False}, {"resume": False, "overwrite": True}):
            with pytest.raises(ValueError, match=f"in use by another run, process {os.getpid()} on"):
                RunFolder(tmp_path / "out", SETTINGS, **asked)
        # Whoever is refused takes nothing away.
        folder.check()
    assert os.listdir(tmp_path / "out") == ["run.json"]
    with RunFolder(tmp_path / "out", SETTINGS, resume=True, overwrite=False):
        pass


def test_a_refused_run_leaves_the_folder_as_it_was(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for resume, overwrite in ((False, False), (True, False), (False, True)):
        with pytest.raises(ValueError, match="does not contain a tfkd run"):
            RunFolder(tmp_path, SETTINGS, resume, overwrite)
    assert os.listdir(tmp_path) == ["mine.txt"]


def test_the_lock_of_a_killed_run_is_taken_over(tmp_path):
    begun(tmp_path / "out")
    killed = (
        "import os, sys; from tfkd.pipelines._run_lock import RunLock; "
        "lock = RunLock(sys.argv[1]); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", killed, tmp_path / "out"], capture_output=True, timeout=120)
    assert json.loads((tmp_path / "out/run.lock").read_text())["process"] != os.getpid()
    with RunFolder(tmp_path / "out", SETTINGS, resume=True, overwrite=False):
        assert json.loads((tmp_path / "out/run.lock").read_text())["process"] == os.getpid()


@pytest.mark.parametrize("left", ["", "{", "[]", '{"process": "x", "host": "here"}'])
def test_a_lock_that_nobody_holds_and_nobody_can_read_is_taken_over(tmp_path, left):
    (tmp_path / "run.lock").write_text(left)
    with RunFolder(tmp_path, SETTINGS, resume=False, overwrite=False) as folder:
        folder.begin()
    assert os.listdir(tmp_path) == ["run.json"]


def test_a_run_on_another_host_is_left_alone_and_following_the_remedy_works(tmp_path):
    lock = tmp_path / "run.lock"
    lock.write_text(json.dumps({"process": 12, "host": "another"}))
    with pytest.raises(ValueError, match="process 12 on another") as refused:
        RunFolder(tmp_path, SETTINGS, resume=False, overwrite=False)
    assert f"remove {str(lock)!r}" in str(refused.value) and lock.exists()
    lock.unlink()
    with RunFolder(tmp_path, SETTINGS, resume=False, overwrite=False):
        pass


@pytest.mark.parametrize("asked", ["resume", "overwrite"])
def test_what_a_killed_run_had_begun_to_write_goes(tmp_path, asked):
    begun(tmp_path)
    ours = ["state/.latest-ab_c12d3.weights.h5", "images/.epoch_0003-abcd1234.png"]
    ours += [f".{name}-abcd1234.{ending}" for name, ending in (("student", "keras"), ("run", "json"))]
    others = [".mine-abcd1234.keras", ".student-abcd1234.keras.bak", ".student-abc.keras", "-.keras"]
    for name in (*ours, *others):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    with RunFolder(tmp_path, SETTINGS, asked == "resume", asked == "overwrite") as folder:
        # Nothing is lost before the run begins.
        assert all((tmp_path / name).exists() for name in (*ours, *others))
        folder.begin()
    assert not [name for name in ours if (tmp_path / name).exists()]
    assert all((tmp_path / name).exists() for name in others)


def test_temporary_names_are_those_that_are_given(tmp_path):
    for name in ("student.keras", "latest.weights.h5", "epoch_0001.png", "quantization-aware.json"):
        with files.replacing(tmp_path / name) as temporary:
            assert files.temporary_of(os.path.basename(temporary)) == name
        assert files.temporary_of(name) is None


@pytest.mark.parametrize("again", [False, True])
def test_a_folder_that_is_removed_is_noticed_and_not_made_again(tmp_path, again):
    with RunFolder(tmp_path / "out", SETTINGS, resume=False, overwrite=False) as folder:
        folder.begin()
        shutil.rmtree(tmp_path / "out")
        if again:
            begun(tmp_path / "out")
        for write in (
            folder.check,
            lambda: folder.write_json("metrics.json", {}),
            lambda: folder.save_model("student.keras", None),
        ):
            with pytest.raises(OSError, match="was removed or replaced while a run was writing"):
                write()
    assert (tmp_path / "out").exists() == again


@pytest.mark.parametrize(
    ("resume", "begins", "kind"),
    [(False, False, KeyboardInterrupt), (False, True, Interrupted), (True, False, Interrupted)],
)
def test_an_interruption_tells_whether_there_is_something_to_resume(tmp_path, resume, begins, kind):
    if resume:
        begun(tmp_path)
    with (
        pytest.raises(KeyboardInterrupt) as interrupted,
        RunFolder(tmp_path, SETTINGS, resume=resume, overwrite=False) as folder,
    ):
        if begins:
            folder.begin()
        raise KeyboardInterrupt
    assert interrupted.type is kind
