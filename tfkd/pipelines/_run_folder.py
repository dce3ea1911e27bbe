"""The output folder of a run: rejected, cleared, resumed or created."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

import keras

from tfkd._core import files
from tfkd.pipelines._run_lock import LOCK, RunLock

# Everything that runs write, and so everything that is cleared for another run.
CONTENTS = frozenset(
    {
        "run.json",
        "history.json",
        "metrics.json",
        "report.html",
        "MODEL_CARD.md",
        "model_card.json",
        "student.keras",
        "student.tflite",
        "calibration.npz",
        "students",
        "model.keras",
        "model.tflite",
        "teacher.keras",
        "tokenizer",
        "pareto.png",
        "images",
        "search",
        "tensorboard",
        "state",
    }
)

# Folders that contain only files written by runs.
_FOLDERS = ("state", "images")


class Interrupted(KeyboardInterrupt):
    """An interrupted run that can be resumed."""


class RunFolder:
    """The folder a run writes to, and the state of earlier runs there; unchanged before `begin`.

    A context manager; at its end other runs may use the folder.

    Args:
        path: the folder.
        settings: the settings of the run, JSON-compatible; stored in `run.json`, so that only the same run
            is resumed.
        resume: whether to continue an interrupted run.
        overwrite: whether to clear an earlier run first.

    Raises:
        ValueError: if the folder is not empty and neither `resume` nor `overwrite` was given, the run to
            resume had other settings, or another run is writing there.
        OSError: if it cannot be written.
    """

    def __init__(
        self, path: str | os.PathLike, settings: Mapping[str, Any], resume: bool, overwrite: bool
    ) -> None:
        # Round-tripped through JSON, for comparison with an earlier run.
        self.path, self.settings = os.fspath(path), json.loads(json.dumps(settings))
        self._stale, self._begun = False, resume
        if resume and overwrite:
            raise ValueError("`resume` and `overwrite` exclude each other.")
        if os.path.exists(self.path) and not os.path.isdir(self.path):
            raise ValueError(f"`folder`: {self.path!r} is a file; name a folder.")
        # Better to find out now than after training.
        try:
            os.makedirs(self.path, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
            self._lock = RunLock(self.path)
        except OSError as error:
            raise OSError(
                f"`folder`: {self.path!r} cannot be written ({error}); name another folder."
            ) from error
        try:
            if set(os.listdir(self.path)) - {LOCK}:
                self._enter_used(resume, overwrite)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._lock.release()
        if self._begun and isinstance(error, KeyboardInterrupt):
            raise Interrupted from error

    def begin(self) -> None:
        """Clears an earlier run, if requested, and claims the folder for this run."""
        if self._stale:
            self._clear()
            self._stale = False
        self._clear_temporaries()
        self.write_json("run.json", self.settings)
        self._begun = True

    def check(self) -> None:
        """Raises OSError if the folder was removed since the run began."""
        self._lock.check()

    def _enter_used(self, resume, overwrite):
        earlier = self._earlier_settings()
        if resume:
            self._check_same(earlier)
        elif overwrite and earlier is not None:
            self._stale = True
        else:
            remedy = (
                "it does not contain a tfkd run, so name another folder"
                if earlier is None
                else "continue it with `resume`, or replace it with `overwrite`"
            )
            raise ValueError(f"`folder`: {self.path!r} is not empty; {remedy}.")

    def _check_same(self, earlier):
        if earlier is None:
            raise ValueError(f"`resume`: {self.path!r} does not contain a tfkd run.")
        names = sorted(self.settings.keys() | earlier.keys())
        if changed := [name for name in names if self.settings.get(name) != earlier.get(name)]:
            was = ", ".join(f"`{name}`={earlier.get(name)}" for name in changed)
            raise ValueError(
                f"`resume`: the run in {self.path!r} had other settings: {was}. Give the same ones, or "
                "another `folder`."
            )

    def _earlier_settings(self):
        try:
            return self.read_json("run.json")
        except (OSError, ValueError):
            return None

    def _clear(self):
        for name in CONTENTS:
            path = self.file(name)
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif os.path.exists(path):
                os.remove(path)

    def _clear_temporaries(self):
        """Removes partially written files of a killed run."""
        for name in os.listdir(self.path):
            if files.temporary_of(name) in CONTENTS:
                os.remove(os.path.join(self.path, name))
        for folder in _FOLDERS:
            path = self.file(folder)
            for name in os.listdir(path) if os.path.isdir(path) else ():
                if files.temporary_of(name):
                    os.remove(os.path.join(path, name))

    def file(self, name: str) -> str:
        """The path of a file in the folder; it must be in `CONTENTS`, or inside an entry of it."""
        if name.split("/")[0] not in CONTENTS:
            raise KeyError(name)
        return os.path.join(self.path, name)

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file atomically."""
        self.check()
        files.write_text(self.file(name), json.dumps(value, indent=2) + "\n")

    def read_json(self, name: str) -> Any:
        """The content of a JSON file."""
        with open(self.file(name), encoding="utf-8") as file:
            return json.load(file)

    def save_model(self, name: str, model: keras.Model) -> None:
        """Saves a model as a `.keras` file atomically."""
        self.check()
        with files.replacing(self.file(name)) as temporary:
            model.save(temporary)

    @property
    def finished(self) -> bool:
        """Whether the run is complete."""
        written = not self._stale and os.path.exists(self.file("metrics.json"))
        # Metrics are also written before the TFLite file is made.
        return written and self.read_json("metrics.json").get("complete", True)

    @property
    def state(self) -> str | None:
        """The file with the state of an interrupted run; None if there is none."""
        path = self.file(STATE)
        return path if os.path.exists(path) else None

    def finish(self) -> None:
        """Removes files that only an interrupted run needs."""
        self._clear_temporaries()
        shutil.rmtree(self.file("state"), ignore_errors=True)


STATE = "state/latest.weights.h5"
