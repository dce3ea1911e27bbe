import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd
from tests import harness
from tests.conftest import CLASSES, SHAPE, blobs, small_network
from tests.datafree.painter import Painter
from tests.datafree.recipes import RECIPES, TINY, TINY_GENERATOR, TINY_INVERSION, make
from tfkd import datafree
from tfkd.datafree import objectives
from tfkd.datafree._parts import Objectives
from tfkd.datafree.watching._timing import time_shares

pytestmark = pytest.mark.slow

# What each kind of source has of its own; all objectives are compiled by their own tests.
COMPILED = ["guided prior", "recovery", "black box", "deep inversion", "cmi", "fast", "nayer"]


@pytest.fixture(params=RECIPES)
def recipe(request):
    return RECIPES[request.param]


VARIED = blobs(16)[0]

# For what does not depend on the recipe: one that has everything.
SOME = pytest.mark.parametrize("recipe", ["dfad with prior and memory"], indirect=True)


@pytest.mark.parametrize("name", COMPILED)
def test_a_run_under_xla_teaches_the_student_and_leaves_the_teacher_alone(teacher, name):
    recipe = RECIPES[name]
    before = harness.snapshot(teacher)
    distiller = make(teacher, recipe, jit_compile=True)
    student_before = [v.numpy() for v in distiller.student.trainable_variables]
    history = distiller.fit(validation_data=blobs(64, 1), verbose=0).history
    assert len(history["loss"]) == 2 and np.isfinite(history["loss"]).all()
    objectives = recipe.build_objectives() if isinstance(recipe, Objectives) else ()
    names = {f"generator_{objective.name}" for objective in objectives}
    assert set(history) == {"loss", "agreement", "val_accuracy"} | names
    assert all(np.isfinite(values).all() for values in history.values())
    harness.assert_same_weights(before, teacher)
    harness.assert_other_weights(student_before, distiller.student.trainable_variables)
    assert distiller.steps_done.numpy() == 4


def test_fit_before_compile_says_so(teacher, student):
    distiller = tfkd.DataFreeDistiller(teacher, student, datafree.Procedural())
    with pytest.raises(ValueError, match=r"You must call `compile\(\)` before"):
        distiller.fit()


@SOME
def test_eager_and_compiled_steps_agree(teacher, recipe):
    weights = []
    for run_eagerly in (True, False):
        distiller = make(teacher, recipe, run_eagerly=run_eagerly)
        distiller.fit(epochs=1, steps_per_epoch=1, verbose=0)
        weights.append(distiller.student.get_weights())
    for eager, compiled in zip(*weights, strict=True):
        np.testing.assert_allclose(eager, compiled, rtol=1e-2, atol=1e-3)


class StopAfterFirst(keras.callbacks.Callback):
    """Interrupts a run whose length the learning rate was planned for."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True


def assert_same_state(expected, ours):
    for variable, other in zip(expected.variables, ours.variables, strict=True):
        np.testing.assert_allclose(other, variable, rtol=1e-4, atol=1e-6, err_msg=variable.path)


def test_dropout_resumes_too(teacher, tmp_path):
    def distiller(seed):
        keras.utils.set_random_seed(seed)
        head = [layers.Flatten(), layers.Dense(8), layers.Dropout(0.5), layers.Dense(CLASSES)]
        student = keras.Sequential([keras.Input(SHAPE), *head])
        made = tfkd.DataFreeDistiller(teacher, student, RECIPES["procedural"], seed=seed)
        made.compile()
        return made

    whole, first, second = distiller(1), distiller(1), distiller(2)
    whole.fit(epochs=2, verbose=0)
    first.fit(epochs=2, verbose=0, callbacks=[StopAfterFirst()])
    first.save_weights(tmp_path / "state.weights.h5")
    second.load_weights(tmp_path / "state.weights.h5")
    second.fit(epochs=2, initial_epoch=1, verbose=0)
    assert_same_state(whole, second)


def test_learning_rate_follows_the_length_of_fit(teacher):
    recipe = RECIPES["procedural"]
    distiller = make(teacher, recipe)
    distiller.fit(epochs=3, steps_per_epoch=4, verbose=0)
    assert float(distiller.optimizer.learning_rate) == pytest.approx(0, abs=1e-7)
    distiller.fit(epochs=6, initial_epoch=3, steps_per_epoch=4, verbose=0)
    before = harness.snapshot(distiller.student)
    assert distiller.optimizer.iterations.numpy() == 24 * recipe.updates_per_step()
    distiller.fit(epochs=12, initial_epoch=6, steps_per_epoch=4, verbose=0, callbacks=[StopAfterFirst()])
    assert float(distiller.optimizer.learning_rate) > 0.3 * recipe.learning_rate
    harness.assert_other_weights(before, distiller.student.weights)
    own = make(teacher, recipe, optimizer=keras.optimizers.Adam(2e-3))
    own.fit(epochs=1, verbose=0)
    assert float(own.optimizer.learning_rate) == pytest.approx(2e-3)


@SOME
@pytest.mark.parametrize("labels", [None, np.arange(20) % CLASSES], ids=["any", "labelled"])
def test_synthesize(teacher, recipe, labels):
    distiller = make(teacher, recipe)
    images = distiller.synthesize(20, labels)
    assert images.shape == (20, *SHAPE) and images.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 1 and images.std() > 0.01
    if labels is not None:
        seen = teacher.predict(images, verbose=0).argmax(-1)
        reachable = np.full(len(labels), True)
        if not recipe.refine_steps:
            # An untrained generator makes few classes; those it does make are found.
            drawn = teacher.predict(distiller.synthesize(600), verbose=0).argmax(-1)
            reachable = (np.bincount(drawn, minlength=CLASSES) >= 20)[labels]
        assert reachable.any() and np.mean(seen[reachable] == labels[reachable]) > 0.8


def test_synthesize_refuses_bad_requests(teacher):
    distiller = make(teacher, RECIPES["procedural"])
    with pytest.raises(ValueError, match="`n` must be at least 1"):
        distiller.synthesize(0)
    for labels in ([0, 1], [0, 1, CLASSES], [0, 1, -1]):
        with pytest.raises(ValueError, match="`labels` must be 3 classes from 0 to 3"):
            distiller.synthesize(3, labels)


def test_student_is_in_inference_mode_in_generator_updates(teacher):
    distiller = make(teacher, RECIPES["dfad"])
    norm, generator = distiller.student.get_layer("norm1"), distiller.source.generator
    before = norm.moving_mean.numpy()
    generator_before = [v.numpy() for v in generator.trainable_variables]
    student_before = [v.numpy() for v in distiller.student.trainable_variables]
    distiller.source.after(tf.ones(()))
    np.testing.assert_array_equal(before, norm.moving_mean)
    harness.assert_other_weights(generator_before, generator.trainable_variables)
    for kept, variable in zip(student_before, distiller.student.trainable_variables, strict=True):
        np.testing.assert_array_equal(kept, variable)


def test_student_updates_leave_the_generator_alone(teacher):
    distiller = make(teacher, RECIPES["dfad"])
    generator, student = distiller.source.generator, distiller.student
    before = [v.numpy() for v in generator.trainable_variables]
    student_before = harness.snapshot(student)
    distiller.update_student(distiller.source.draw(16))
    harness.assert_other_weights(student_before, student.weights)
    for kept, variable in zip(before, generator.trainable_variables, strict=True):
        np.testing.assert_array_equal(kept, variable)


def noted(monkeypatch, owner, name):
    """A list of what a method returns from now on."""
    returned, method = [], getattr(owner, name)

    def noting(*given):
        returned.append(method(*given))
        return returned[-1]

    monkeypatch.setattr(owner, name, noting)
    return returned


def learned(distiller):
    """What the student learned on, as far as it is remembered."""
    return distiller.memory.images.numpy()[: int(distiller.memory.size)]


def test_dafl_student_learns_on_the_generators_own_batch(teacher, monkeypatch):
    options = {**TINY_GENERATOR, "student_steps": 1, "memory": 64}
    distiller = make(teacher, datafree.DAFL(**options), run_eagerly=True)
    updates = noted(monkeypatch, distiller.source, "update")
    distiller.compile(run_eagerly=True)
    distiller.fit(epochs=1, steps_per_epoch=2, verbose=0)
    np.testing.assert_array_equal(learned(distiller), np.concatenate(updates))


def test_memory_holds_what_the_student_saw_with_the_teachers_answers(teacher):
    distiller = make(teacher, RECIPES["procedural"])
    distiller.fit(epochs=1, steps_per_epoch=2, verbose=0)
    held = int(distiller.memory.size)
    assert held == 32
    images, logits = distiller.memory.images.numpy()[:held], distiller.memory.logits.numpy()[:held]
    np.testing.assert_allclose(teacher.predict(images, verbose=0), logits, rtol=1e-3, atol=1e-4)


def test_a_share_of_inputs_comes_from_the_prior(teacher, monkeypatch):
    distiller = make(teacher, RECIPES["dfad with prior and memory"])
    (prior,) = distiller.source.sources[0].generators
    monkeypatch.setattr(prior, "sample", lambda n, seed: tf.fill((n, *SHAPE), 0.25))
    images, logits = distiller.source.draw(16)
    assert images.shape == (16, *SHAPE)
    assert np.sum((images.numpy() == 0.25).all((1, 2, 3))) == 8
    np.testing.assert_allclose(teacher(images), logits, rtol=1e-3, atol=1e-4)
    candidates = distiller.source.candidates(tf.zeros(16, "int32")).numpy()
    assert np.sum((candidates == 0.25).all((1, 2, 3))) == 8


def test_every_objective_sees_its_own_layers(teacher, monkeypatch):
    terms = (objectives.Activation(), objectives.Activation(layer="conv2:input"), objectives.OneHot())
    recipe = datafree.ConvGeneratorRecipe(**TINY_GENERATOR, objectives=terms)
    distiller = make(teacher, recipe, run_eagerly=True)
    seen = []
    monkeypatch.setattr(
        type(terms[0]),
        "value",
        lambda self, batch: seen.append(batch.teacher_seen) or 0.0 * tf.reduce_sum(batch.images),
    )
    distiller.source.after(tf.ones(()))
    ((penultimate,), (inner,)) = seen
    assert penultimate.shape[1:] == teacher.get_layer("logits").input.shape[1:]
    assert inner.shape[1:] == teacher.get_layer("conv2").input.shape[1:]
    names = ["generator_activation", "generator_activation_1", "generator_one_hot"]
    assert [tracker.name for tracker in distiller.source.trackers] == names


@SOME
def test_timing_puts_everything_back(teacher, recipe):
    distiller = make(teacher, recipe)
    distiller.fit(epochs=1, verbose=0)
    optimizers = [distiller.optimizer, *distiller.source.optimizers]
    assert len(optimizers) == 2
    variables = [*distiller.variables, *(v for optimizer in optimizers for v in optimizer.variables)]
    before = [v.numpy() for v in variables]
    shares = time_shares(distiller, repeats=1)
    np.testing.assert_allclose(sum(shares), 1)
    assert min(shares) > 0
    for kept, variable in zip(before, variables, strict=True):
        np.testing.assert_array_equal(kept, variable)


@pytest.mark.parametrize("name", ["procedural", "fast"])
def test_time_is_shared_out_of_every_kind_of_source(teacher, name):
    shares = time_shares(make(teacher, RECIPES[name]), repeats=1)
    assert sum(shares) == pytest.approx(1) and min(shares) > 0


def test_zskt_teaches_on_the_updated_generators_images_of_the_same_latents(teacher, monkeypatch):
    distiller = make(teacher, datafree.ZSKT(**TINY_GENERATOR, attention=0.0, memory=64), run_eagerly=True)
    draws = noted(monkeypatch, distiller.source, "draw_latent")
    distiller.fit(epochs=1, steps_per_epoch=1, verbose=0)
    first, second = np.split(learned(distiller), 2)
    assert len(draws) == 1
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, distiller.source.images(draws[0]), atol=1e-5)


def test_the_students_view_has_the_teacher_asked_again(teacher):
    """A student that answers as the teacher has nothing to learn from views and the answers to these."""
    answers, mirrored = (teacher(images) for images in (VARIED, VARIED[:, :, ::-1]))
    assert np.abs(answers - mirrored).max() > 1
    student = keras.models.clone_model(teacher)
    student.set_weights(teacher.get_weights())
    # In training mode, too, with the statistics that it has.
    student.get_layer("norm1").trainable = False
    recipe = datafree.Procedural(**TINY, memory=16, student_flip=True)
    distiller = tfkd.DataFreeDistiller(teacher, student, recipe, seed=1)
    distiller.compile(keras.optimizers.SGD(1.0))
    before = harness.snapshot(student)
    distiller.update_student(datafree.sources.Batch(tf.constant(VARIED), answers))
    for kept, weight in zip(before, student.weights, strict=True):
        np.testing.assert_allclose(weight, kept, atol=1e-4)
    assert distiller.source.draw(16).logits is None and distiller.memory.logits is None


ONCE = {**TINY_GENERATOR, "student_steps": 1}


class Count(layers.Layer):
    """Counts how often any of its kind is called."""

    calls = 0

    def call(self, inputs):
        Count.calls += 1
        return inputs


@pytest.mark.parametrize(
    ("recipe", "asked"),
    [
        # One generator update, a new batch and two remembered ones that the student learns features of.
        (datafree.Recovery(**ONCE, warmup_steps=0, memory=32), 4),
        # The same without features: only of the new batch.
        (
            datafree.Recovery(**ONCE, warmup_steps=0, memory=32, features=0.0, student_flip=False),
            2,
        ),
        # All ten updates see one batch.
        (datafree.ZSKT(**{**TINY_GENERATOR, "student_steps": 10}, attention=0.0), 2),
        # Candidates, two steps of refinement, and the refined ones.
        (datafree.Procedural(**TINY, memory=32), 4),
        # The chosen ones that are refined are not asked about before.
        (datafree.Procedural(**TINY, memory=0, candidates_per_image=1), 3),
    ],
    ids=["recovery", "recovery without features", "zskt", "procedural", "unchosen"],
)
def test_the_teacher_is_asked_no_more_than_needed(teacher, recipe, asked):
    x = inputs = keras.Input(SHAPE)
    x = Count()(x)
    for layer in teacher.layers[1:]:
        x = layer(x)
    counted = keras.Model(inputs, x, name="counted")
    distiller = tfkd.DataFreeDistiller(counted, small_network(8), recipe, seed=1)
    distiller.compile(run_eagerly=True)
    Count.calls = 0
    distiller.fit(epochs=1, steps_per_epoch=1, verbose=0)
    assert Count.calls == asked


def test_parts_of_a_batch_give_the_students_gradients_of_the_whole(teacher):
    """For a student without batch normalization; with it, each part has its own statistics."""
    students = []
    for parts in (1, 4):
        keras.utils.set_random_seed(5)
        head = [layers.Flatten(), layers.Dense(8, activation="relu"), layers.Dense(CLASSES)]
        student = keras.Sequential([keras.Input(SHAPE), *head])
        recipe = datafree.Procedural(**TINY, memory=0, microbatches=parts)
        distiller = tfkd.DataFreeDistiller(teacher, student, recipe, seed=1)
        distiller.compile(keras.optimizers.SGD(0.1))
        distiller.fit(epochs=1, verbose=0)
        students.append(student)
    for expected, weight in zip(*(student.get_weights() for student in students), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_parts_of_a_batch_give_a_generators_gradients_of_the_whole(teacher, monkeypatch, jit_compile):
    weights = []
    options = {**TINY, "memory": 0, "student_steps": 1, "generator_steps": 1}
    for parts in (1, 4):
        balanced = [objectives.Adversarial(), objectives.ClassBalance(2.0)]
        recipe = datafree.Recipe(**options, objectives=balanced, microbatches=parts)
        monkeypatch.setattr(type(recipe), "build_generator", lambda *_: Painter())
        keras.utils.set_random_seed(5)
        student = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(CLASSES)])
        distiller = tfkd.DataFreeDistiller(teacher, student, recipe, seed=1)
        distiller.compile("sgd", keras.optimizers.SGD(1.0), jit_compile=jit_compile)
        distiller.fit(epochs=1, steps_per_epoch=1, verbose=0)
        weights.append(distiller.source.generator.get_weights())
    for expected, weight in zip(*weights, strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-3, atol=1e-6)


IN_PARTS = {"microbatches": 4, "student_steps": 1, "memory": 0, "warmup_steps": 0}


@pytest.mark.eager
@pytest.mark.parametrize(
    "recipe",
    [
        datafree.DFQ(**{**TINY_GENERATOR, **IN_PARTS}),
        # Three images of the generator, fewer than there are parts.
        datafree.DFAD(**{**TINY_GENERATOR, **IN_PARTS}, prior_share=0.8),
        datafree.CMI(**TINY_INVERSION, microbatches=4, filters=4, student_shift=1),
    ],
    ids=["generator", "mixture", "inversions"],
)
def test_networks_see_a_part_of_a_batch_at_a_time(teacher, recipe, monkeypatch):
    distiller = make(keras.models.clone_model(teacher), recipe)
    rows = []

    def counted(call):
        def counting(inputs, **kwargs):
            rows.append(inputs.shape[0])
            return call(inputs, **kwargs)

        return counting

    trained = [network for network, _ in distiller.source.trained.values()]
    for network in (distiller.teacher, distiller.student, *trained):
        monkeypatch.setattr(network, "call", counted(network.call))
    distiller.fit(epochs=1, steps_per_epoch=1, verbose=0)
    assert min(rows) >= 1 and max(rows) == 4


def test_warm_up_makes_images_but_teaches_nobody(teacher):
    distiller = make(teacher, RECIPES["fast"])
    before = harness.snapshot(distiller.student)
    best = datafree.KeepBest("loss", "min")
    with pytest.warns(UserWarning, match="not trained in the first warmup_steps=1 steps"):
        distiller.fit(epochs=1, steps_per_epoch=1, verbose=0, callbacks=[datafree.Health()])
    harness.assert_same_weights(before, distiller.student)
    assert int(distiller.memory.size) == 8 and distiller.optimizer.iterations.numpy() == 0
    distiller.fit(epochs=2, initial_epoch=1, steps_per_epoch=1, verbose=0, callbacks=[best])
    harness.assert_other_weights(before, distiller.student.weights)
    assert best.best_epoch == 1


@pytest.mark.parametrize("name", ["guided prior", "fast"])
def test_images_go_on_where_another_students_run_ended(teacher, name):
    recipe = RECIPES[name]
    first, second = make(teacher, recipe), make(teacher, recipe, seed=2)
    first.fit(epochs=1, verbose=0)
    kept = [second.student, second.optimizer, second.seed_generator]
    before = [variable.numpy() for each in kept for variable in _variables(each)]
    second.take_over(first)
    for variable, value in zip((v for each in kept for v in _variables(each)), before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)

    def makers(distiller):
        return [
            variable.numpy() for part in (distiller.source, distiller.memory) for variable in part.weights
        ]

    assert len(makers(first)) > 3
    for taken, value in zip(makers(first), makers(second), strict=True):
        np.testing.assert_array_equal(taken, value)
    # Nothing is left to warm up, and the recipe's learning rate lasts for the whole run.
    assert recipe.warmup_steps == 1
    second.fit(epochs=1, steps_per_epoch=1, verbose=0)
    assert second.optimizer.iterations.numpy() == recipe.updates_per_step()
    assert any(np.any(v.numpy() != w) for v, w in zip(_variables(second.student), before, strict=False))
    assert second.share_taught() == 1
    assert first.share_taught() == 1 - 1 / recipe.steps_per_epoch


def _variables(owner):
    return [owner.state] if isinstance(owner, keras.random.SeedGenerator) else owner.variables


def test_images_are_only_taken_over_from_the_same_teacher_and_recipe(teacher):
    mine = make(teacher, RECIPES["dfad"])
    with pytest.raises(ValueError, match=r"the same recipe; .* differ in: .*statistics"):
        mine.take_over(make(teacher, RECIPES["dfq"]))
    with pytest.raises(ValueError, match="`other` must have the same teacher"):
        mine.take_over(make(keras.models.clone_model(teacher), RECIPES["dfad"]))
    with pytest.raises(TypeError, match="`other` must be a DataFreeDistiller"):
        mine.take_over(teacher)


def test_the_priors_share_of_an_inversion_is_remembered(teacher):
    distiller = make(teacher, RECIPES["adaptive deep inversion from the prior"])
    distiller.fit(epochs=1, steps_per_epoch=1, verbose=0)
    assert int(distiller.memory.size) == 16
    assert distiller.memory.images.dtype == "float16"


def test_other_teachers_than_convolutional_ones():
    """A transformer has no normalization of batches; recipes that want statistics say so and go on."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Reshape((16, 8))(layers.Conv2D(8, 2, 2)(inputs))
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x))
    network = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))
    student = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3)])
    with pytest.warns(datafree.ObjectiveWarning, match="BatchStatistics is left out"):
        distiller = tfkd.DataFreeDistiller(network, student, RECIPES["fast by reptile"], seed=1)
    distiller.compile()
    assert np.isfinite(distiller.fit(epochs=1, verbose=0).history["loss"][0])


def test_three_channels_other_sizes_and_given_optimizers():
    shape = (9, 14, 3)
    networks = [
        keras.Sequential([keras.Input(shape), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)])
        for _ in range(2)
    ]
    for recipe in (datafree.Procedural(**TINY, memory=32), datafree.DFAD(**TINY_GENERATOR)):
        distiller = tfkd.DataFreeDistiller(*networks, recipe)
        distiller.compile("adam", "sgd" if distiller.source.trained else None)
        history = distiller.fit(epochs=1, steps_per_epoch=1, verbose=0).history
        assert np.isfinite(history["loss"][0])


@SOME
def test_mixed_precision_student(teacher, recipe):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        student = small_network(4)
    finally:
        keras.config.set_dtype_policy("float32")
    distiller = tfkd.DataFreeDistiller(teacher, student, recipe, seed=0)
    distiller.compile()
    assert np.isfinite(distiller.fit(epochs=1, verbose=0).history["loss"][0])


def test_loss_that_is_not_finite_stops_and_keeps_the_last_good_student(teacher):
    distiller = make(teacher, RECIPES["procedural"], optimizer=keras.optimizers.SGD(0.0))
    distiller.fit(epochs=1, verbose=0)
    good = harness.snapshot(distiller.student)
    keep = tfkd.callbacks.KeepLastGood()

    class Poison(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 1:
                kernel = self.model.student.trainable_variables[0]
                kernel.assign(np.full(kernel.shape, np.nan))

    with pytest.warns(UserWarning, match="training was stopped"):
        distiller.fit(epochs=4, verbose=0, callbacks=[keep, Poison()])
    assert keep.stopped_epoch == 0 and keep.good_epoch == -1
    for expected, weight in zip(good, distiller.student.weights, strict=True):
        np.testing.assert_array_equal(expected, weight)


def test_a_generator_that_is_not_finite_is_brought_back(teacher):
    recipe = datafree.DAFL(**{**TINY_GENERATOR, "student_steps": 1}, generator_learning_rate=1e30)
    distiller = make(teacher, recipe)
    keep = tfkd.callbacks.KeepLastGood()
    with pytest.warns(UserWarning, match="not finite in epoch 6"):
        distiller.fit(epochs=8, initial_epoch=5, verbose=0, callbacks=[keep])
    assert keep.stopped_epoch == 5 and keep.good_epoch == 4
    assert np.isfinite(distiller.synthesize(4)).all()


def test_an_unbuilt_student_is_built(teacher):
    student = keras.Sequential([layers.Flatten(), layers.Dense(CLASSES)])
    distiller = tfkd.DataFreeDistiller(teacher, student, RECIPES["procedural"], seed=1)
    distiller.compile()
    assert np.isfinite(distiller.fit(epochs=1, verbose=0).history["loss"][0])


def test_bad_arguments(teacher, student):
    maps = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(2, 3)])
    one_class = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(1)])
    unknown = keras.Sequential([keras.Input((None, 3)), layers.GlobalAveragePooling1D(), layers.Dense(2)])
    with pytest.raises(ValueError, match=r"`student` must return logits.*ends in a softmax"):
        tfkd.DataFreeDistiller(teacher, small_network(4, "softmax"))
    with pytest.raises(TypeError, match="`recipe` must be a tfkd"):
        tfkd.DataFreeDistiller(teacher, student, "dfad")
    with pytest.raises(ValueError, match="must take inputs of one known size"):
        tfkd.DataFreeDistiller(unknown, keras.models.clone_model(unknown))
    with pytest.raises(
        ValueError, match=r"`task` is needed: the meaning of outputs of shape \(None, 10, 10, 2\)"
    ):
        tfkd.DataFreeDistiller(maps, keras.models.clone_model(maps))
    with pytest.raises(ValueError, match="at least two classes"):
        tfkd.DataFreeDistiller(one_class, keras.models.clone_model(one_class), task="classification")
    with pytest.raises(
        ValueError,
        match=r"`generator_optimizer` must be a separate optimizer for each network.*'generator'",
    ):
        make(teacher, RECIPES["dfad"]).compile(generator_optimizer={"encoder": "adam"})


def test_teachers_that_a_recipe_cannot_use(student):
    inputs = keras.Input(SHAPE)
    flat = layers.Flatten()(inputs)
    plain = keras.Model(inputs, layers.Dense(CLASSES)(flat), name="plain")
    with (
        pytest.warns(datafree.ObjectiveWarning),
        pytest.raises(ValueError, match="'plain': it has no batch normalization"),
    ):
        tfkd.DataFreeDistiller(plain, student, datafree.ZeroQ(**TINY_INVERSION))
    heads = keras.Model(inputs, {"a": layers.Dense(CLASSES)(flat), "b": layers.Dense(2)(flat)})
    with pytest.raises(ValueError, match=r"`teacher` must have one output.*load_teacher.*output="):
        tfkd.DataFreeDistiller(heads, student)
    tiny = keras.Sequential([keras.Input((3, 3, 1)), layers.Flatten(), layers.Dense(CLASSES)])
    with pytest.raises(ValueError, match="height and width of at least 4"):
        tfkd.DataFreeDistiller(tiny, keras.models.clone_model(tiny), datafree.DFAD(**TINY_GENERATOR))
    recipe = datafree.DAFL(**{**TINY_GENERATOR, "student_steps": 1, "batch_size": CLASSES - 1})
    with pytest.raises(ValueError, match=f"needs at least {CLASSES} images"):
        tfkd.DataFreeDistiller(plain, student, recipe)
    with pytest.raises(ValueError, match=r"`memory`: .* GiB, but this machine has"):
        tfkd.DataFreeDistiller(plain, student, datafree.Procedural(memory=10**11))


def test_black_boxes(teacher, student):
    def answer(images):
        return keras.ops.convert_to_numpy(keras.ops.softmax(teacher(images)))

    box = tfkd.BlackBoxTeacher(answer, SHAPE, CLASSES)
    for recipe in (RECIPES["dfad"], RECIPES["procedural"], RECIPES["fast"]):
        with pytest.raises(
            ValueError, match="needs gradients of the teacher, but 'black_box' is a black box"
        ):
            tfkd.DataFreeDistiller(box, student, recipe)
    distiller = make(box, datafree.Procedural(**TINY, memory=0, refine_steps=0))
    queries = box.queries
    assert np.isfinite(distiller.fit(verbose=0).history["loss"]).all()
    assert box.queries > queries
    with pytest.raises(ValueError, match="XLA cannot compile"):
        distiller.compile(jit_compile=True)
