"""TFLite files from Keras models: float32, float16, dynamic range, full integer, low-bit and sparse."""

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

    The file takes one example at a time. Its signature holds the names and dtypes of the inputs:
    `token_ids` and `padding_mask` for a text model, `image` for a model with one unnamed input. In "int8",
    "int16x8" and "w4a8" files, and in "int4" files with `representative_data`, biases are corrected for
    the rounding of kernels if this brings the file closer to the model. Nothing is written unless
    conversion and check succeed. The outputs of a "float32" file must not differ from the model's by more
    than 1 percent of their range; the outputs of "float16" and "dynamic" files by at most 5 and 25 percent
    of their size. No other thread must use the model during the export.

    Args:
        model: a Keras model with one output of any kind, which takes images, texts or other inputs, one or
            several by name; a distiller, whose student is exported; or a student of `tfkd.compression`.
            Pruned and clustered students are stripped first; quantization-aware students use the ranges
            that they learned. Layers that compute in half precision are exported in float32.
        path: the file to write, usually ending in `.tflite`; None to check without writing.
        quantization: "float32"; "dynamic" (int8 weights, float arithmetic); "float16" (half-size
            weights); "int8" (weights, activations and arithmetic), the only choice for a
            quantization-aware student; "int16x8" (int8 weights, 16-bit activations); and, with the extra
            `aeq`, "int4" ("dynamic" with 4-bit convolutions and dense layers), "w4a8" (the same weights,
            8-bit activations) and "int2" ("int4" with 2-bit dense layers). None or "auto" selects "int8"
            for a quantization-aware student, "dynamic" for a text model, and "float32" otherwise.
        representative_data: inputs `(n, ...)` for the calibration of "int8", "int16x8" and "w4a8" files
            and for the correction of biases: floats on the model's scale, for instance
            `distiller.synthesize(256)`, or integers if the model takes them; a dictionary of arrays for
            named inputs, such as texts from `tfkd.text.Tokenizer`; or a `tf.data.Dataset`,
            `keras.utils.PyDataset`, generator or generator function of such inputs, single or in batches,
            whose labels are ignored. None for images from the procedural generators.
        interface: the dtype of the inputs and outputs of an "int8" file: "float32", "int8" or "uint8" (the
            format of camera images).
        evaluation_data: real `(inputs, labels)` for a further measurement, with labels as in
            `verify_tflite`, or a data set of such pairs; None for none.
        verification_data: inputs for the comparison of the file and the model, preferably not those used
            for calibration. None for the representative inputs; without these, for the texts of
            `evaluation_data` or for other procedural images.
        sparse: whether kernels with many zeros are stored in sparse form ("float32" and "float16" only),
            which makes the file itself small; a dense file of a pruned model is small only when zipped.
        min_agreement: the lowest allowed agreement of the file and the model, in [0, 1], as the task
            defines it; a lower one is an error.
        labels: names of the classes, labels or numbers, which are written into the file. A binary
            classifier has two, last the class whose probability it returns. By TensorFlow Lite's metadata
            schema, mobile libraries find them in `labels.txt` (a single column has its own name only),
            together with the scaling of pixels.
        input_range: the lowest and highest value of images, also written into the file; procedural images
            have this range, too.
        task: the task of the model, as in `verify_tflite`; for a student preferably
            `tfkd.tasks.task_of(teacher)`.
        image_shape: the shape of one input, `(height, width, channels)`, if the model does not fix it.
        length: the length of texts in tokens, if the model does not fix it; shorter texts are padded with
            zeros. None for the length of the longest text in the data. A file takes as long for a short
            text as for a long one, so this should not be longer than needed.
        vocabulary: the `tfkd.text.Tokenizer`, or a list of tokens by id, packed into the file of a text
            model as `vocab.txt` (read it with `tfkd.export.read_vocabulary` or any zip program); None for
            none.
        learn_rounding: whether to also try a file with learned rounding (`tfkd.compression.learn_rounding`)
            and use it if it is clearly closer to the model. Only for the kinds of files whose biases are
            corrected. Takes minutes for large networks.

    Returns:
        A `TFLiteCheck` with agreement, differences, scores, sizes and latency.

    Raises:
        ImportError: if `ai_edge_litert`, or a package that low-bit files need, is not installed.
        TypeError: if `labels` is a single name, images are not floats, or `task` is not a task.
        ValueError: for an unknown option; a model with several outputs or unknown input sizes; data whose
            shape does not match the model; a model that does not take images, without any data; a sparse
            file of a model without zeros; an 8-bit interface for a partly quantized model; or a task or
            labels that are missing or do not fit.
        RuntimeError: if the converter rejects the model (the message names unsupported operators) or
            crashes, the file and the model agree too little, or a "float32", "float16" or "dynamic" file
            does not compute the same as the model.
        OSError: if the file cannot be written.

    Example:
        >>> check = tfkd.export.export_tflite(student, "student.tflite", quantization="int8",
        ...                                   representative_data=distiller.synthesize(256))
        >>> print(check.agreement, check.size_bytes)
        >>> check = tfkd.export.export_tflite(text_student, "text.tflite", vocabulary=tokenizer,
        ...                                   evaluation_data=(tokenizer(sentences, length=64), labels))

    Reference:
        Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, for
        bias correction, here with means over the calibration inputs; Nagel et al., "Up or Down?
        Adaptive Rounding for Post-Training Quantization", 2020, for `learn_rounding`.
    """
    require_litert()
    network = trained_network(model)
    # Stripping makes another model, which does not have this model's task mark.
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
        raise ValueError(
            f"`vocabulary` is for text models, but {network.name!r} takes no texts. Leave it out."
        )
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
        with progress.work("comparing the file with the model"):
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
    """The data of an export, with streams read but not checked yet; None for data not passed."""

    representative: Inputs | None
    verification: Inputs | None
    evaluation: tuple[Inputs, Any] | None

    @property
    def example(self) -> Inputs | None:
        """Any of the inputs; None if there are none."""
        return next((each for each in self._inputs() if each is not None), None)

    def _inputs(self):
        return self.verification, self.representative, self.evaluation and self.evaluation[0]

    def length(self, network: keras.Model) -> int | None:
        """Tokens of the longest text, for a network that takes texts of any length; None for others."""
        is_open = any(None in each.shape for each in declared_inputs(network, self.example).values())
        return length_of(*self._inputs()) if is_open else None

    def to_compare_on(self, texts: bool) -> Inputs | None:
        """Inputs for the comparison of the file and the model; real ones if none can be generated."""
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
    """The model without pruning and clustering, and whether it is quantization-aware."""
    if not is_quantization_aware(model):
        return strip(model) if isinstance(model, BridgedModel) else model, False
    if quantization != "int8":
        raise ValueError(
            f"`quantization` must be 'int8', since {model.name!r} is quantization-aware. Received: "
            f"{quantization!r}. Export tfkd.compression.strip(model) for other kinds of files."
        )
    return model, True
