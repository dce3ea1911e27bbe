"""Record: what a search has found out, in a folder, so that nothing is done twice."""

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
    """What is known of points: their cost, and how good their trained students are.

    It holds for any search by the same teacher, lesson and seed, whatever its budget, choices, strategy and
    number of trials. It is written after each trial, and before a trial after each cost.

    Args:
        folder: where it is, made if need be.
        settings: all that students depend on, as JSON can hold it.

    Raises:
        ValueError: if the folder has the record of a search with other settings, or one that is damaged.
        OSError: if the folder cannot be written.
    """

    def __init__(self, folder: str, settings: Mapping[str, Any]) -> None:
        self.folder, self._path = folder, os.path.join(folder, NAME)
        # As JSON gives them back.
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
                f"`folder`: {self._path!r} is damaged, or not of a search of tfkd ({error!r}). Name "
                "another folder, or remove the file to search from the start."
            ) from error
        names = sorted(self._settings.keys() | settings.keys())
        if changed := [name for name in names if self._settings.get(name) != settings.get(name)]:
            was = ", ".join(f"`{name}` was {settings.get(name)}" for name in changed)
            raise ValueError(
                f"`folder`: {self.folder!r} has trials of another search: {was}, now "
                f"{', '.join(str(self._settings.get(name)) for name in changed)}. Give the same, or name "
                "another folder."
            )

    def _remove_temporaries(self):
        """Removes what a killed search had begun to write."""
        for name in os.listdir(self.folder) if os.path.isdir(self.folder) else ():
            whole = files.temporary_of(name)
            if whole and (whole == NAME or whole.startswith(("trial_", "timed_"))):
                os.remove(os.path.join(self.folder, name))

    def _write(self):
        known = {"settings": self._settings, "points": list(self._points.values())}
        files.write_text(self._path, json.dumps(known, indent=1) + "\n")

    def known(self, point: Point) -> dict[str, Any]:
        """What is known of a point; empty if nothing is."""
        return self._points.get(key_of(point), {})

    def cost(self, point: Point, timed: str | None) -> Cost | None:
        """What its student costs, with the time of a kind of file, if there is one; None if unknown."""
        known = self.known(point)
        if "parameters" not in known:
            return None
        return Cost(
            parameters=known["parameters"],
            flops=known["flops"],
            milliseconds=known["milliseconds"].get(timed),
        )

    def note_cost(self, point: Point, cost: Cost, timed: str | None) -> None:
        """Writes down what a point's student costs."""
        milliseconds = dict(self.known(point).get("milliseconds", {}))
        if cost.milliseconds is not None:
            milliseconds[timed] = cost.milliseconds
        self.note(point, parameters=cost.parameters, flops=cost.flops, milliseconds=milliseconds)

    def note(self, point: Point, **figures: Any) -> None:
        """Writes down what else is known of a point."""
        entry = self._points.setdefault(key_of(point), {"point": dict(point)})
        entry.update(figures)
        self._write()

    def save_student(self, student: keras.Model) -> str:
        """Saves a trained student; returns the name of its file, to be noted."""
        trained = sum("student" in entry for entry in self._points.values())
        name = f"trial_{trained + 1:03d}.keras"
        with files.replacing(os.path.join(self.folder, name)) as temporary:
            student.save(temporary)
        return name


def load_student(folder: str, name: str) -> keras.Model:
    """A trained student from its file."""
    return model_files.load_keras(os.path.join(folder, name), "folder")
