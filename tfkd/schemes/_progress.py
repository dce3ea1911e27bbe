"""The progress of a run of stages, saved in a folder so that it can be resumed."""

import json
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfkd._core import files
from tfkd._core.replicas import check_same_epoch, from_all
from tfkd._core.seeding import drawn_seed

_FILE = "progress.json"


class Progress:
    """The progress so far, in memory and, if given, in a folder.

    The folder contains the latest weights of every started stage, and `progress.json`, which names them and
    is replaced after they are written. Whenever a run is killed, the folder contains a complete epoch.
    """

    def __init__(self, folder, plan, seed):
        self.folder = None if folder is None else os.fspath(folder)
        seed = drawn_seed() if seed is None else seed
        self.state = {"plan": plan, "seed": seed, "weights": {}, "logs": []}
        found = None if self.folder is None else read_plan(self.folder, _FILE)
        if found is not None:
            check_plan(
                found,
                plan,
                f"`backup_dir` {self.folder!r} contains a run with another teacher or other stages",
            )
            # Folders from earlier versions have no seed.
            self.state = {"seed": seed, **found}

    @property
    def seed(self) -> int:
        """The seed of everything that is built."""
        return self.state["seed"]

    @property
    def logs(self) -> list[dict]:
        """The logs of all epochs, with their numbers and stages."""
        return self.state["logs"]

    def restore(self, number, first, distiller):
        """Restores student, losses and optimizer of a stage; returns the epoch to continue with."""
        saved = self._saved(number)
        if self.folder is None:
            return first
        check_same_epoch(distiller.distribute_strategy, first if saved is None else saved["epochs"])
        if saved is None:
            return first
        distiller.load_weights(os.path.join(self.folder, saved["file"]))
        return saved["epochs"]

    def is_finished(self, number):
        """Whether a stage ended, even if early."""
        return (self._saved(number) or {}).get("finished", False)

    def _saved(self, number):
        return self.state["weights"].get(str(number))

    def callback(self, number, distiller):
        """The callback that saves every epoch."""
        return keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: self._keep_epoch(number, epoch, logs, distiller)
        )

    def finish(self, number, distiller):
        """Saves the weights as callbacks left them at the end of the stage, such as the best epoch's."""
        saved = self._saved(number)
        if saved is not None:
            self._keep(number, f"stage_{number}_end.weights.h5", saved["epochs"], True, distiller)

    def _keep_epoch(self, number, epoch, logs, distiller):
        values = {key: np.asarray(value).tolist() for key, value in logs.items()}
        self.state["logs"].append({"epoch": epoch, "stage": number, **values})
        self._keep(number, f"stage_{number}_epoch_{epoch}.weights.h5", epoch + 1, False, distiller)

    def _keep(self, number, name, epochs, finished, distiller):
        if self.folder is None:
            return
        before = self._saved(number)
        with files.replacing(os.path.join(self.folder, name)) as temporary:
            distiller.save_weights(temporary)
        # If workers are killed, all have saved the same epoch.
        from_all(distiller.distribute_strategy, epochs)
        self.state["weights"][str(number)] = {"file": name, "epochs": epochs, "finished": finished}
        files.write_text(os.path.join(self.folder, _FILE), json.dumps(self.state))
        if before is not None and before["file"] != name:
            os.remove(os.path.join(self.folder, before["file"]))


def one_history(logs: Sequence[dict], distiller: Any) -> keras.callbacks.History:
    """The logs of all epochs as one History, NaN where an epoch lacks a value.

    Args:
        logs: logs of each epoch, with its number under "epoch".
        distiller: the model that the history belongs to.
    """
    history = keras.callbacks.History()
    history.set_model(distiller)
    history.epoch = [each["epoch"] for each in logs]
    keys = dict.fromkeys(key for each in logs for key in each if key != "epoch")
    history.history = {key: [each.get(key, float("nan")) for each in logs] for key in keys}
    return history


def as_plan(plan: dict) -> dict:
    """A run's plan, round-tripped through JSON, without accidental differences between equal objects."""
    plain = json.loads(json.dumps(plan, default=str))
    return {key: _without_names(value) for key, value in plain.items()}


def read_plan(folder: str, name: str) -> dict | None:
    """The content of a folder's JSON file; None if there is none."""
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def check_plan(found: dict, plan: dict, what: str) -> None:
    """Raises ValueError if the run in a folder has a different plan.

    Args:
        found: the plan in the folder.
        plan: the current plan, from `as_plan`.
        what: description of the folder's content.
    """
    if found["plan"] != plan:
        difference = _difference(found["plan"], plan)
        raise ValueError(f"{what}: {difference}. Give another folder, or remove that one.")


def _difference(found, plan, path=""):
    """The first difference of two plans, in words."""
    if isinstance(found, dict) and isinstance(plan, dict):
        keys = (key for key in {**plan, **found} if found.get(key) != plan.get(key))
        key = next(keys)
        return _difference(found.get(key), plan.get(key), f"{path}.{key}" if path else key)
    if isinstance(found, list) and isinstance(plan, list) and len(found) == len(plan):
        place = next(i for i, each in enumerate(found) if each != plan[i])
        return _difference(found[place], plan[place], f"{path}[{place}]")
    return f"{path} was {found!r}, and now is {plan!r}"


def _without_names(config):
    """A config without accidental differences between equal objects."""
    if isinstance(config, list):
        return [_without_names(each) for each in config]
    if not isinstance(config, dict):
        return config
    aside = "name", "build_config", "shared_object_id"
    return {key: _without_names(value) for key, value in config.items() if key not in aside}
