"""The installed programs as people start them: help, pipes, signals, terminals and shared folders."""

import contextlib
import fcntl
import importlib.util
import os
import pathlib
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time

import keras
import numpy as np
import pytest

from tests.conftest import small_network

pytestmark = pytest.mark.program

SCRIPTS = pathlib.Path(sys.executable).parent
# What TensorFlow and its converter print, and paths of sources before warnings.
NOISE = re.compile(
    r"[IWEF]\d{4} |absl|oneDNN|[Cc]uda|CUDA|XNNPACK|INFO:|WARNING|loc\(|callsite|MLIR|fully_quantize|"
    r"\.py:\d+|Traceback"
)
SMALL = [
    "--recipe=procedural",
    "--steps_per_epoch=3",
    "--batch_size=32",
    "--memory=64",
    "--recipe_options=refine_steps=0",
]


@pytest.fixture(scope="module", autouse=True)
def installed():
    if importlib.util.find_spec("tfkd_programs") is None or not (SCRIPTS / "tfkd-data-free").exists():
        pytest.skip("the programs are not installed beside this Python: pip install --editable .")


def environment():
    """That of a person: nothing that keeps TensorFlow quiet."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "XLA_"))}


def start(program, *typed, **options):
    return subprocess.Popen(
        [SCRIPTS / program, *map(str, typed)],
        **{
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "env": environment(),
            "text": True,
            # Who started the tests may ignore it.
            "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **options,
        },
    )


def ended(process, status):
    """What a program printed, once it has ended as expected."""
    out, err = process.communicate(timeout=240)
    assert process.returncode == status, (out, err)
    assert "Traceback" not in f"{out}{err}"
    return out, err


def wait_for(process, there):
    """Waits until something is there, for as long as the program runs."""
    deadline = time.time() + 240
    while not there() and process.poll() is None and time.time() < deadline:
        time.sleep(0.02)
    assert there(), process.communicate()


@pytest.mark.parametrize("program", ["tfkd-data-free", "tfkd-compress", "tfkd-distill"])
def test_help(program):
    out, err = ended(start(program, "--help"), 0)
    assert err == "" and not NOISE.search(out)
    assert f"Usage: {program} --" in out and f"Example:\n  {program} --" in out
    assert "\nTeacher:\n" in out and "\n  --[no]resume\n" in out and "\n  130, 143\n" in out
    assert max(map(len, out.splitlines())) <= 80


def test_version_and_usage():
    out, err = ended(start("tfkd-data-free", "--version"), 0)
    assert re.fullmatch(r"tfkd-data-free \d+\.\d+\.\d+ \(TensorFlow .*\)\n", out) and err == ""
    out, err = ended(start("tfkd-compress", "--modle=m.keras"), 2)
    assert out == "" and err.startswith("tfkd-compress: Unknown command line flag 'modle'.")


@pytest.mark.kill
def test_what_an_interrupted_run_says_goes_on_with_it(teacher_file, tmp_path):
    folder = tmp_path / "a folder"
    typed = [f"--teacher={teacher_file}", f"--output_dir={folder}", *SMALL, "--epochs=30", "--tflite=none"]
    process = start("tfkd-data-free", *typed, "--overwrite")
    wait_for(process, (folder / "state/latest.weights.h5").exists)
    process.send_signal(signal.SIGINT)
    _, err = ended(process, 130)
    assert err.count("\n") == 1 and not (folder / "run.lock").exists()
    command = shlex.split(err.split("continue with: ")[1])
    assert "--resume" in command and "--overwrite" not in command
    again = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=240)
    assert again.returncode == 0 and re.search(r"resuming after epoch \d+ of 30", again.stdout)
    assert (folder / "metrics.json").exists()


def catches(process, number):
    """Whether a process has a handler for a signal."""
    status = pathlib.Path(f"/proc/{process.pid}/status")
    if not status.exists():
        pytest.skip("only Linux tells which signals a process catches")
    caught = re.search(r"^SigCgt:\s*(\w+)$", status.read_text(), re.M)
    return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)


def test_interrupted_before_anything_was_done(teacher_file, tmp_path):
    process = start("tfkd-data-free", f"--teacher={teacher_file}", f"--output_dir={tmp_path / 'out'}")
    # In the midst of importing: Python catches only the other signal of itself.
    wait_for(process, lambda: catches(process, signal.SIGTERM))
    process.send_signal(signal.SIGINT)
    _, err = ended(process, 130)
    assert err.strip().count("\n") == 0 and "start the run again" in err


def test_nobody_reads_what_is_printed(teacher_file, tmp_path):
    typed = [f"--teacher={teacher_file}", *SMALL, "--epochs=2", "--tflite=none"]
    piped = start("tfkd-data-free", *typed, f"--output_dir={tmp_path / 'piped'}")
    assert piped.stdout is not None and piped.stderr is not None
    # As `head -1` does.
    assert piped.stdout.readline()
    piped.stdout.close()
    assert piped.stderr.read() == "" and piped.wait(timeout=240) == 0
    command = shlex.join([str(SCRIPTS / "tfkd-data-free"), *typed, f"--output_dir={tmp_path / 'closed'}"])
    subprocess.run(f"{command} <&- >&- 2>&-", shell=True, check=True, env=environment(), timeout=240)
    for name in ("piped", "closed"):
        assert (tmp_path / name / "metrics.json").exists()
        keras.models.load_model(tmp_path / name / "student.keras")


@pytest.mark.kill
def test_runs_in_one_folder_and_what_they_leave(teacher_file, tmp_path):
    folder = tmp_path / "out"
    typed = [f"--teacher={teacher_file}", f"--output_dir={folder}", *SMALL, "--epochs=400", "--tflite=none"]
    first = start("tfkd-data-free", *typed)
    wait_for(first, (folder / "state/latest.weights.h5").exists)
    for how in ("--overwrite", "--resume"):
        out, err = ended(start("tfkd-data-free", *typed, how), 2)
        assert (
            out == ""
            and f"--output_dir: {str(folder)!r} is in use by another run, process {first.pid}" in err
        )
    first.kill()
    first.communicate()
    (folder / ".student-abcd1234.keras").write_text("half")
    resumed = start("tfkd-data-free", *typed, "--resume")
    wait_for(resumed, lambda: not (folder / ".student-abcd1234.keras").exists())
    # All at once, whatever is being written.
    folder.rename(tmp_path / "elsewhere")
    _, err = ended(resumed, 2)
    assert "was removed or replaced while a run was writing to it" in err
    assert not (folder / "metrics.json").exists()


def test_a_teacher_that_answers_nan_is_refused(trained, tmp_path):
    broken = keras.models.clone_model(trained)
    weights = trained.get_weights()
    weights[-1][:] = np.nan
    broken.set_weights(weights)
    broken.save(tmp_path / "nan.keras")
    _, err = ended(
        start("tfkd-data-free", f"--teacher={tmp_path}/nan.keras", f"--output_dir={tmp_path}/out"), 2
    )
    assert "its outputs for synthetic inputs are NaN or infinite" in err and err.count("\n") == 1
    assert os.listdir(tmp_path / "out") == []


def test_training_that_had_to_stop_is_not_trusted(teacher_file, tmp_path):
    broken = small_network(4)
    broken.get_layer("logits").kernel.assign(broken.get_layer("logits").kernel * np.nan)
    broken.save(tmp_path / "student.keras")
    typed = [f"--teacher={teacher_file}", f"--student={tmp_path / 'student.keras'}", *SMALL]
    out, err = ended(start("tfkd-data-free", *typed, f"--output_dir={tmp_path / 'out'}"), 3)
    (problem,) = [line for line in out.splitlines() if line.startswith("Attention: ")]
    assert problem.startswith("Attention: the loss was no longer finite in epoch 1")
    assert "the student is as it was before training" in problem and "report.html" in out
    assert "no longer finite in epoch" not in err
    assert "Attention: the loss was no longer finite" in (tmp_path / "out/report.html").read_text()


def on_a_terminal(program, *typed):
    """Exit status and screen of a program in a terminal of 80 columns."""
    number, terminal = pty.fork()
    if not number:
        os.environ.update(TERM="xterm-256color", COLUMNS="80")
        os.execve(SCRIPTS / program, [program, *map(str, typed)], {**environment()})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    drawn = b""
    # The end of a terminal is an error.
    with contextlib.suppress(OSError):
        while chunk := os.read(terminal, 65536):
            drawn += chunk
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]), drawn.decode()


@pytest.mark.parametrize("program", ["tfkd-data-free", "tfkd-compress"])
def test_what_a_person_sees(program, teacher_file, tmp_path):
    network = "teacher" if program == "tfkd-data-free" else "model"
    typed = [f"--{network}={teacher_file}", f"--output_dir={tmp_path / 'out'}", *SMALL, "--epochs=2"]
    status, drawn = on_a_terminal(program, *typed, *["--prune=0.5"] * (network == "model"))
    assert status == 0
    shown = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", drawn)
    assert not NOISE.search(shown), shown
    lines = [line for line in re.split(r"[\r\n]+", shown) if line]
    assert max(len(line) for line in lines if str(tmp_path.parent) not in line) <= 80
    assert any("━" in line for line in lines)
    assert lines.index("first step: compiling, may take a minute") > 0
    epochs = [line for line in lines if re.match(r"epoch \d/2  ", line)]
    assert len(epochs) == 2 and all(re.search(r"s  loss \S+  agree \S+%", line) for line in epochs)
    said = [line for line in lines if "━" not in line and line.strip()]
    assert len(set(said) - set(epochs)) == len(said) - 2


def test_a_crash_of_foreign_code_says_where():
    code = (
        "import os, sys, tfkd_programs; sys.argv = ['tfkd-data-free', '--version']; "
        "tfkd_programs.data_free(); from tfkd._core import quiet\n"
        "with quiet.foreign_output(): os.abort()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), timeout=240
    )
    assert done.returncode == -signal.SIGABRT and "Fatal Python error: Aborted" in done.stderr
