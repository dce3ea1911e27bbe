"""Memory, selection, refinement and recipes, each by itself."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfkd
from tests.conftest import CLASSES, SHAPE, blobs, small_network
from tfkd import datafree, taps
from tfkd.datafree._memory import Memory
from tfkd.datafree.objectives._image_objective import ObjectiveWarning
from tfkd.datafree.objectives._moments import measure, moments, recorded, stored_statistics
from tfkd.datafree.sources import Lesson
from tfkd.datafree.sources._refinement import refine
from tfkd.datafree.sources._selection import bn_statistics_distance, resample, selection_log_weights
from tfkd.tasks import Classification


def lesson(teacher, student=None, seed=0):
    task = Classification(teacher.output_shape[1:])
    return Lesson(teacher, student or teacher, task, keras.random.SeedGenerator(seed))


def numbered(*numbers):
    """Images and logits that carry their own number."""
    values = np.asarray(numbers, "float32")
    return np.tile(values[:, None, None, None], (1, 2, 2, 1)), np.tile(values[:, None], (1, 3))


@pytest.mark.parametrize("jit_compile", [None, False, True], ids=["eager", "graph", "xla"])
def test_memory_overwrites_the_oldest_and_keeps_pairs_together(jit_compile):
    memory = Memory(5, (2, 2, 1), 3)
    add = memory.add
    if jit_compile is not None:
        add = tf.function(memory.add, jit_compile=jit_compile)
    add(*numbered(1, 2, 3))
    assert int(memory.size) == 3
    add(*numbered(4, 5, 6))
    assert int(memory.size) == 5
    np.testing.assert_array_equal(memory.logits[:, 0], [6, 2, 3, 4, 5])
    images, logits = memory.draw(200, keras.random.SeedGenerator(0))
    np.testing.assert_array_equal(images[:, 0, 0, 0], logits[:, 0])
    assert set(np.unique(logits)) == {2, 3, 4, 5, 6}


def test_memory_draws_only_what_was_added():
    memory = Memory(100, (2, 2, 1), 3)
    memory.add(*numbered(7, 8))
    _, logits = memory.draw(100, keras.random.SeedGenerator(0))
    assert set(np.unique(logits)) == {7, 8}
    with pytest.raises(ValueError, match="capacity"):
        Memory(0, (2, 2, 1), 3)


def test_memory_in_fewer_bits_rounds_and_does_not_distort():
    """Published codes write 8-bit files, cut off or stretch what leaves [0, 1], and read them again."""
    given = np.random.default_rng(0).uniform(-0.2, 1.2, (50, 2, 2, 1)).astype("float32")
    for pixels, within, kept in (
        ("uint8", 0.5 / 255, np.clip(given, 0, 1)),
        ("float16", 5e-4, given),
        ("float32", 0, given),
    ):
        memory = Memory(50, (2, 2, 1), 1, pixels)
        memory.add(given, np.arange(50, dtype="float32")[:, None])
        images, logits = memory.draw(200, keras.random.SeedGenerator(0))
        drawn = np.asarray(logits[:, 0], int)
        np.testing.assert_allclose(images, kept[drawn], atol=within + 1e-6)


def test_selection_balances_classes():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 900, p=[0.9, 0.08, 0.02])
    logits = np.eye(3, dtype="float32")[labels] * 9
    kept = resample(
        selection_log_weights(Classification((logits.shape[-1],)), logits),
        30,
        keras.random.SeedGenerator(0),
    ).numpy()
    assert len(set(kept)) == 30
    counts = np.bincount(labels[kept], minlength=3)
    assert counts.min() >= 4
    uneven = resample(
        selection_log_weights(Classification((logits.shape[-1],)), logits, balance=0.0),
        30,
        keras.random.SeedGenerator(0),
    )
    assert np.bincount(labels[uneven], minlength=3).max() >= 22


def test_selection_prefers_disagreement():
    teacher = np.zeros((400, 4), "float32")
    teacher[:, 0] = 3
    student = teacher.copy()
    student[:100] = student[:100, ::-1]
    weights = selection_log_weights(Classification((4,)), teacher, student, disagreement=1.0)
    kept = resample(weights, 100, keras.random.SeedGenerator(0)).numpy()
    assert np.mean(kept < 100) > 0.9


def test_distance_is_measured_in_deviations_of_each_channel_and_leaves_dead_ones_out():
    rng = np.random.default_rng(0)
    values = rng.normal(3, 2, (5, 4, 4, 3)).astype("float32")
    mean, variance = np.array([2.0, 4.0, 0.0]), np.array([4.0, 1.0, 1e-8])
    means, deviations = values.mean((1, 2)), values.std((1, 2), ddof=1)
    squares = ((means - mean) ** 2 + (deviations - np.sqrt(variance)) ** 2) / variance
    expected = squares[:, :2].mean(1)
    seen = moments(values, mean, variance)
    np.testing.assert_allclose(bn_statistics_distance([seen]), expected, rtol=1e-4)
    other = moments(values, mean, 4 * variance)
    both = (expected + np.asarray(bn_statistics_distance([other]))) / 2
    np.testing.assert_allclose(bn_statistics_distance([seen, other]), both, rtol=1e-5)


def test_selection_prefers_typical_candidates_and_balances_those():
    distances = np.repeat(np.float32([0.1, 0.6]), 300)
    labels = np.concatenate([np.repeat([0, 1], [270, 30]), np.ones(300, int)])
    logits = np.eye(2, dtype="float32")[labels]
    weights = selection_log_weights(
        Classification((logits.shape[-1],)), logits, distances=distances, statistics_weight=20.0
    )
    kept = resample(weights, 40, keras.random.SeedGenerator(0)).numpy()
    assert np.mean(kept < 300) > 0.95
    # Among typical ones class 1 is rare, however common it is elsewhere.
    assert 12 <= labels[kept].sum() <= 28


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_a_prior_is_chosen_from_by_the_teachers_statistics(teacher, graph):
    """The share of chosen images with low misfit rises, and their logits stay theirs."""

    def made(weight):
        chosen = {"candidates_per_image": 8, "statistics_weight": weight} if weight else {}
        recipe = datafree.Procedural(
            **{"candidates_per_image": 1, "refine_share": 0.0, "batch_size": 32, **chosen}
        ).with_options(**({"balance": 0.0} if weight else {}))
        source = recipe.build_source(lesson(teacher))
        draw = tf.function(source.draw) if graph else source.draw
        images, logits = draw(32)
        np.testing.assert_allclose(logits, teacher(images, training=False), atol=1e-4)
        stored = stored_statistics(teacher)
        with taps.record(teacher, stored) as record:
            teacher(images, training=False)
        return float(np.mean(bn_statistics_distance(recorded(record, stored))))

    assert made(100.0) < 0.7 * made(0.0)


@pytest.mark.parametrize("name", ["statistics_weight", "refine_statistics"])
def test_what_needs_statistics_is_left_out_where_there_are_none(teacher, name):
    recipe = datafree.Procedural(**{name: 2.0})
    task = Classification((CLASSES,))
    assert recipe.for_teacher(teacher, task) is recipe
    plain = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.warns(ObjectiveWarning, match=f"Left out for teacher '{plain.name}': `{name}`"):
        assert getattr(recipe.for_teacher(plain, Classification((2,))), name) == 0


@pytest.mark.parametrize("jit_compile", [None, False, True], ids=["eager", "graph", "xla"])
def test_refinement_reaches_the_target(teacher, jit_compile):
    images, _ = blobs(32)
    targets = np.arange(32, dtype="int32") % CLASSES
    before = np.asarray(keras.ops.softmax(teacher(images)))[np.arange(32), targets]

    taught = lesson(teacher)

    def run(x):
        return refine(taught, x, targets, steps=4, step_size=0.1)

    if jit_compile is not None:
        run = tf.function(run, jit_compile=jit_compile)
    refined = run(tf.constant(images)).numpy()
    after = np.asarray(keras.ops.softmax(teacher(refined)))[np.arange(32), targets]
    assert after.mean() > before.mean() + 0.3
    assert refined.min() >= 0 and refined.max() <= 1
    # No pixel can have changed by more than the steps' sizes allow, as a root mean square.
    assert np.sqrt(((refined - images) ** 2).mean((1, 2, 3))).max() <= 0.4 + 1e-5


def test_adversarial_refinement_leaves_the_student_behind(teacher, student):
    images = tf.constant(blobs(32)[0])
    targets = tf.constant(np.arange(32, dtype="int32") % CLASSES)

    def distance(weight):
        x = refine(lesson(teacher, student), images, targets, steps=3, adversarial=weight)
        log_t, log_s = (keras.ops.log_softmax(net(x)) for net in (teacher, student))
        return float(keras.ops.mean(keras.ops.sum(keras.ops.exp(log_t) * (log_t - log_s), -1)))

    assert distance(5.0) > distance(0.0)


@pytest.mark.parametrize("jit_compile", [None, False, True], ids=["eager", "graph", "xla"])
def test_refined_images_have_the_statistics_of_the_teacher(teacher, jit_compile):
    images = tf.constant(blobs(32)[0] ** 3)
    targets = tf.constant(np.arange(32, dtype="int32") % CLASSES)
    stored = stored_statistics(teacher)

    taught = lesson(teacher)

    def run(x, weight):
        return refine(taught, x, targets, steps=4, step_size=0.05, statistics=weight)

    def distance(x):
        """KL of normal distributions, summed over channels."""
        total = 0.0
        for tap, (seen_mean, seen_variance) in measure(teacher, x, list(stored)).items():
            mean, variance = map(np.asarray, stored[tap][:2])
            ratio = seen_variance / variance
            total += 0.5 * np.sum(ratio + (seen_mean - mean) ** 2 / variance - 1 - np.log(ratio))
        return total

    if jit_compile is not None:
        run = tf.function(run, jit_compile=jit_compile)
    free, held = (run(images, weight) for weight in (0.0, 5.0))
    assert distance(held) < 0.5 * min(distance(free), distance(images))


def test_a_recipe_says_how_images_are_refined(teacher):
    images, targets = tf.constant(blobs(8)[0]), np.arange(8, dtype="int32") % CLASSES
    options = {"refine_steps": 3, "refine_size": 0.05, "refine_adversarial": 0.5, "refine_statistics": 2.0}
    recipe = datafree.Procedural(**options)
    made = recipe.build_source(lesson(teacher)).refined(images, targets)
    expected = refine(lesson(teacher), images, targets, 3, 0.05, 0.5, 2.0)
    np.testing.assert_array_equal(made, expected)
    assert np.abs(expected - refine(lesson(teacher), images, targets, 3, 0.05, 0.5)).max() > 0.01


def test_statistics_change_nothing_for_a_teacher_without_them():
    plain = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(2)])
    images, targets = tf.constant(blobs(4)[0]), np.array([0, 1, 0, 1])
    expected = refine(lesson(plain), images, targets)
    np.testing.assert_array_equal(refine(lesson(plain), images, targets, statistics=1.0), expected)


def test_refinement_of_what_has_no_gradient_changes_nothing():
    constant = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    constant.set_weights([np.zeros_like(w) for w in constant.get_weights()])
    images = tf.constant(np.full((2, 4, 4, 1), 0.5, "float32"))
    np.testing.assert_array_equal(refine(lesson(constant), images, np.array([0, 1])), images)


def test_published_defaults():
    dafl, dfad = datafree.DAFL(), datafree.DFAD()
    assert (
        dafl.batch_size,
        dafl.latent_size,
        dafl.one_hot,
        dafl.class_balance,
        dafl.activation,
    ) == (
        512,
        100,
        1.0,
        5.0,
        0.1,
    )
    assert dafl.generator_optimizer(100).learning_rate.numpy() == pytest.approx(0.2)
    assert dafl.build_objectives()[1].base == 10.0 and dafl.norm_epsilon == 0.8
    assert (dfad.batch_size, dfad.student_steps, dfad.generator_steps) == (512, 5, 1)
    sgd = dfad.student_optimizer(100)
    assert sgd.learning_rate.numpy() == pytest.approx(0.01) and sgd.momentum == 0.9
    assert dfad.student_loss.name.startswith("l1_logits")


def test_coupled_weight_decay_is_matched_in_the_long_run():
    """Without gradients a weight shrinks as fast as under PyTorch's coupled decay."""
    variable = keras.Variable([1.0])
    optimizer = datafree.DFAD(weight_decay=0.05).student_optimizer(200)
    coupled, velocity = 1.0, 0.0
    for _ in range(200):
        optimizer.apply([keras.ops.zeros((1,))], [variable])
        velocity = 0.9 * velocity + 0.05 * coupled
        coupled -= 0.01 * velocity
    np.testing.assert_allclose(variable.numpy()[0], coupled, rtol=0.06)


def test_procedural_learning_rate_warms_up_and_decays():
    schedule = datafree.Procedural(learning_rate=0.01).student_optimizer(1000)._learning_rate
    rates = [float(schedule(step)) for step in (0, 50, 525, 1000)]
    np.testing.assert_allclose(rates, [0.0005, 0.01, 0.005, 0.0], atol=2e-4)


def test_recipes_are_values():
    recipe = datafree.DFAD(memory=1024)
    assert recipe.with_options(memory=0) != recipe
    described = recipe.describe()
    assert described["name"] == "dfad" and described["memory"] == 1024
    assert described["student_loss"]["class"] == "L1Logits"
    assert datafree.Procedural().with_options(temperature=9.0).describe()["temperature"] == 9.0
    assert dataclasses.replace(datafree.Procedural(), epochs=3).epochs == 3
    own = datafree.Procedural(student_loss=datafree.DFAD().student_loss)
    assert own.describe()["student_loss"]["class"] == "L1Logits"
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.memory = 5


@pytest.mark.parametrize(
    ("recipe", "shape", "answer", "images"),
    [
        (datafree.Procedural(), (28, 28, 1), (10,), 20480),
        (datafree.Procedural(), (64, 64, 3), None, 2**28 // (4 * 64 * 64 * 3)),
        (datafree.Procedural(), (64, 64, 3), (1000,), 2**28 // (4 * 64 * 64 * 3 + 4 * 1000)),
        (datafree.DFAD(batch_size=8, memory=None), (8, 8, 1), (64, 64, 21), 2**28 // (4 * 64 + 4 * 86016)),
        (datafree.Procedural(memory_dtype="uint8"), (96, 96, 3), (10,), 2**28 // (27648 + 40)),
        (datafree.Procedural(batch_size=16), (224, 224, 3), (1000,), 2**28 // (4 * 150528 + 4000)),
        (datafree.Procedural(batch_size=64), (224, 224, 3), (1000,), 8 * 64),
        (datafree.Fast(inversion_batch=400), (500, 500, 3), (10,), 8 * 400),
        (datafree.DFAD(memory=4096), (500, 500, 3), (10,), 4096),
    ],
)
def test_memory_of_unspecified_size_fits_inputs_and_answers(recipe, shape, answer, images):
    assert recipe.memory_capacity(shape, answer, recipe.images_at_once()) == images


def test_memory_is_made_of_that_size():
    teacher = keras.Sequential([keras.Input((64,)), keras.layers.Dense(20000)])
    recipe = datafree.Procedural(batch_size=16)
    distiller = datafree.DataFreeDistiller(teacher, keras.models.clone_model(teacher), recipe)
    assert distiller.memory.capacity == 2**28 // (4 * 64 + 4 * 20000)


def test_replay_counts_as_updates():
    assert datafree.DFAD(memory=4096).updates_per_step() == 6


@pytest.mark.parametrize(
    ("recipe", "steps", "images"),
    [
        (datafree.Procedural(batch_size=10, candidates_per_image=3, memory=0), 1, 30),
        (datafree.DAFL(batch_size=10), 1, 10),
        (datafree.DFAD(batch_size=10), 1, 60),
        (datafree.ZSKT(batch_size=10, attention=0.0), 1, 20),
        (
            datafree.DFAD(batch_size=10, prior_share=0.5, candidates_per_image=2, balance=1.0),
            1,
            10 + 5 * 15,
        ),
        (datafree.Recovery(batch_size=10, warmup_steps=4, memory=10), 6, 4 * 10 + 2 * 20),
        (datafree.Recovery(batch_size=10, warmup_steps=4, memory=10), 3, 3 * 10),
        (datafree.Fast(batch_size=10, inversion_batch=16, warmup_steps=4, memory=16), 6, 6 * 16),
        (
            datafree.Procedural(batch_size=12, chains=16, chain_moves=7, warmup_steps=10, memory=0),
            30,
            30 * 12 * 8,
        ),
    ],
    ids=str,
)
def test_images_made(teacher, recipe, steps, images):
    recipe = recipe.with_options(
        **{name: 4 for name in ("filters", "latent_size") if name in recipe.options()}
    )
    distiller = tfkd.DataFreeDistiller(teacher, small_network(4), recipe)
    assert distiller.images_made(steps) == images
