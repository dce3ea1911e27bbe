"""Students that learn with the rounding of 8-bit arithmetic in their way."""

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
    """A student that computes with weights and activations rounded to 8 bits, and learns to.

    `tfkd.export.export_tflite(student, path, "int8")` writes it with the ranges that it learned. Right
    after this call it is what quantization after training would give.

    Args:
        model: a functional or built Sequential Keras 3 model; it stays as it is.
        layers: names ("block/conv" in nested models) of those to quantize; None for all that tfmot can.
            The others stay in float; `float_layers(student)` lists them. A separable convolution is
            quantized as two convolutions, which it is in a TFLite file, too; of an attention among tokens
            the projections are quantized, and what it computes between them stays in float.
        scheme: "int8" (kernels of convolutions with a scale for each channel), "int8_per_tensor" or a
            `QuantizeScheme` of tfmot.
        preserve: what stays as it is in a model that was pruned or clustered and stripped: "sparsity"
            (zeros), "clusters" (few values a kernel), or both.
        images: inputs that the ranges of activations begin with, for instance
            `distiller.synthesize(256)`, in the structure of the model's inputs, such as what a
            `tfkd.text.Tokenizer` returns; None for images of the procedural generators.
        freeze_batch_norm: whether batch normalizations keep their statistics, scales and offsets, as
            frozen ones do in Keras. A network that is near its goal learns better so in a short training,
            above all on synthesized inputs, whose statistics are not quite those of real ones.

    Returns:
        A Keras 3 model to be compiled and trained like any other.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: for unknown options, layers that do not exist, cannot be quantized or are called
            several times, nothing to preserve, or a model that is subclassed, wrapped already or has
            layers without a counterpart in tf_keras.

    Example:
        >>> student = tfkd.compression.quantize_aware(model)
        >>> distiller = tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.Procedural())

    Reference:
        Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
        Inference", 2018, as tfmot has it. Deviations: ranges begin with those of `images`, not with -6 and
        6, which moving averages of 0.999 take thousands of updates to leave; zeros are kept by a mask that
        is saved, so that a loaded student keeps them too; kernels of layers that a `ReLU` layer follows at
        once are rounded, too, and those before a `Concatenate` as a scheme given by name says (a
        `QuantizeScheme` is taken as it is); tables of embeddings are rounded, which tfmot leaves in float
        (and so does `preserve="clusters"`).
    """
    kept = _preserved(model, preserve)
    rounding = _scheme(scheme, kept)
    # tfmot rounds to 8 bits in float32 alone.
    with in_float32(model) as model:
        return _quantized(model, layers, rounding, kept, images, freeze_batch_norm)


def quantization_registry() -> Any:
    """What tfmot's 8-bit scheme, as it is used here, knows of layers."""
    return _scheme("int8", set()).get_quantize_registry()


def _quantized(model, layers, rounding, kept, images, freeze_batch_norm):
    """The student, of a model in float32."""
    inner = rebuilt(model)
    for layer in inner.layers:
        if freeze_batch_norm and is_batch_norm(layer):
            layer.trainable = False
    if images is None and (len(model.inputs) > 1 or len(model.input_shape) not in (3, 4)):
        raise ValueError(
            f"`images` is needed: {model.name!r} takes no images that the procedural generators could make."
        )
    registry = rounding.get_quantize_registry()

    def able(layer):
        return is_quantizable(layer, registry)

    chosen = chosen_layers(inner, layers, able, "quantized")
    # Whoever names a separable convolution or an attention means all of its parts.
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
    """Whether a layer is a part of one of others by name, such as "attention/query" of "attention"."""
    return any(name.startswith(f"{whole}/") for whole in wholes)


def float_layers(student: BridgedModel) -> list[str]:
    """The names of those layers of a quantization-aware student that compute in float.

    Args:
        student: what `quantize_aware` made.

    Raises:
        TypeError: if `student` is something else.
    """
    check_quantization_aware(student)
    return [name for name, layer in student.get_layer("bridge").inner_layers().items() if in_float(layer)]


def _preserved(model: keras.Model, preserve: str | Iterable[str]) -> set[str]:
    preserve = {preserve} if isinstance(preserve, str) else set(preserve)
    if unknown := preserve - set(PRESERVED):
        raise ValueError(f"`preserve` knows {' and '.join(PRESERVED)}. Received: {sorted(unknown)}.")
    if "sparsity" in preserve:
        check_zeros(model, "preserve")
    if "clusters" in preserve and not any(map(_is_clustered, kernels(model))):
        raise ValueError(
            f"`preserve`: no kernel of {model.name!r} has few different values. Cluster it first: "
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
            raise ValueError("`preserve`: a scheme of your own has to keep clusters itself.")
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

    # Zeros are kept by the bridge, for all kernels alike.
    return preserving.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=False)


def _check_called_once(inner, chosen):
    shared = [
        layer.name for layer in inner.layers if layer.name in chosen and len(inbound_nodes(layer)) > 1
    ]
    if shared:
        # Of a layer that was taken apart the user knows one name.
        known = ", ".join(name for name in shared if not _is_part(name, set(shared)))
        raise ValueError(
            "`model`: these layers are called several times, and tfmot can only quantize a layer that is "
            f"called once: {known}. Give each call a layer of its own, or leave them out by `layers`."
        )
