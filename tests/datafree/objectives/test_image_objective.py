import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import CLASSES, blobs, small_network
from tfkd import datafree
from tfkd.datafree import _views as views
from tfkd.datafree import objectives
from tfkd.datafree.objectives._forward_differences import ForwardDifferences
from tfkd.datafree.objectives._image_objective import ImageObjective
from tfkd.datafree.sources import Lesson
from tfkd.tasks import Classification

pytestmark = pytest.mark.slow

TERMS = (
    objectives.OneHot(0.5),
    objectives.ClassBalance(3.0),
    objectives.BatchStatistics(0.3, momentum=0.5),
    objectives.Adversarial(0.7, "kl", only_where_agreeing=True),
    objectives.TotalVariation(0.01),
    objectives.ContrastiveInversion(0.5, remembered=16, compared=4, dimension=6),
    objectives.Activation(0.1),
)
IMAGES = tf.constant(blobs(16, 5)[0])
TARGETS = np.arange(16, dtype="int32") % CLASSES


def lesson(teacher, student, seed=0):
    task = Classification(teacher.output_shape[1:])
    return Lesson(teacher, student, task, keras.random.SeedGenerator(seed))


def objective(teacher, student, terms=TERMS, seed=0, **options):
    keras.utils.set_random_seed(4)
    return ImageObjective(lesson(teacher, student, seed), terms, 16, **options)


def test_a_batch_in_parts_gives_the_gradients_of_the_whole(teacher, student):
    """Batch statistics, balance and contrast included."""
    options = {"view": views.Shift(1), "second_view": views.ResizedCrop()}
    whole = objective(teacher, student, **options)
    parts = objective(teacher, student, microbatches=4, **options)
    expected = whole.value_and_gradients(IMAGES, TARGETS)
    ours = tf.function(parts.value_and_gradients, autograph=False)(IMAGES, TARGETS)
    np.testing.assert_allclose(ours[0], expected[0], rtol=1e-5)
    assert np.abs(expected[1]).max() > 1e-4
    np.testing.assert_allclose(ours[1], expected[1], rtol=1e-3, atol=1e-6)
    assert len(expected[2]) == 4
    for gradient, other in zip(expected[2], ours[2], strict=True):
        np.testing.assert_allclose(other, gradient, rtol=1e-3, atol=1e-6)


def test_gradient_against_differences(teacher, student):
    terms = TERMS[:3] + TERMS[4:5]
    judged = objective(teacher, student, terms)
    _, slope, _ = judged.value_and_gradients(IMAGES, TARGETS)
    direction = np.random.default_rng(0).normal(size=IMAGES.shape).astype("float32")
    up, down = (judged.value_and_gradients(IMAGES + h * direction, TARGETS)[0] for h in (2e-4, -2e-4))
    np.testing.assert_allclose((slope * direction).numpy().sum(), (up - down) / 4e-4, rtol=3e-2)


def test_the_adversary_can_be_left_out(teacher, student):
    term = (objectives.Adversarial(1.0), objectives.OneHot(1.0))
    judged = objective(teacher, student, term)
    with_it, without = (
        judged.value_and_gradients(IMAGES, TARGETS, adversarial_weight=a)[0] for a in (1.0, 0.0)
    )
    np.testing.assert_allclose(without, objectives.one_hot(teacher(IMAGES), TARGETS), rtol=1e-5)
    assert float(with_it) != pytest.approx(float(without))


def test_the_teacher_is_left_alone(teacher, student):
    before = [w.numpy() for network in (teacher, student) for w in network.weights]
    objective(teacher, student, second_view=views.ResizedCrop()).value_and_gradients(IMAGES, TARGETS)
    after = [w.numpy() for network in (teacher, student) for w in network.weights]
    for kept, weight in zip(before, after, strict=True):
        np.testing.assert_array_equal(kept, weight)


def plain_network(name):
    """No normalization of any kind."""
    return keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(CLASSES),
        ],
        name=name,
    )


def test_teachers_without_normalization():
    networks = plain_network("plain"), plain_network("other")
    with pytest.warns(datafree.ObjectiveWarning, match="BatchStatistics is left out for teacher 'plain'"):
        judged = objective(*networks, TERMS, second_view=views.ResizedCrop())
    # Contrast describes images by other layers then.
    assert [type(term) for term in judged.objectives] == [type(t) for t in TERMS if t is not TERMS[2]]
    total, slope, _ = judged.value_and_gradients(IMAGES, TARGETS)
    assert np.isfinite(total) and np.abs(slope).max() > 0
    terms = (objectives.BatchStatistics(), objectives.TotalVariation())
    with (
        pytest.warns(datafree.ObjectiveWarning),
        pytest.raises(ValueError, match="no batch normalization, so there are no statistics"),
    ):
        objective(*networks, terms)


def test_contrast_remembers_images_and_tells_them_apart(teacher, student):
    term = objectives.ContrastiveInversion(remembered=16, compared=4, dimension=6, learning_rate=0.03)
    judged = objective(teacher, student, (term,), second_view=views.ResizedCrop(0.8, flip=False))
    (state,) = judged.states
    # Of very different brightness, which any description shows.
    images = IMAGES * np.geomspace(0.1, 10, 16, dtype="float32")[:, None, None, None]
    first, _, _ = judged.value_and_gradients(images)
    assert state.written.numpy() == 0
    for _ in range(60):
        total, _, gradients = judged.value_and_gradients(images)
        judged.learn(gradients)
    assert float(total) < float(first) - 0.2
    judged.finish()
    assert state.written.numpy() == 16
    np.testing.assert_array_equal(state.bank, state.latest)
    # One more term: those remembered are to be told apart, too.
    again, _, _ = judged.value_and_gradients(images)
    assert float(again) > float(total) + 0.2


def test_contrast_knows_directions_only(teacher, student):
    """Projections have length 1, and of an earlier image no copy stands against it."""
    term = objectives.ContrastiveInversion(remembered=16, compared=100, dimension=6)
    (state,) = objective(teacher, student, (term,), second_view=views.ResizedCrop()).states
    rng = np.random.default_rng(0)
    local, others = (tf.constant(rng.normal(0, 10, (16, 8)).astype("float32")) for _ in range(2))
    first = float(state.loss(local, others))
    kernel = state.project.trainable_variables[2]
    kernel.assign(1000 * kernel)
    assert float(state.loss(local, others)) == pytest.approx(first, rel=1e-3)
    assert first < np.log(16) + 20
    state.remember()
    chosen, known = state._earlier()
    assert int(tf.reduce_sum(tf.cast(known, "int32"))) == 16 == len(np.unique(chosen.numpy(), axis=0))


def test_descriptions_go_round_where_the_batch_does_not_divide_them(teacher, student):
    """CMI's bank is written past its end where it is no multiple of the batch."""
    term = objectives.ContrastiveInversion(remembered=20, compared=8, dimension=6)
    (state,) = objective(teacher, student, (term,), second_view=views.ResizedCrop()).states
    rng = np.random.default_rng(0)
    batches = rng.normal(size=(2, 16, 8)).astype("float32")
    for batch in batches:
        state.loss(tf.constant(batch), tf.constant(batch))
        state.remember()
    expected = np.concatenate([batches[1][4:], batches[0][12:], batches[1][:4]])
    np.testing.assert_allclose(state.bank[:, :8], expected, rtol=1e-5)


def test_gradients_survive_half_precision(student):
    """Statistics by their mean square have gradients that float16 has no numbers for."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = small_network(8)
    finally:
        keras.config.set_dtype_policy("float32")
    whole = small_network(8)
    whole.set_weights(half.get_weights())
    term = (objectives.BatchStatistics(0.1, "mse"),)
    slopes = [
        objective(teacher, student, term).value_and_gradients(IMAGES)[1].numpy()
        for teacher in (half, whole)
    ]
    cosine = np.sum(slopes[0] * slopes[1]) / np.linalg.norm(slopes[0]) / np.linalg.norm(slopes[1])
    assert cosine > 0.95


def test_forward_differences_estimate_the_gradient():
    """The mean over many directions is the gradient of a distance that is smooth."""
    teacher, student = (
        keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(CLASSES)])
        for _ in range(2)
    )
    term = objectives.Adversarial(2.0, "kl")
    raw = tf.constant(np.random.default_rng(0).normal(size=(3, 4, 4, 1)).astype("float32"))
    differences = ForwardDifferences(lesson(teacher, student), term, keras.ops.sigmoid, 1e-2, 150)
    total, slope, _ = differences.value_and_gradients(raw)
    with tf.GradientTape() as tape:
        tape.watch(raw)
        images = keras.ops.sigmoid(raw)
        expected = 2.0 * objectives.adversarial(teacher(images), student(images), "kl")
    gradient = tape.gradient(expected, raw).numpy()
    np.testing.assert_allclose(total, expected, rtol=1e-4)
    cosine = (slope * gradient).numpy().sum() / np.linalg.norm(slope) / np.linalg.norm(gradient)
    assert cosine > 0.85
    # Noise adds to the length, a little where directions are many.
    assert np.linalg.norm(slope) == pytest.approx(np.linalg.norm(gradient), rel=0.3)


def test_forward_differences_count_the_values_of_an_image():
    """One channel and another size than 32: the published code has 3 * 32 * 32 whatever the images."""
    networks = [
        keras.Sequential([keras.Input((3, 5, 1)), keras.layers.Flatten(), keras.layers.Dense(CLASSES)])
        for _ in range(2)
    ]
    raw = tf.constant(np.random.default_rng(0).normal(size=(400, 3, 5, 1)).astype("float32"))
    term = objectives.Adversarial(1.0, "kl")
    differences = ForwardDifferences(lesson(*networks), term, keras.ops.sigmoid, 1e-2, 1)
    with tf.GradientTape() as tape:
        tape.watch(raw)
        images = keras.ops.sigmoid(raw)
        value = objectives.adversarial(*(network(images) for network in networks), "kl")
    gradient = tape.gradient(value, raw).numpy()
    # One direction each: right on average over many images.
    slope = differences.value_and_gradients(raw)[1].numpy()
    assert (slope * gradient).sum() == pytest.approx((gradient**2).sum(), rel=0.3)
