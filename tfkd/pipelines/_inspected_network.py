"""Findings about a network as built: its structure and cost."""

import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from tfkd._core import model_files
from tfkd._core.flops import count_flops
from tfkd._core.graphs import has_graph
from tfkd._core.keras_internals import flatten_layers, is_functional
from tfkd._core.runtimes import SavedModelFolder, TFLiteFile, require_litert
from tfkd.pipelines._inspection import Finding, not_known
from tfkd.searching._timing import file_of, timed_rounds
from tfkd.teachers._by_name import is_name
from tfkd.teachers._older_files import is_of_keras_2

# A Keras model, or a black-box file: a `TFLiteFile` or a `SavedModelFolder`.
Network = Any


def probed(look: Callable[[], Finding]) -> Finding:
    """The finding of a probe, or why it failed: networks can fail in unexpected ways."""
    try:
        return look()
    except Exception as error:
        check_not_interrupted(error)
        return not_known(str(error) or type(error).__name__)


def check_not_interrupted(error: Exception) -> None:
    """Re-raises an error that a library made from an interruption."""
    if "KeyboardInterrupt" in str(error):
        raise error


def format_of(source: Any, network: Network) -> Finding:
    """The kind of file a network was read from."""
    only = (
        "rebuilt with its layers"
        if isinstance(network, keras.Model)
        else "a black box that only makes predictions"
    )
    if isinstance(source, keras.Model):
        return Finding("a Keras model in memory", "model")
    path = os.fspath(source)
    if is_name(path):
        return Finding("a network by name, with its own preprocessing", "name")
    if os.path.isdir(path):
        return Finding(f"a SavedModel folder, {only}", "saved_model")
    size = f"{os.path.getsize(path):,} bytes"
    if model_files.is_hdf5(path):
        return Finding(f"an HDF5 file, {size}", "h5")
    if model_files.is_zip(path):
        version = "2" if is_of_keras_2(path) else "3"
        return Finding(f"a .keras file of Keras {version}, {size}", f"keras_{version}")
    return Finding(f"a TFLite file, {only}, {size}", "tflite")


def architecture_of(network: Network) -> Finding:
    """The kind of model, and its number of layers."""
    if isinstance(network, TFLiteFile | SavedModelFolder):
        words = f"a black box: predictions only, no gradients or layers; {network.reason}"
        return Finding(words, "black_box")
    inner = [each for each in network.layers if isinstance(each, keras.Model)]
    leaves = [each for each in flatten_layers(network, include_self=False) if not _holds_layers(each)]
    kind = _kind(network)
    nested = f", {len(inner)} of them models" if inner else ""
    return Finding(
        f"{kind} {network.name!r} of {len(network.layers)} layers{nested}; {_most(leaves)}", kind
    )


def _kind(network):
    if isinstance(network, keras.Sequential):
        return "Sequential"
    return "functional" if is_functional(network) else f"subclass {type(network).__name__}"


def _holds_layers(layer):
    return len(flatten_layers(layer)) > 1


def _most(leaves):
    """The most common kinds of layers, in words."""
    kinds = [type(each).__name__ for each in leaves if each.weights]
    counts = sorted({kind: kinds.count(kind) for kind in kinds}.items(), key=lambda each: -each[1])
    return ", ".join(f"{count} {kind}" for kind, count in counts[:5]) or "nothing with weights"


def inputs_of(network: Network) -> Finding:
    """Names, shapes and dtypes of its inputs."""
    if isinstance(network, TFLiteFile):
        return _tensors(
            (name, shape, dtype)
            for (name, shape), dtype in zip(network.input_shapes.items(), network.dtypes, strict=False)
        )
    if isinstance(network, keras.Model) and has_graph(network):
        return _tensors((each.name, each.shape, each.dtype) for each in network.inputs)
    return _tensors([("input", network.input_shape, "float32")])


def outputs_of(network: Network) -> Finding:
    """Names, shapes and dtypes of its outputs."""
    if not isinstance(network, keras.Model):
        shapes = network.output_shapes
        floats = ["float32"] * len(shapes)
        dtypes = network.dtypes[-len(shapes) :] if isinstance(network, TFLiteFile) else floats
        return _tensors((*each, dtype) for each, dtype in zip(shapes.items(), dtypes, strict=True))
    if has_graph(network):
        return _tensors((each.name, each.shape, each.dtype) for each in network.outputs)
    return _tensors([("output", network.output_shape, network.compute_dtype)])


def _tensors(described):
    values = [{"name": name, "shape": list(shape), "dtype": str(dtype)} for name, shape, dtype in described]
    return Finding(
        "; ".join(f"{each['name']} {tuple(each['shape'])} {each['dtype']}" for each in values), values
    )


def parameters_of(network: Network) -> Finding:
    """The number of its parameters."""
    if not isinstance(network, keras.Model):
        return not_known("a black box does not show it")
    count = network.count_params()
    return Finding(f"{count:,}", count)


def flops_of(network: Network) -> Finding:
    """Floating-point operations for one input."""
    if not isinstance(network, keras.Model):
        return not_known("a black box does not show it")
    count = count_flops(network)
    return Finding(f"{count:,} for one input, a multiply-add as two", count)


def tflite_of(network: Network) -> Finding:
    """Bytes and milliseconds as a TFLite file: the file itself if it is one, otherwise float32."""
    if isinstance(network, SavedModelFolder):
        return not_known("a SavedModel is not converted")
    require_litert()
    as_it_is = isinstance(network, TFLiteFile)
    kind = "as it is" if as_it_is else "in float32"
    content = network.content if as_it_is else file_of(network, "float32", None)
    milliseconds = 1000 * float(np.median(timed_rounds([content])))
    value = {"bytes": len(content), "milliseconds": milliseconds}
    return Finding(
        f"{len(content):,} bytes {kind}, {milliseconds:.3g} ms for one input on one thread", value
    )


def normalizations_of(network: Network) -> Finding:
    """The number of its batch normalizations."""
    if not isinstance(network, keras.Model):
        return not_known("a black box does not show it")
    count = sum(isinstance(each, layers.BatchNormalization) for each in flatten_layers(network))
    use = "" if count else "; recipes that match batch statistics leave them out"
    return Finding(f"{count}{use}", count)
