"""Findings about a teacher's students, compression, recipes and their time."""

import math
import time
import warnings

import keras
import tensorflow as tf

from tfkd import students
from tfkd._core.keras_internals import inbound_nodes
from tfkd._core.layouts import probes
from tfkd._core.named_inputs import takes_texts
from tfkd.compression._pruning import prunable_weights
from tfkd.compression._quantizable import is_folded, is_quantizable
from tfkd.compression._quantizing import quantization_registry
from tfkd.compression._wrapping import rebuilt
from tfkd.datafree import choose_recipe
from tfkd.pipelines._inspection import Finding, not_known
from tfkd.tasks import task_of
from tfkd.teachers import BlackBoxTeacher

_FACTOR = 0.5
# Possible initial weights of half-width students.
INHERITED, AFRESH = "inherited", "afresh"
_BLACK_BOX = "refused: a black box has no layers"
# Maximum pixels and minimum images of a timed batch.
_PIXELS, _LEAST_IMAGES, _TIMED_STEPS = 1_000_000, 4, 3


def thinning_of(teacher: keras.Model) -> Finding:
    """Initial weights of `--student=0.5x`: INHERITED, AFRESH (new), or None if it is refused."""
    if isinstance(teacher, BlackBoxTeacher):
        return Finding(_BLACK_BOX, None)
    try:
        student = students.scale_width(teacher, _FACTOR)
    except (TypeError, ValueError) as error:
        return Finding(f"refused: {error}", None)
    text = f"a half-width student has {student.count_params():,} parameters (--student={_FACTOR:g}x)"
    try:
        students.scale_width(teacher, _FACTOR, inherit=True)
    except (TypeError, ValueError) as error:
        return Finding(f"{text}; it cannot inherit weights (--inherit): {error}", AFRESH)
    return Finding(f"{text}, and can inherit the teacher's weights (--inherit)", INHERITED)


def pruning_of(teacher: keras.Model) -> Finding:
    """Which layers can be pruned, and which cannot."""

    def able(layer, registry):
        return bool(prunable_weights(layer))

    return _of_layers(teacher, able, "pruned", "tfkd-compress --prune")


def quantization_of(teacher: keras.Model) -> Finding:
    """Which layers can be quantized in training, and which stay in float."""

    def able(layer, registry):
        return is_quantizable(layer, registry)

    return _of_layers(teacher, able, "quantized in training", "tfkd-compress --quantize")


def _of_layers(teacher, able, what, how):
    if isinstance(teacher, BlackBoxTeacher):
        return Finding(_BLACK_BOX, False)
    try:
        inner, registry = rebuilt(teacher), quantization_registry()
    except (TypeError, ValueError) as error:
        return Finding(f"refused: {error}", False)
    chosen = {layer.name for layer in inner.layers if able(layer, registry)}
    weighty = [layer for layer in inner.layers if layer.weights and not _is_normalization(layer)]
    left = [layer for layer in weighty if layer.name not in chosen and not _is_folded(layer, chosen)]
    text = f"{len(weighty) - len(left)} of {len(weighty)} layers with weights can be {what} ({how})"
    if left:
        text += f"; not {', '.join(f'{each.name} ({type(each).__name__})' for each in left)}"
    return Finding(text, {"able": sorted(chosen), "not": [each.name for each in left]})


def _is_normalization(layer):
    return type(layer).__name__.endswith("Normalization")


def _is_folded(layer, chosen):
    return len(inbound_nodes(layer)) == 1 and is_folded(layer, chosen)


def recipe_of(teacher: keras.Model, inherits: bool) -> Finding:
    """The recipe for a student of this teacher, the reason for it, and what it leaves out."""
    recipe, reason = choose_recipe(teacher, inherits)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recipe.for_teacher(teacher, task_of(teacher))
    text = f"{recipe.name}, {recipe.epochs} epochs of {recipe.steps_per_epoch} steps. {reason}"
    left_out = [f"{str(each.message).rstrip('.')}." for each in caught]
    return Finding(" ".join([text, *left_out]), recipe.name)


def time_of(teacher: keras.Model) -> Finding:
    """A rough time for the default recipe, from a few updates of a half-width student."""
    if takes_texts(teacher):
        return not_known("it depends on the length of the texts")
    if isinstance(teacher, BlackBoxTeacher):
        return not_known("a black box has no half-width student; it depends on the student you give")
    recipe, student = choose_recipe(teacher).recipe, students.scale_width(teacher, _FACTOR)
    pixels = math.prod(teacher.input_shape[1:])
    images = probes(teacher, max(_LEAST_IMAGES, min(recipe.batch_size, _PIXELS // pixels)))
    seconds = _seconds_of_update(teacher, student, images) * recipe.batch_size / len(images)
    updates = recipe.student_updates(recipe.epochs * recipe.steps_per_epoch)
    return Finding(
        f"roughly {_in_words(seconds * updates)} for {updates:,} updates on batches of "
        f"{recipe.batch_size}, estimated from {_TIMED_STEPS} updates of a student at {_FACTOR:g}x",
        {"seconds": seconds * updates, "updates": updates},
    )


def _in_words(seconds):
    """A rough time in seconds, minutes or hours, to two digits."""
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"{float(f'{seconds / size:.2g}'):g} {unit}"
    return f"{seconds:.2g} seconds"


def _seconds_of_update(teacher, student, images):
    """Seconds of one update: forward passes of teacher and student, and the student's gradients."""
    optimizer = keras.optimizers.SGD(1e-3)
    # Variables created in a first step would cause retracing.
    optimizer.build(student.trainable_variables)

    @tf.function(autograph=False)
    def update(x):
        answers = teacher(x, training=False)
        with tf.GradientTape() as tape:
            # The choice of loss makes no measurable difference.
            loss = tf.reduce_mean((answers - student(x, training=True)) ** 2)
        optimizer.apply(tape.gradient(loss, student.trainable_variables), student.trainable_variables)

    x = tf.constant(images)
    update(x)
    seconds = []
    for _ in range(_TIMED_STEPS):
        begin = time.perf_counter()
        update(x)
        seconds.append(time.perf_counter() - begin)
    # Other load on the machine only makes it slower.
    return min(seconds)
