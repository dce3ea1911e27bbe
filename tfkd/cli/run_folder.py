"""The output folder of a run: refused, cleared, continued or made."""

import json
import os
import shutil
import tempfile

from tfkd._core import files

_CONTENTS = (
    "run.json",
    "history.json",
    "metrics.json",
    "report.html",
    "student.keras",
    "student.tflite",
    "model.keras",
    "model.tflite",
    "images",
    "tensorboard",
    "state",
)


class RunFolder:
    """Where a run writes, and what earlier writing there means; nothing is changed before `begin`.

    Args:
        path: the folder.
        settings: the run's flags, kept in `run.json` so that only the same run is continued.
        resume: continue an interrupted run; None if this program cannot.
        overwrite: clear an earlier run away first.

    Raises:
        ValueError: if the folder holds something and neither flag was given, or what is to be
            continued is another run.
        OSError: if it cannot be written.
    """

    def __init__(self, path: str, settings: dict, resume: bool | None, overwrite: bool) -> None:
        self.path, self.settings = path, settings
        self._stale, self._resumable = False, resume is not None
        if resume and overwrite:
            raise ValueError("--resume and --overwrite exclude each other.")
        if os.path.exists(path) and not os.path.isdir(path):
            raise ValueError(f"--output_dir: {path!r} is a file; name a folder.")
        if os.path.isdir(path) and os.listdir(path):
            self._enter_used(settings, resume, overwrite)
        # Better known now than after the training.
        try:
            os.makedirs(path, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            raise OSError(
                f"--output_dir: {path!r} cannot be written ({error}); name another folder."
            ) from error

    def begin(self) -> None:
        """Clears an earlier run away, if that was asked for, and makes the folder this run's."""
        if self._stale:
            self._clear()
        files.write_text(self.file("run.json"), json.dumps(self.settings, indent=2) + "\n")

    def _enter_used(self, settings, resume, overwrite):
        earlier = self._earlier_settings()
        if resume:
            if earlier is None:
                raise ValueError(f"--resume: {self.path!r} holds no run of this program.")
            names = (settings.keys() | earlier.keys()) - {"output_dir"}
            changed = {k for k in names if settings.get(k) != earlier.get(k)}
            if changed:
                was = ", ".join(f"--{k}={earlier.get(k)}" for k in sorted(changed))
                raise ValueError(
                    f"--resume: the run in {self.path!r} had other flags: {was}. Give the same ones, "
                    "or another --output_dir."
                )
        elif not overwrite or earlier is None:
            continued = "continue it with --resume, or " if self._resumable else ""
            remedy = (
                f"{continued}replace it with --overwrite"
                if earlier is not None
                else "it is no run of this program, so name another folder"
            )
            raise ValueError(f"--output_dir: {self.path!r} is not empty; {remedy}.")
        else:
            self._stale = True

    def _earlier_settings(self):
        try:
            with open(self.file("run.json"), encoding="utf-8") as file:
                return json.load(file)
        except (OSError, ValueError):
            return None

    def _clear(self):
        for name in _CONTENTS:
            path = self.file(name)
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif os.path.exists(path):
                os.remove(path)

    def file(self, name: str) -> str:
        """The path of something in the folder."""
        return os.path.join(self.path, name)

    @property
    def finished(self) -> bool:
        """Whether the run is complete."""
        return os.path.exists(self.file("metrics.json"))

    def finish(self) -> None:
        """Drops the state that only an interrupted run needs."""
        shutil.rmtree(self.file("state"), ignore_errors=True)
