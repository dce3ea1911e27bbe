"""TFLite files from Keras models: float, half, dynamic range, full integer, of few bits and sparse."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import tree

from tfkd._core import files, progress
from tfkd._core.asking import answers
from tfkd._core.precision import in_float32
from tfkd._core.runtimes import require_litert
from tfkd.compression import BridgedModel, is_quantization_aware, sparsity, strip
from tfkd.compression._reconstruction import Learning
from tfkd.export._conversion import CALIBRATED, convert
from tfkd.export._examples import Inputs, as_inputs, as_pair
from tfkd.export._inputs import inputs_for, length_of, most_compared, ranks_of
from tfkd.export._low_bits import require_quantizer
from tfkd.export._metadata import description, limits, with_metadata
from tfkd.export._requirements import (
    check_interface,
    check_options,
    check_result,
    check_rounding,
    check_task,
    check_vocabulary,
    check_weights,
    chosen_quantization,
    warn_of_rounded_texts,
)
from tfkd.export._rounding import KERNEL_BITS, Rounded, better_rounded
from tfkd.export._signature import declared_inputs, takes_texts
from tfkd.export._subject import trained_network, with_known_sides
from tfkd.export._verification import TFLiteCheck, compared, find_reading
from tfkd.export._vocabulary import Vocabulary, described_tokens, tokens_of
from tfkd.tasks import Task, marked_task


def export_tflite(
    model: keras.Model,
    path: str | os.PathLike | None,
    quantization: str | None = None,
    representative_data: Any = None,
    interface: str = "float32",
    evaluation_data: Any = None,
    verification_data: Any = None,
    sparse: bool = False,
    min_agreement: float = 0.0,
    labels: Sequence[str] | None = None,
    input_range: tuple[float, float] = (0.0, 1.0),
    task: str | type[Task] | Task | None = None,
    image_shape: tuple[int, ...] | None = None,
    length: int | None = None,
    vocabulary: Vocabulary | None = None,
    learn_rounding: bool = False,
) -> TFLiteCheck:
    """Converts a model to a TFLite file, runs the file and compares it with the model.

    The file takes one example at a time, by a signature of the inputs' names and dtypes: `token_ids` and
    `padding_mask` of a text model, `image` of a model of one input without a name. Biases of "int8",
    "int16x8" and "w4a8" files, and of "int4" where there is `representative_data`, make up for rounded
    kernels (bias correction) where that brings the file nearer to the model. Nothing is written unless
    conversion and check succeed. A "float32" file computes what the model does: its outputs must not differ
    by more than a hundredth of their range, those of "float16" and "dynamic" files by not more than 5 and
    25 percent of their size. The model must not be used by another thread meanwhile.

    Args:
        model: a Keras model from images, texts or other inputs, one or several by name, to one output of
            any kind; a distiller, for its student; or a student of `tfkd.compression`: pruned and
            clustered ones are stripped, quantization-aware ones bring the ranges they learned. What
            computes in half precision is exported as it computes in float32.
        path: the file to write, usually ending in `.tflite`; None to check without writing.
        quantization: "float32"; "dynamic" (int8 weights, float arithmetic); "float16" (half-size
            weights); "int8" (weights, activations and arithmetic), which is all that a
            quantization-aware student can be; "int16x8" (int8 weights, activations of 16 bits); and by the
            extra `aeq` "int4" ("dynamic" with convolutions and dense layers of 4 bits), "w4a8" (the same
            weights, activations of 8 bits) and "int2" ("int4" with dense layers of 2 bits). None or "auto"
            for "int8" of a quantization-aware student, "dynamic" of a text model, else "float32".
        representative_data: inputs `(n, ...)` that "int8", "int16x8" and "w4a8" take their ranges from, and
            by which biases are corrected, as floats on the model's scale, for instance
            `distiller.synthesize(256)`, or as the integers that it takes; a dictionary of arrays for inputs
            by name, as `tfkd.text.Tokenizer` returns texts; or a `tf.data.Dataset`,
            `keras.utils.PyDataset`, generator or generator function of such inputs, single or in batches,
            labels left aside; None for images of the procedural generators.
        interface: "float32", "int8" or "uint8" (as cameras give images), what an "int8" file takes and
            returns.
        evaluation_data: real `(inputs, labels)` to measure on as well, labels as `verify_tflite` takes
            them, or a data set of such pairs; None for none.
        verification_data: inputs on which file and model are compared, best others of the same kind;
            None for the representative ones, or, where there are none, for those of `evaluation_data` if
            they are texts, else for other procedural images.
        sparse: whether kernels of many zeros are stored without them ("float32" and "float16" only), which
            makes the file itself small; a dense file of a pruned model is small once it is zipped.
        min_agreement: how far file and model have to agree, in [0, 1], as the task has it; a file below is
            an error.
        labels: names of the classes, labels or numbers, written into the file; of a binary classifier two,
            that of the class whose probability it returns last. By TensorFlow Lite's metadata schema
            loaders of phones find them in `labels.txt` (of a single column its own name), and how pixels
            become inputs.
        input_range: the lowest and highest value of images, likewise; procedural images have it, too.
        task: what the outputs mean, as of `verify_tflite`; for a student best
            `tfkd.tasks.task_of(teacher)`.
        image_shape: of one input, `(height, width, channels)`, where the model leaves sides open.
        length: of texts in tokens, where the model takes any; shorter ones are filled up with zeros. None
            for that of the longest text in the data. A file takes as long for a short text as for a long
            one, so this should not be longer than needed.
        vocabulary: the `tfkd.text.Tokenizer`, or the tokens by id, packed into the file of a text model as
            `vocab.txt` (`tfkd.export.read_vocabulary`, or any zip program, reads it); None for none.
        learn_rounding: whether a file with learned rounding (`tfkd.compression.learn_rounding`) is tried,
            too, and taken where it is clearly nearer to the model. Takes minutes for large networks; for
            the kinds whose biases are corrected.

    Returns:
        A `TFLiteCheck` with agreement, differences, scores, sizes and latency.

    Raises:
        ImportError: if `ai_edge_litert`, or what files of few bits need, is not installed.
        TypeError: if `labels` is a single name, images are not floats, or `task` is not a task.
        ValueError: for an unknown option, a model of several outputs or of open sides, data of
            another shape than the model takes, a model that does not take images if no data are given, one
            without zeros for a sparse file, one that is quantized in part only for an interface of 8 bits,
            or a task or labels that are missing or do not fit.
        RuntimeError: if the converter refuses the model (the message names operators that it lacks) or
            dies of it, file and model agree too little, or a "float32", "float16" or "dynamic" file
            computes something else than the model.
        OSError: if the file cannot be written.

    Example:
        >>> check = tfkd.export.export_tflite(student, "student.tflite", quantization="int8",
        ...                                   representative_data=distiller.synthesize(256))
        >>> print(check.agreement, check.size_bytes)
        >>> check = tfkd.export.export_tflite(text_student, "text.tflite", vocabulary=tokenizer,
        ...                                   evaluation_data=(tokenizer(sentences, length=64), labels))

    Reference:
        Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, for
        the correction of biases, here by means over the calibration inputs; Nagel et al., "Up or Down?
        Adaptive Rounding for Post-Training Quantization", 2020, for `learn_rounding`.
    """
    require_litert()
    network = trained_network(model)
    # Stripping makes another model, which does not have the mark of this one.
    task = marked_task(network) if task is None else task
    given = _given(network, representative_data, verification_data, evaluation_data)
    texts = takes_texts(declared_inputs(network, given.example))
    quantization = chosen_quantization(quantization, network, texts)
    check_options(quantization, interface, sparse, min_agreement)
    check_rounding(learn_rounding, quantization, network, given.representative)
    require_quantizer(quantization)
    network, learned = _plain_or_learned(network, quantization)
    if texts and not learned:
        warn_of_rounded_texts(quantization, network.name)
    if vocabulary is not None and not texts:
        raise ValueError(f"`vocabulary` is that of texts, and {network.name!r} takes none. Leave it out.")
    if length is None and texts:
        length = given.length(network)
    network = with_known_sides(network, image_shape, length, given.example)
    if sparse and not sparsity(network):
        raise ValueError(
            f"`sparse`: {network.name!r} has no zeros. Prune it first (tfkd.compression.prune)."
        )
    check_weights(network)
    with in_float32(network) as network:
        ends = limits(input_range)
        calibration = None
        with progress.work("making inputs for the file"):
            if not learned and (quantization in CALIBRATED or given.representative is not None):
                calibration = inputs_for(network, given.representative, "representative_data", ends, 0)
            images = inputs_for(network, given.to_compare_on(texts), "verification_data", ends, 1)
        images = tree.map_structure(lambda array: array[: most_compared(network)], images)
        expected = answers(network, images)
        reading = find_reading(network, task, lambda: expected)
        check_task(reading, network, min_agreement)
        classes = reading.task.classes if reading else network.output_shape[-1]
        described = description(labels, None if texts else input_range, classes)
        if texts:
            check_vocabulary(vocabulary, images, network)
            described |= {"length": length_of(images), **described_tokens(vocabulary)}

        tokens = None if vocabulary is None else tokens_of(vocabulary)

        def make():
            with progress.work(f"converting {network.name!r} to TFLite, {quantization}"):
                content = convert(network, quantization, calibration, interface, sparse)
            check_interface(content, interface, network)
            return with_metadata(content, described, reading and reading.activation, tokens)

        rounded = Rounded(make())
        if calibration is not None and quantization in KERNEL_BITS:
            learning = Learning() if learn_rounding else None
            rounded = better_rounded(make, network, calibration, rounded.content, quantization, learning)
        with progress.work("comparing the file with its model"):
            check = compared(
                rounded.content,
                network,
                images,
                expected,
                reading,
                given.evaluation,
                rounded.plain,
                quantization,
                rounded.learned,
            )
        check_result(check, network, expected, min_agreement, reading)
    if path is not None:
        files.write_bytes(path, rounded.content)
    return check


class _Given(NamedTuple):
    """The data that somebody gave, streams read, not checked yet; None for what was not given."""

    representative: Inputs | None
    verification: Inputs | None
    evaluation: tuple[Inputs, Any] | None

    @property
    def example(self) -> Inputs | None:
        """Inputs of whatever purpose."""
        return next((each for each in self._inputs() if each is not None), None)

    def _inputs(self):
        return self.verification, self.representative, self.evaluation and self.evaluation[0]

    def length(self, network: keras.Model) -> int | None:
        """Tokens of the longest text, for a network of texts of any length; None for others."""
        is_open = any(None in each.shape for each in declared_inputs(network, self.example).values())
        return length_of(*self._inputs()) if is_open else None

    def to_compare_on(self, texts: bool) -> Inputs | None:
        """What file and model are compared on; real inputs where nothing can be made up."""
        if self.verification is not None or self.representative is not None or not texts:
            return self.representative if self.verification is None else self.verification
        return self.example


def _given(network, representative, verification, evaluation):
    ranks = ranks_of(network)
    named = {"representative_data": representative, "verification_data": verification}
    read: list[Any] = []
    for argument, data in named.items():
        try:
            read.append(None if data is None else as_inputs(data, ranks))
        except ValueError as error:
            raise ValueError(f"`{argument}`: {error}") from error
    return _Given(read[0], read[1], None if evaluation is None else as_pair(evaluation, ranks))


def _plain_or_learned(model, quantization):
    """The model without pruning and clustering, and whether it brings ranges that it has learned."""
    if not is_quantization_aware(model):
        return strip(model) if isinstance(model, BridgedModel) else model, False
    if quantization != "int8":
        raise ValueError(
            f"`quantization`: {model.name!r} is quantization-aware, so its file is 'int8'. Received: "
            f"{quantization!r}. Export tfkd.compression.strip(model) for other kinds."
        )
    return model, True
