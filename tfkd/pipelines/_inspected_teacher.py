"""What can be made of a teacher: findings about students, compression, recipes and their time."""

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
# What students at half the width can begin with.
INHERITED, AFRESH = "inherited", "afresh"
_BLACK_BOX = "refused: a black box has no layers"
# Pixels of a timed batch at most, and images at least.
_PIXELS, _LEAST_IMAGES, _TIMED_STEPS = 1_000_000, 4, 3


def thinning_of(teacher: keras.Model) -> Finding:
    """What `--student=0.5x` can begin with: INHERITED weights, AFRESH, or None where it is refused."""
    if isinstance(teacher, BlackBoxTeacher):
        return Finding(_BLACK_BOX, None)
    try:
        student = students.scale_width(teacher, _FACTOR)
    except (TypeError, ValueError) as error:
        return Finding(f"refused: {error}", None)
    text = f"half its width has {student.count_params():,} parameters (--student={_FACTOR:g}x)"
    try:
        students.scale_width(teacher, _FACTOR, inherit=True)
    except (TypeError, ValueError) as error:
        return Finding(f"{text}; not with its weights (--inherit): {error}", AFRESH)
    return Finding(f"{text}, and can begin with its weights (--inherit)", INHERITED)


def pruning_of(teacher: keras.Model) -> Finding:
    """Which layers can be pruned, and which cannot."""

    def able(layer, registry):
        return bool(prunable_weights(layer))

    return _of_layers(teacher, able, "pruned", "tfkd-compress --prune")


def quantization_of(teacher: keras.Model) -> Finding:
    """Which layers can be trained in 8 bits, and which stay in float."""

    def able(layer, registry):
        return is_quantizable(layer, registry)

    return _of_layers(teacher, able, "trained in 8 bits", "tfkd-compress --quantize")


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
    """What a student of this teacher is taught by, why, and what is left out for it."""
    recipe, reason = choose_recipe(teacher, inherits)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recipe.for_teacher(teacher, task_of(teacher))
    text = f"{recipe.name}, {recipe.epochs} epochs of {recipe.steps_per_epoch} steps. {reason}"
    left_out = [f"{str(each.message).rstrip('.')}." for each in caught]
    return Finding(" ".join([text, *left_out]), recipe.name)


def time_of(teacher: keras.Model) -> Finding:
    """Roughly how long the default recipe takes, by some updates of a student at half the width."""
    if takes_texts(teacher):
        return not_known("it depends on how long texts are")
    if isinstance(teacher, BlackBoxTeacher):
        return not_known("a black box has no student of half its width; it depends on the one you give")
    recipe, student = choose_recipe(teacher).recipe, students.scale_width(teacher, _FACTOR)
    pixels = math.prod(teacher.input_shape[1:])
    images = probes(teacher, max(_LEAST_IMAGES, min(recipe.batch_size, _PIXELS // pixels)))
    seconds = _seconds_of_update(teacher, student, images) * recipe.batch_size / len(images)
    updates = recipe.student_updates(recipe.epochs * recipe.steps_per_epoch)
    return Finding(
        f"roughly {_in_words(seconds * updates)} for {updates:,} updates on batches of {recipe.batch_size}"
        f", by {_TIMED_STEPS} updates of a student at {_FACTOR:g}x",
        {"seconds": seconds * updates, "updates": updates},
    )


def _in_words(seconds):
    """A rough time: in seconds, minutes or hours, two digits of it."""
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"{float(f'{seconds / size:.2g}'):g} {unit}"
    return f"{seconds:.2g} seconds"


def _seconds_of_update(teacher, student, images):
    """Seconds of one update: the teacher's answers, the student's, and its gradients."""
    optimizer = keras.optimizers.SGD(1e-3)
    # What is made in a first step would have it traced twice.
    optimizer.build(student.trainable_variables)

    @tf.function(autograph=False)
    def update(x):
        answers = teacher(x, training=False)
        with tf.GradientTape() as tape:
            # Which loss it is takes no time that would count.
            loss = tf.reduce_mean((answers - student(x, training=True)) ** 2)
        optimizer.apply(tape.gradient(loss, student.trainable_variables), student.trainable_variables)

    x = tf.constant(images)
    update(x)
    seconds = []
    for _ in range(_TIMED_STEPS):
        begin = time.perf_counter()
        update(x)
        seconds.append(time.perf_counter() - begin)
    # Whatever else the machine does only makes them longer.
    return min(seconds)
