"""The output folder of a run: refused, cleared, continued or made."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

import keras

from tfkd._core import files
from tfkd.pipelines._run_lock import LOCK, RunLock

# All that runs leave, and so all that is cleared away for another one.
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

# Where files of ours alone are written.
_FOLDERS = ("state", "images")


class Interrupted(KeyboardInterrupt):
    """A run was interrupted that `resume` goes on with."""


class RunFolder:
    """Where a run writes, and what earlier writing there means; no run is changed before `begin`.

    A context, at whose end other runs may enter the folder.

    Args:
        path: the folder.
        settings: what the run is asked for, as JSON can hold it; kept in `run.json`, so that only the same
            run is continued.
        resume: continue an interrupted run.
        overwrite: clear an earlier run away first.

    Raises:
        ValueError: if the folder holds something and neither `resume` nor `overwrite` was given, what is
            to be continued is another run, or another run is writing there.
        OSError: if it cannot be written.
    """

    def __init__(
        self, path: str | os.PathLike, settings: Mapping[str, Any], resume: bool, overwrite: bool
    ) -> None:
        # As JSON gives it back, so that it can be compared with what an earlier run has noted.
        self.path, self.settings = os.fspath(path), json.loads(json.dumps(settings))
        self._stale, self._begun = False, resume
        if resume and overwrite:
            raise ValueError("`resume` and `overwrite` exclude each other.")
        if os.path.exists(self.path) and not os.path.isdir(self.path):
            raise ValueError(f"`folder`: {self.path!r} is a file; name a folder.")
        # Better known now than after the training.
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
        """Clears an earlier run away, if that was asked for, and makes the folder this run's."""
        if self._stale:
            self._clear()
            self._stale = False
        self._clear_temporaries()
        self.write_json("run.json", self.settings)
        self._begun = True

    def check(self) -> None:
        """Raises OSError if the folder was removed since the run has begun."""
        self._lock.check()

    def _enter_used(self, resume, overwrite):
        earlier = self._earlier_settings()
        if resume:
            self._check_same(earlier)
        elif overwrite and earlier is not None:
            self._stale = True
        else:
            remedy = (
                "it does not hold a run of tfkd, so name another folder"
                if earlier is None
                else "continue it with `resume`, or replace it with `overwrite`"
            )
            raise ValueError(f"`folder`: {self.path!r} is not empty; {remedy}.")

    def _check_same(self, earlier):
        if earlier is None:
            raise ValueError(f"`resume`: {self.path!r} does not hold a run of tfkd.")
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
        """Removes what a killed run had begun to write."""
        for name in os.listdir(self.path):
            if files.temporary_of(name) in CONTENTS:
                os.remove(os.path.join(self.path, name))
        for folder in _FOLDERS:
            path = self.file(folder)
            for name in os.listdir(path) if os.path.isdir(path) else ():
                if files.temporary_of(name):
                    os.remove(os.path.join(path, name))

    def file(self, name: str) -> str:
        """The path of something in the folder; only of what `CONTENTS` names, or what is inside of it."""
        if name.split("/")[0] not in CONTENTS:
            raise KeyError(name)
        return os.path.join(self.path, name)

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file whole or not at all."""
        self.check()
        files.write_text(self.file(name), json.dumps(value, indent=2) + "\n")

    def read_json(self, name: str) -> Any:
        """What a JSON file holds."""
        with open(self.file(name), encoding="utf-8") as file:
            return json.load(file)

    def save_model(self, name: str, model: keras.Model) -> None:
        """Saves a model as a `.keras` file, whole or not at all."""
        self.check()
        with files.replacing(self.file(name)) as temporary:
            model.save(temporary)

    @property
    def finished(self) -> bool:
        """Whether the run is complete."""
        written = not self._stale and os.path.exists(self.file("metrics.json"))
        # Metrics are written before the TFLite file is made, too.
        return written and self.read_json("metrics.json").get("complete", True)

    @property
    def state(self) -> str | None:
        """The file with the state of an interrupted run; None if there is none."""
        path = self.file(STATE)
        return path if os.path.exists(path) else None

    def finish(self) -> None:
        """Drops what only an interrupted run needs."""
        self._clear_temporaries()
        shutil.rmtree(self.file("state"), ignore_errors=True)


STATE = "state/latest.weights.h5"
