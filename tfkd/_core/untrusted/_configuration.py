"""Checks the configuration of a network before Keras reads it."""

import dataclasses
import json
import sys
from collections.abc import Iterator
from typing import Any

import keras

from tfkd._core.untrusted import _allowed
from tfkd._core.untrusted._messages import refusal

_DEEPEST = 200
_OPTIONS = ("activation", "initializer", "regularizer", "constraint")
# How a call refers to a tensor: the layer, the index of its call, and the index of the output.
_TENSOR = (str, int, int)
_OF_ENTRIES = ("class_name", "config")
_OWN = "tfkd>"
_BRIDGED_MODEL, _BRIDGE = "tfkd>BridgedModel", "tfkd>Bridge"


def check_configuration(config: Any, what: str, remedy: str, old: bool = False) -> None:
    """Rejects a configuration that names anything not known to be safe.

    Classes and functions that this process has registered with Keras are allowed too: the user trusts them.

    Args:
        config: the configuration of a network, parsed from JSON.
        what: the argument and the file, for the message.
        remedy: what to do about something that is not on the list.
        old: whether tf_keras reads it instead of Keras 3.

    Raises:
        ValueError: naming the layer and what it uses.
    """
    if not isinstance(config, dict) or "class_name" not in config:
        raise refusal(what, "is damaged: its configuration is not of a model.", "Save the model again.")
    pending = [_Place(config, "the model", old, 0)]
    while pending:
        place = pending.pop()
        if place.depth > _DEEPEST:
            raise refusal(
                what, f"is not genuine: its configuration is nested more than {_DEEPEST} deep.", remedy
            )
        try:
            pending += place.inner()
        except _Refused as reason:
            raise refusal(what, f"is refused: {reason}.", reason.remedy or remedy) from None


class _Refused(Exception):
    """Why a configuration is rejected, as the middle of a sentence.

    Args:
        reason: the reason.
        remedy: what to do about it, if it differs from the usual remedy.
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.remedy = remedy


@dataclasses.dataclass(frozen=True)
class _Place:
    """A part of a configuration.

    Attributes:
        value: the part.
        owner: what contains it, for messages.
        old: whether tf_keras reads it.
        depth: its nesting depth.
    """

    value: Any
    owner: str
    old: bool
    depth: int

    def inner(self) -> Iterator["_Place"]:
        """Checks this part, and returns the parts inside it."""
        if isinstance(self.value, list | tuple):
            return (self._part(each) for each in self.value)
        if not isinstance(self.value, dict):
            return iter(())
        if "class_name" in self.value:
            return self._of_object()
        return self._of_options(self.value)

    def _part(self, value, owner=None, old=False):
        return _Place(value, owner or self.owner, self.old or old, self.depth + 1)

    def _of_object(self):
        entry = self.value
        kind, config = entry["class_name"], entry.get("config")
        owner = _named(entry, self.owner)
        _check_object(entry, owner, self.old)
        for call in _calls(entry):
            _check_call(call, owner)
        yield self._part({key: value for key, value in entry.items() if key not in _OF_ENTRIES}, owner)
        if kind in _allowed.ARRAYS:
            return
        if not isinstance(config, dict):
            yield self._part(config, owner)
            return
        names = (kind, entry.get("registered_name"))
        if _BRIDGE in names and "inner" in config:
            yield self._part(config["inner"], owner, old=True)
            config = {key: value for key, value in config.items() if key != "inner"}
        if _BRIDGED_MODEL in names and config.get("architecture"):
            yield self._part(_from_json(config["architecture"], owner), owner)
        yield self._part(config, owner)

    def _of_options(self, options):
        for key, value in options.items():
            if isinstance(value, str) and key.endswith(_OPTIONS):
                _check_word(key, value, self.owner, self.old)
            yield self._part(value)


def _named(entry, owner):
    """An entry as "layer 'name' (class)"; parts of a layer are named after the layer."""
    config = entry.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    if not isinstance(name, str):
        return owner
    return f"layer {_short(name)} ({_short(entry['class_name'], plain=True)})"


def _short(value, plain=False):
    text = value if plain and isinstance(value, str) and value.isidentifier() else repr(value)
    return text if len(text) <= 80 else f"{text[:76]} ..."


def _from_json(text, owner):
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise _Refused(f"{owner} has an architecture that is not JSON") from None


def _check_object(entry, owner, old):
    kind, module, registered = entry["class_name"], entry.get("module"), entry.get("registered_name")
    config = entry.get("config")
    options = config if isinstance(config, dict) else {}
    if not isinstance(kind, str):
        raise _Refused(f"{owner} has the class {_short(kind)}, which is not a name")
    if kind == "Lambda":
        raise _Refused(f"{owner} runs code that is stored in the file")
    if kind == "TFSMLayer":
        folder = _short(options.get("filepath"))
        raise _Refused(
            f"{owner} runs the SavedModel folder {folder}, which is not in the file",
            "Use that folder itself as the teacher (--teacher=FOLDER). If it is missing, ask for it, or "
            "for the model that it was exported from.",
        )
    if kind == "function":
        _check_function(config, module, registered, owner, old)
    elif kind in _allowed.ARRAYS:
        if options.get("dtype") not in _allowed.DTYPES:
            raise _Refused(f"{owner} has an array of type {_short(options.get('dtype'))}")
    elif kind in _allowed.OF_FUNCTIONS and _is_of_keras(module):
        _check_function_of_tensorflow(options.get("function"), owner)
    elif not (
        kind in _allowed.VALUES
        # A registered name is looked up first.
        or (kind in _allowed.CLASSES and _is_of_keras(module) and registered in (None, kind))
        or (old and kind in _allowed.OF_TFMOT and _is_of_tfmot(module))
        or _is_registered_class(kind, module, registered, old)
    ):
        where = "" if _is_of_keras(module) else f" of module {_short(module)}"
        by_name = "" if registered in (None, kind) else f", registered as {_short(registered)}"
        raise _Refused(
            f"{owner} uses the class {_short(kind, plain=True)}{where}{by_name}, which is "
            "neither on the list of safe layers nor registered in this process"
        )


def _check_function_of_tensorflow(function, owner):
    if not isinstance(function, str) or function not in _allowed.FUNCTIONS_OF_TENSORFLOW:
        raise _Refused(f"{owner} runs the TensorFlow function {_short(function)}, which is not on the list")


def _check_function(name, module, registered, owner, old):
    if isinstance(name, str):
        if _registered(name, old) is not None and (not old or _is_imported(module)):
            return
        plain = name.removeprefix(_OWN) if module in ("builtins", None) else name
        of_keras = module == "builtins" or _is_of_keras(module)
        if plain in _allowed.FUNCTIONS and of_keras and registered in (None, "function", name):
            return
    raise _Refused(
        f"{owner} uses the function {_short(name)} of module {_short(module)}, which is neither on the "
        "list of safe functions nor registered in this process"
    )


def _check_word(key, word, owner, old):
    known = word in _allowed.WORDS or word.removeprefix(_OWN) in _allowed.FUNCTIONS
    if not known and _registered(word, old) is None:
        raise _Refused(f"{owner} has {_short(key, plain=True)}={_short(word)}, which Keras does not know")


def _registered(name, old):
    """The object registered under a name with the Keras that reads the file; None if there is none."""
    if not old:
        found = keras.saving.get_registered_object(name)
        return found if _allowed.of_hub_computes(found) else None
    theirs = sys.modules.get("tf_keras")
    return None if theirs is None else theirs.saving.get_registered_object(name)


def _is_registered_class(kind, module, registered, old):
    """Whether this process has registered a class, under any name by which Keras looks it up."""
    if kind in _allowed.REFUSED_LAYERS or (old and not _is_imported(module)):
        return False
    if _registered(kind, old) is not None:
        return True
    found = _registered(registered, old) if isinstance(registered, str) else None
    return isinstance(found, type) and found.__name__ == kind


def _is_imported(module):
    """Whether tf_keras would find a module without importing anything."""
    return module is None or (isinstance(module, str) and module in sys.modules)


def _is_of_keras(module):
    if module is None:
        return True
    if not isinstance(module, str):
        return False
    package, *inner = module.removeprefix("tf_").split(".")
    inner = inner[1:] if inner[:1] == ["src"] else inner
    return package == "keras" and (not inner or inner[0] in _allowed.PACKAGES_OF_KERAS)


def _is_of_tfmot(module):
    return module is None or (
        isinstance(module, str) and module.startswith("tensorflow_model_optimization.python.core.")
    )


def _calls(entry):
    calls = entry.get("inbound_nodes")
    return calls if isinstance(calls, list) else []


def _check_call(call, owner):
    """Rejects a layer that is called on constants only, since it would run while the file is read."""
    pending = [call]
    for _ in range(100_000):
        if not pending:
            break
        value = pending.pop()
        if isinstance(value, dict):
            if value.get("class_name") == "__keras_tensor__":
                return
            pending += value.values()
        elif isinstance(value, list):
            if len(value) >= 3 and all(map(isinstance, value, _TENSOR)) and value[0] != "_CONSTANT_VALUE":
                return
            pending += value
    raise _Refused(f"{owner} is called on constants only, which would run it while the file is read")
