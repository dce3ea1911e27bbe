"""Reads what flows into and out of inner layers during one ordinary forward pass.

No second model is built: while a pass is recorded, the `call` of each tapped layer is wrapped to
note its input and output. That works for functional, Sequential, subclassed and nested models,
eagerly and while a `tf.function` is traced.
"""

import contextlib
import difflib
import threading
from collections.abc import Iterable, Iterator

import keras

from tfkd._core.keras_internals import flatten_layers, inbound_nodes
from tfkd._core.token_maps import as_map, map_shape

__all__ = [
    "INPUT_GRADIENT",
    "Record",
    "named_layers",
    "penultimate",
    "record",
    "resolve",
    "shape",
    "shared_stages",
    "stages",
]

_INPUT, _MAP = ":input", ":map"
# Not a layer: the gradient of the labels' cross-entropy by the model's input, which a distiller computes.
INPUT_GRADIENT = ":gradient"
_lock = threading.RLock()
_thread = threading.local()
_wrapped: dict[int, int] = {}


def named_layers(model: keras.Model) -> dict[str, keras.Layer]:
    """Every layer inside `model`, however deep, by its path.

    Args:
        model: any Keras model.

    Returns:
        A dictionary from paths such as `"block3/relu"` to layers, in the model's own order. Layers
        that share a path keep the first.
    """
    found: dict[str, keras.Layer] = {}

    def visit(layer, prefix):
        for name, child in _children(layer):
            path = prefix + name
            if path not in found:
                found[path] = child
                visit(child, path + "/")

    visit(model, "")
    return found


def _children(layer):
    """The layers right inside a layer, by name; of a bridge to another Keras, those behind it."""
    for child in flatten_layers(layer, include_self=False, recursive=False):
        if hasattr(child, "inner_layers"):
            yield from child.inner_layers().items()
        else:
            yield child.name, child


def resolve(model: keras.Model, tap: str) -> keras.Layer:
    """The layer that `tap` names.

    Args:
        model: the model to look in.
        tap: a layer's path, with `:input` appended for what flows into the layer, and `:map` for tokens
            `(batch, tokens, channels)` to be seen as a square map.

    Returns:
        The layer.

    Raises:
        ValueError: if there is no such layer; the message lists close matches.
    """
    layers = named_layers(model)
    path = tap.removesuffix(_MAP).removesuffix(_INPUT)
    if path not in layers:
        close = difflib.get_close_matches(path, layers, n=5, cutoff=0.4) or list(layers)[:5]
        raise ValueError(
            f"No layer {path!r} in model {model.name!r}. Close matches: {close}. Layers inside "
            "layers are named by path, as in 'block3/relu'."
        )
    return layers[path]


def shape(model: keras.Model, tap: str):
    """The shape, or structure of shapes, that a tap sees; None if the model's graph does not tell.

    Args:
        model: any Keras model.
        tap: a layer's path, with the suffixes that `record` takes.

    Returns:
        A shape whose first axis is None.
    """
    if tap.endswith(_MAP):
        tokens = shape(model, tap.removesuffix(_MAP))
        return None if tokens is None else map_shape(tokens)
    layer = resolve(model, tap)
    nodes = inbound_nodes(layer)
    if not nodes:
        return None
    if not isinstance(layer, keras.Layer):
        return layer.get_input_shape_at(-1) if tap.endswith(_INPUT) else layer.get_output_shape_at(-1)
    arguments = nodes[-1].arguments.args
    seen = arguments[0] if tap.endswith(_INPUT) and arguments else nodes[-1].output_tensors
    seen = seen[0] if isinstance(seen, list) and len(seen) == 1 else seen
    return keras.tree.map_structure(lambda tensor: tuple(tensor.shape), seen)


def penultimate(model: keras.Model) -> str:
    """The tap of the features that enter the model's last layer with weights."""
    weighted = [
        path
        for path, layer in named_layers(model).items()
        if layer.weights and not flatten_layers(layer, include_self=False, recursive=False)
    ]
    if not weighted:
        raise ValueError(f"Model {model.name!r} has no layer with weights to tap.")
    return weighted[-1] + _INPUT


def stages(model: keras.Model) -> dict[tuple[int, int], str]:
    """The last layer of each size of maps, which is where a convolutional network's stages end.

    Args:
        model: a model whose graph is known.

    Returns:
        `{(height, width): tap}` in the model's own order, sizes of one position left out.
    """
    found = {}
    for path, layer in named_layers(model).items():
        if isinstance(layer, keras.layers.InputLayer):
            continue
        seen = shape(model, path)
        if isinstance(seen, tuple) and len(seen) == 4 and None not in seen[1:] and seen[1] * seen[2] > 1:
            found[seen[1:3]] = path
    return found


def shared_stages(teacher: keras.Model, student: keras.Model) -> list[tuple[str, str]]:
    """Pairs of taps, teacher's and student's, at the end of each stage that both have: see `stages`."""
    theirs, ours = stages(teacher), stages(student)
    return [(theirs[size], ours[size]) for size in theirs if size in ours]


class Record(dict):
    """What the taps of one forward pass saw: `record[tap]` is the value at the layer's last call.

    `record.calls[tap]` lists the values of every call, for layers used more than once.
    """

    def __init__(self, taps: Iterable[str]) -> None:
        super().__init__()
        self.calls: dict[str, list] = {tap: [] for tap in taps}

    def __missing__(self, tap):
        known = tap in self.calls
        reason = "its layer was not called in the recorded pass" if known else "it was not tapped"
        raise KeyError(f"Nothing recorded for tap {tap!r}: {reason}.")

    def note(self, tap: str, value) -> None:
        self.calls[tap].append(value)
        self[tap] = value


@contextlib.contextmanager
def record(model: keras.Model, taps: Iterable[str]) -> Iterator[Record]:
    """Records the named taps of every call of `model` made inside the `with` block.

    Args:
        model: any Keras model.
        taps: paths of layers, with `:input` for inputs. With `:map` behind either, the tokens of a
            transformer are seen as the square map of their patches, a token in front left out.

    Returns:
        A context manager that yields a `Record`, filled while the model runs in this thread.

    Raises:
        ValueError: for a path that is not in the model.

    Example:
        >>> with tfkd.taps.record(model, ["block1/relu", "dense:input"]) as seen:
        ...     logits = model(images)
        >>> seen["block1/relu"].shape
    """
    taps = tuple(dict.fromkeys(taps))
    seen = Record(taps)
    layers: dict[int, tuple[keras.Layer, list[str]]] = {}
    for tap in taps:
        layer = resolve(model, tap)
        layers.setdefault(id(layer), (layer, []))[1].append(tap)
    with contextlib.ExitStack() as stack:
        for layer, names in layers.values():
            stack.enter_context(_listening(layer, names, seen))
        yield seen


@contextlib.contextmanager
def _listening(layer, taps, seen):
    listeners = _listeners(layer)
    _wrap(layer)
    listeners.append((taps, seen))
    try:
        yield
    finally:
        # By identity: records compare as dictionaries of tensors.
        listeners[:] = [item for item in listeners if item[1] is not seen]
        _unwrap(layer)


def _listeners(layer) -> list:
    """Who listens to this layer in this thread."""
    if not hasattr(_thread, "listeners"):
        _thread.listeners = {}
    return _thread.listeners.setdefault(id(layer), [])


def _wrap(layer):
    """Replaces `layer.call` once, however many threads and records listen."""
    with _lock:
        _wrapped[id(layer)] = _wrapped.get(id(layer), 0) + 1
        if _wrapped[id(layer)] > 1:
            return
        call = layer.call

        def listening_call(*args, **kwargs):
            outputs = call(*args, **kwargs)
            for taps, seen in _listeners(layer):
                for tap in taps:
                    seen.note(tap, _seen_by(tap, args, kwargs, outputs))
            return outputs

        object.__setattr__(layer, "call", listening_call)


def _unwrap(layer):
    with _lock:
        _wrapped[id(layer)] -= 1
        if not _wrapped[id(layer)]:
            del _wrapped[id(layer)]
            object.__delattr__(layer, "call")


def _seen_by(tap, args, kwargs, outputs):
    """What a tap sees of a layer's call."""
    of_input = tap.removesuffix(_MAP).endswith(_INPUT)
    value = _first(args, kwargs) if of_input else outputs
    return as_map(value) if tap.endswith(_MAP) else value


def _first(args, kwargs):
    return args[0] if args else next(iter(kwargs.values()))
