"""Quantization-aware training: students that learn with simulated 8-bit rounding."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from tfkd._core.keras_internals import inbound_nodes
from tfkd._core.layouts import probes
from tfkd._core.precision import in_float32
from tfkd.compression._bridged import BridgedModel
from tfkd.compression._calibration import calibrate, check_quantization_aware
from tfkd.compression._quantizable import (
    feeds_quantized,
    in_float,
    is_batch_norm,
    is_folded,
    is_quantizable,
    output_only,
)
from tfkd.compression._scheme_fixes import keep_to_scheme, round_embeddings, whole_numbers_as_they_are
from tfkd.compression._sparse import check_zeros, kernels
from tfkd.compression._tfmot import load, scopes
from tfkd.compression._wrapping import chosen_layers, rebuilt, wrap_layers

SCHEMES = ("int8", "int8_per_tensor")
PRESERVED = ("sparsity", "clusters")
_IMAGES, _MOST_CLUSTERS = 256, 256


def quantize_aware(
    model: keras.Model,
    layers: Iterable[str] | None = None,
    scheme: str | Any = "int8",
    preserve: Iterable[str] = (),
    images: Any = None,
    freeze_batch_norm: bool = False,
) -> BridgedModel:
    """Makes a student that trains with weights and activations rounded to 8 bits.

    `tfkd.export.export_tflite(student, path, "int8")` exports it with its learned ranges. Directly after
    this call, before training, it is equivalent to post-training quantization.

    Args:
        model: a functional or built Sequential Keras 3 model; it is not changed.
        layers: the names of the layers to quantize ("block/conv" in nested models); None for all that tfmot
            can quantize. The others stay in float; `float_layers(student)` lists them. A separable
            convolution is quantized as two convolutions, as in a TFLite file; the projections of attention
            between tokens are quantized, while the attention itself stays in float.
        scheme: "int8" (a scale for each channel of convolution kernels), "int8_per_tensor" or a
            `QuantizeScheme` of tfmot.
        preserve: what to preserve in a model that was pruned or clustered and stripped: "sparsity" (zeros),
            "clusters" (few values per kernel), or both.
        images: inputs for the initial ranges of activations, such as `distiller.synthesize(256)`, in the
            structure of the model's inputs, such as the result of a `tfkd.text.Tokenizer`; None for images
            from the procedural generators.
        freeze_batch_norm: whether batch normalizations keep their statistics, scales and offsets, as frozen
            ones do in Keras. This suits short training of a network that is nearly finished, especially on
            synthesized inputs, whose statistics differ somewhat from those of real inputs.

    Returns:
        A Keras 3 model to compile and train like any other.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an option is unknown, a layer does not exist, cannot be quantized or is called
            several times, there is nothing to preserve, or the model is subclassed, wrapped already or has
            layers without a counterpart in tf_keras.

    Example:
        >>> student = tfkd.compression.quantize_aware(model)
        >>> distiller = tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.Procedural())

    Reference:
        Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
        Inference", 2018, as implemented by tfmot. Deviations: initial ranges are measured on `images`
        instead of being -6 to 6, which moving averages with a decay of 0.999 take thousands of updates to
        leave; zeros are kept by a saved mask, so that a loaded student keeps them too; kernels of layers
        directly before a `ReLU` layer are rounded too, and those before a `Concatenate` follow a scheme
        given by name (a `QuantizeScheme` is used unchanged); embedding tables are rounded, which tfmot
        leaves in float (as does `preserve="clusters"`).
    """
    kept = _preserved(model, preserve)
    rounding = _scheme(scheme, kept)
    # tfmot rounds to 8 bits only in float32.
    with in_float32(model) as model:
        return _quantized(model, layers, rounding, kept, images, freeze_batch_norm)


def quantization_registry() -> Any:
    """The layer registry of tfmot's 8-bit scheme, with changes."""
    return _scheme("int8", set()).get_quantize_registry()


def _quantized(model, layers, rounding, kept, images, freeze_batch_norm):
    """The student of a float32 model."""
    inner = rebuilt(model)
    if freeze_batch_norm:
        for layer in filter(is_batch_norm, inner.layers):
            layer.trainable = False
    if images is None and (len(model.inputs) > 1 or len(model.input_shape) not in (3, 4)):
        raise ValueError(
            f"`images` is needed: the procedural generators cannot make the inputs of {model.name!r}."
        )
    registry = rounding.get_quantize_registry()

    def able(layer):
        return is_quantizable(layer, registry)

    chosen = chosen_layers(inner, layers, able, "quantized")
    # The name of a separable convolution or an attention layer includes all its parts.
    chosen |= {layer.name for layer in inner.layers if _is_part(layer.name, chosen) and able(layer)}
    _check_called_once(inner, chosen)
    chosen |= {layer.name for layer in inner.layers if is_folded(layer, chosen)}
    outputs_only = {layer.name for layer in inner.layers if feeds_quantized(layer, chosen, registry)}
    annotate = load().quantization.keras.quantize_annotate_layer
    annotated = wrap_layers(inner, chosen, annotate)
    annotated = wrap_layers(annotated, outputs_only, lambda layer: annotate(layer, output_only()))
    with scopes(), whole_numbers_as_they_are():
        quantized = load().quantization.keras.quantize_apply(annotated, rounding)
    student = BridgedModel(quantized, f"{model.name}_quantized", plain=model, zeros_stay="sparsity" in kept)
    calibrate(student, probes(student, _IMAGES) if images is None else images)
    return student


def _is_part(name, wholes):
    """Whether a layer is, by its name, a part of another, such as "attention/query" of "attention"."""
    return any(name.startswith(f"{whole}/") for whole in wholes)


def float_layers(student: BridgedModel) -> list[str]:
    """The names of the layers of a quantization-aware student that compute in float.

    Args:
        student: a student from `quantize_aware`.

    Raises:
        TypeError: if the student is not quantization-aware.
    """
    check_quantization_aware(student)
    return [name for name, layer in student.get_layer("bridge").inner_layers().items() if in_float(layer)]


def _preserved(model: keras.Model, preserve: str | Iterable[str]) -> set[str]:
    preserve = {preserve} if isinstance(preserve, str) else set(preserve)
    if unknown := preserve - set(PRESERVED):
        raise ValueError(f"`preserve` supports {' and '.join(PRESERVED)}. Received: {sorted(unknown)}.")
    if "sparsity" in preserve:
        check_zeros(model, "preserve")
    if "clusters" in preserve and not any(map(_is_clustered, kernels(model))):
        raise ValueError(
            f"`preserve`: no kernel of {model.name!r} is clustered. Cluster the model first: "
            "strip(cluster(model, ...)) after training."
        )
    return preserve


def _is_clustered(kernel):
    different = len(np.unique(kernel))
    return different <= _MOST_CLUSTERS and different < kernel.numpy().size


def _scheme(scheme: Any, preserve: set[str]) -> Any:
    """A scheme of tfmot."""
    quantization = load().quantization.keras
    if isinstance(scheme, quantization.QuantizeScheme):
        if "clusters" in preserve:
            raise ValueError(
                "`preserve`: a custom `scheme` must preserve clusters itself. Leave out 'clusters'."
            )
        return scheme
    if scheme not in SCHEMES:
        raise ValueError(
            f"`scheme` must be one of {', '.join(SCHEMES)} or a QuantizeScheme of tfmot. Received: "
            f"{scheme!r}."
        )
    if "clusters" in preserve and scheme != "int8":
        raise ValueError(f"`preserve`: clusters need scheme='int8'. Received: {scheme!r}.")
    if "clusters" in preserve:
        made = _cluster_preserving()
    else:
        made = quantization.default_8bit.Default8BitQuantizeScheme(scheme == "int8_per_tensor")
        round_embeddings(made)
    keep_to_scheme(made)
    return made


def _cluster_preserving():
    from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.cluster_preserve import (
        default_8bit_cluster_preserve_quantize_scheme as preserving,
    )

    # The bridge keeps zeros, for all kernels.
    return preserving.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=False)


def _check_called_once(inner, chosen):
    shared = [
        layer.name for layer in inner.layers if layer.name in chosen and len(inbound_nodes(layer)) > 1
    ]
    if shared:
        # For a layer that was split, the user knows only its own name.
        known = ", ".join(name for name in shared if not _is_part(name, set(shared)))
        raise ValueError(
            "`model`: these layers are called several times, but tfmot can only quantize a layer that is "
            f"called once: {known}. Use a separate layer for each call, or leave them out of `layers`."
        )
