"""Record: results of a search, saved in a folder so that nothing is repeated."""

import json
import os
from collections.abc import Mapping
from typing import Any

import keras

from tfkd._core import files, model_files
from tfkd.searching._budget import Cost
from tfkd.searching._space import Point, key_of

NAME = "search.json"


class Record:
    """The results of points: their cost, and the objective of their trained students.

    It is valid for any search with the same teacher, lesson and seed, even with another budget, other
    choices, another strategy or another number of trials. It is saved after each trial and after each cost
    measurement.

    Args:
        folder: its folder, created if needed.
        settings: everything that students depend on, JSON-compatible.

    Raises:
        ValueError: if the folder contains the record of a search with other settings, or a damaged one.
        OSError: if the folder cannot be written.
    """

    def __init__(self, folder: str, settings: Mapping[str, Any]) -> None:
        self.folder, self._path = folder, os.path.join(folder, NAME)
        # Round-tripped through JSON.
        self._settings = json.loads(json.dumps(settings, default=str))
        self._points: dict[str, dict[str, Any]] = {}
        if os.path.exists(self._path):
            self._read()
        self._remove_temporaries()
        self._write()

    def _read(self):
        try:
            with open(self._path, encoding="utf-8") as file:
                known = json.load(file)
            settings, points = known["settings"], known["points"]
            self._points = {key_of(entry["point"]): entry for entry in points}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"`folder`: {self._path!r} is damaged, or not from a tfkd search ({error!r}). Name another "
                "folder, or remove the file to search from the start."
            ) from error
        names = sorted(self._settings.keys() | settings.keys())
        if changed := [name for name in names if self._settings.get(name) != settings.get(name)]:
            was = ", ".join(f"`{name}` was {settings.get(name)}" for name in changed)
            raise ValueError(
                f"`folder`: {self.folder!r} has trials of another search: {was}, now "
                f"{', '.join(str(self._settings.get(name)) for name in changed)}. Use the same settings, "
                "or name another folder."
            )

    def _remove_temporaries(self):
        """Removes partially written files of a killed search."""
        for name in os.listdir(self.folder) if os.path.isdir(self.folder) else ():
            whole = files.temporary_of(name)
            if whole and (whole == NAME or whole.startswith(("trial_", "timed_"))):
                os.remove(os.path.join(self.folder, name))

    def _write(self):
        known = {"settings": self._settings, "points": list(self._points.values())}
        files.write_text(self._path, json.dumps(known, indent=1) + "\n")

    def known(self, point: Point) -> dict[str, Any]:
        """The recorded results of a point; empty if there are none."""
        return self._points.get(key_of(point), {})

    def cost(self, point: Point, timed: str | None) -> Cost | None:
        """The cost of a point's student, including the time of a kind of file; None if unknown."""
        known = self.known(point)
        if "parameters" not in known:
            return None
        return Cost(
            parameters=known["parameters"],
            flops=known["flops"],
            milliseconds=known["milliseconds"].get(timed),
        )

    def note_cost(self, point: Point, cost: Cost, timed: str | None) -> None:
        """Records the cost of a point's student."""
        milliseconds = dict(self.known(point).get("milliseconds", {}))
        if cost.milliseconds is not None:
            milliseconds[timed] = cost.milliseconds
        self.note(point, parameters=cost.parameters, flops=cost.flops, milliseconds=milliseconds)

    def note(self, point: Point, **figures: Any) -> None:
        """Records further results of a point."""
        entry = self._points.setdefault(key_of(point), {"point": dict(point)})
        entry.update(figures)
        self._write()

    def save_student(self, student: keras.Model) -> str:
        """Saves a trained student; returns the name of its file."""
        trained = sum("student" in entry for entry in self._points.values())
        name = f"trial_{trained + 1:03d}.keras"
        with files.replacing(os.path.join(self.folder, name)) as temporary:
            student.save(temporary)
        return name


def load_student(folder: str, name: str) -> keras.Model:
    """A trained student from its file."""
    return model_files.load_keras(os.path.join(folder, name), "folder")
