import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd
from tests import harness
from tests.conftest import CLASSES, SHAPE, blobs, small_network
from tests.datafree.recipes import RECIPES, TINY, TINY_GENERATOR, TINY_INVERSION, make
from tfkd import datafree
from tfkd.datafree import _checks as checks
from tfkd.datafree import objectives
from tfkd.datafree.watching import _timing as timing

# One variant of each method; compiling takes a while.
COMPILED = [name for name in RECIPES if not {"by", "with", "from", "three"} & set(name.split())]


@pytest.fixture(params=RECIPES)
def recipe(request):
    return RECIPES[request.param]


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
    names = {f"generator_{objective.name}" for objective in recipe.build_objectives()}
    assert set(history) == {"loss", "agreement", "val_accuracy"} | names
    assert all(np.isfinite(values).all() for values in history.values())
    harness.assert_same_weights(before, teacher)
    harness.assert_other_weights(student_before, distiller.student.trainable_variables)
    assert distiller.steps_done.numpy() == 4


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
    norm = distiller.student.get_layer("norm1")
    before = norm.moving_mean.numpy()
    generator_before = [v.numpy() for v in distiller.generator.trainable_variables]
    student_before = [v.numpy() for v in distiller.student.trainable_variables]
    distiller._update_generator(distiller._generation.draw(), tf.ones(()))
    np.testing.assert_array_equal(before, norm.moving_mean)
    harness.assert_other_weights(generator_before, distiller.generator.trainable_variables)
    for kept, variable in zip(student_before, distiller.student.trainable_variables, strict=True):
        np.testing.assert_array_equal(kept, variable)


def test_student_updates_leave_the_generator_alone(teacher):
    distiller = make(teacher, RECIPES["dfad"])
    before = [v.numpy() for v in distiller.generator.trainable_variables]
    distiller._update_student(*distiller.synthesizer.new_inputs(), None, new=True)
    for kept, variable in zip(before, distiller.generator.trainable_variables, strict=True):
        np.testing.assert_array_equal(kept, variable)


def test_dafl_student_learns_on_the_generators_own_batch(teacher, monkeypatch):
    distiller = make(teacher, RECIPES["dafl"], run_eagerly=True)
    made, learned = [], []
    update_generator, update_student = distiller._update_generator, distiller._update_student

    def noting_generator(*arguments):
        made.append(update_generator(*arguments))
        return made[-1]

    def noting_student(images, logits, real, new):
        learned.append(images)
        return update_student(images, logits, real, new)

    monkeypatch.setattr(distiller, "_generator_update", noting_generator)
    monkeypatch.setattr(distiller, "_student_update", noting_student)
    distiller.fit(epochs=1, steps_per_epoch=2, verbose=0)
    for images, seen in zip(made, learned, strict=True):
        np.testing.assert_array_equal(images, seen)


def test_memory_holds_what_the_student_saw_with_the_teachers_answers(teacher):
    distiller = make(teacher, RECIPES["procedural"])
    distiller.fit(epochs=1, steps_per_epoch=2, verbose=0)
    held = int(distiller.memory.size)
    assert held == 32
    images, logits = distiller.memory.images.numpy()[:held], distiller.memory.logits.numpy()[:held]
    np.testing.assert_allclose(teacher.predict(images, verbose=0), logits, rtol=1e-3, atol=1e-4)


def test_a_share_of_inputs_comes_from_the_prior(teacher, monkeypatch):
    distiller = make(teacher, RECIPES["dfad with prior and memory"])
    (prior,) = distiller.synthesizer.priors
    monkeypatch.setattr(prior, "sample", lambda n, seed: tf.fill((n, *SHAPE), 0.25))
    images, logits = distiller.synthesizer.new_inputs()
    assert images.shape == (16, *SHAPE)
    assert np.sum((images.numpy() == 0.25).all((1, 2, 3))) == 8
    np.testing.assert_allclose(teacher(images), logits, rtol=1e-3, atol=1e-4)
    candidates = distiller.synthesizer.candidates(16).numpy()
    assert np.sum((candidates == 0.25).all((1, 2, 3))) == 8


def test_every_objective_sees_its_own_layers(teacher, monkeypatch):
    terms = (objectives.Activation(), objectives.Activation(layer="conv2:input"), objectives.OneHot())
    recipe = datafree.Recipe(**TINY_GENERATOR, generator_steps=1, objectives=terms)
    distiller = make(teacher, recipe, run_eagerly=True)
    seen = []
    monkeypatch.setattr(
        type(terms[0]),
        "value",
        lambda self, batch: seen.append(batch.teacher_seen) or 0.0 * tf.reduce_sum(batch.images),
    )
    distiller._update_generator(distiller._generation.draw(), tf.ones(()))
    ((penultimate,), (inner,)) = seen
    assert penultimate.shape[1:] == teacher.get_layer("logits").input.shape[1:]
    assert inner.shape[1:] == teacher.get_layer("conv2").input.shape[1:]
    names = ["generator_activation", "generator_activation_1", "generator_one_hot"]
    assert [tracker.name for tracker in distiller._objective_trackers] == names


@SOME
def test_undisturbed_puts_everything_back(teacher, recipe):
    distiller = make(teacher, recipe)
    distiller.fit(epochs=1, verbose=0)
    variables = [*distiller.variables, *distiller.optimizer.variables]
    if distiller.generator_optimizer is not None:
        variables += distiller.generator_optimizer.variables
    before = [v.numpy() for v in variables]
    shares = timing.time_shares(distiller, repeats=1)
    np.testing.assert_allclose(sum(shares), 1)
    assert min(shares) > 0
    for kept, variable in zip(before, variables, strict=True):
        np.testing.assert_array_equal(kept, variable)


def test_zskt_teaches_on_the_updated_generators_images_of_the_same_latents(teacher, monkeypatch):
    distiller = make(teacher, RECIPES["zskt"], run_eagerly=True)
    drawn, learned = [], []
    draw, update = distiller._generation.draw, distiller._update_student
    monkeypatch.setattr(distiller._generation, "draw", lambda: drawn.append(draw()) or drawn[-1])
    monkeypatch.setattr(
        distiller, "_update_student", lambda x, *rest, **kw: learned.append(x) or update(x, *rest, **kw)
    )
    distiller._forget_traces()
    distiller.fit(epochs=1, steps_per_epoch=1, verbose=0)
    assert len(drawn) == 1 and len(learned) == 2
    np.testing.assert_array_equal(learned[0], learned[1])
    np.testing.assert_allclose(learned[0], distiller._generation.images(drawn[0]), atol=1e-5)


def test_the_students_view_has_the_teacher_asked_again(teacher, monkeypatch):
    distiller = make(teacher, datafree.Procedural(**TINY, student_flip=True), run_eagerly=True)
    seen = []
    learn = distiller._learn
    monkeypatch.setattr(distiller, "_learn", lambda *given: seen.append(given[:2]) or learn(*given))
    images, logits = distiller.synthesizer.new_inputs()
    distiller._update_student(images, logits, None, new=True)
    ((viewed, answers),) = seen
    flipped = ~np.isclose(viewed, images, atol=1e-6).all((1, 2, 3))
    assert 0 < flipped.sum() < 16
    np.testing.assert_allclose(viewed[flipped], images[:, :, ::-1][flipped], atol=1e-6)
    np.testing.assert_allclose(answers, teacher(viewed), rtol=1e-3, atol=1e-4)


def test_parts_of_a_batch_give_the_students_gradients_of_the_whole(teacher):
    """For a student without batch normalization; with it, each part has its own statistics."""
    students = []
    for parts in (1, 4):
        keras.utils.set_random_seed(5)
        head = [layers.Flatten(), layers.Dense(8, activation="relu"), layers.Dense(CLASSES)]
        student = keras.Sequential([keras.Input(SHAPE), *head])
        recipe = datafree.Procedural(**TINY, memory=0, accumulate=parts)
        distiller = tfkd.DataFreeDistiller(teacher, student, recipe, seed=1)
        distiller.compile(keras.optimizers.SGD(0.1))
        distiller.fit(epochs=1, verbose=0)
        students.append(student)
    for expected, weight in zip(*(student.get_weights() for student in students), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-3, atol=1e-5)


def test_warm_up_makes_images_but_teaches_nobody(teacher):
    distiller = make(teacher, RECIPES["fast"])
    before = harness.snapshot(distiller.student)
    best = datafree.KeepBest("loss", "min")
    with pytest.warns(UserWarning, match="not taught in the first warmup_steps=1 steps"):
        distiller.fit(epochs=1, steps_per_epoch=1, verbose=0, callbacks=[datafree.Health()])
    harness.assert_same_weights(before, distiller.student)
    assert int(distiller.memory.size) == 8 and distiller.optimizer.iterations.numpy() == 0
    distiller.fit(epochs=2, initial_epoch=1, steps_per_epoch=1, verbose=0, callbacks=[best])
    harness.assert_other_weights(before, distiller.student.weights)
    assert best.best_epoch == 1


@pytest.mark.parametrize("name", ["guided prior", "recovery", "fast"])
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
        parts = [distiller.generator, distiller.memory, *distiller.synthesizer.chains]
        parts.append(getattr(distiller.inversion, "generator", None))
        return [variable.numpy() for part in parts if part is not None for variable in part.variables]

    assert len(makers(first)) > 3
    for taken, value in zip(makers(first), makers(second), strict=True):
        np.testing.assert_array_equal(taken, value)
    # Nothing is left to warm up, and the recipe's learning rate lasts for the whole run.
    assert recipe.warmup_steps == 1
    second.fit(epochs=1, steps_per_epoch=1, verbose=0)
    assert second.optimizer.iterations.numpy() == recipe.updates_per_step()
    assert any(np.any(v.numpy() != w) for v, w in zip(_variables(second.student), before, strict=False))
    assert timing._taught(second) == 1
    assert timing._taught(first) == 1 - 1 / recipe.steps_per_epoch


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
        distiller.compile("adam", "sgd" if recipe.generator_steps else None)
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


def test_loss_that_is_not_finite_stops_and_keeps_the_last_good_student(teacher, capsys):
    distiller = make(teacher, RECIPES["procedural"], optimizer=keras.optimizers.SGD(0.0))
    distiller.fit(epochs=1, verbose=0)
    good = harness.snapshot(distiller.student)
    keep = tfkd.callbacks.KeepLastGood()

    class Poison(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 1:
                kernel = self.model.student.trainable_variables[0]
                kernel.assign(np.full(kernel.shape, np.nan))

    distiller.fit(epochs=4, verbose=0, callbacks=[keep, Poison()])
    assert keep.stopped_epoch == 0 and keep.good_epoch == -1
    for expected, weight in zip(good, distiller.student.weights, strict=True):
        np.testing.assert_array_equal(expected, weight)
    assert "training stopped" in capsys.readouterr().out


def test_a_generator_that_is_not_finite_is_brought_back(teacher):
    recipe = datafree.DAFL(**{**TINY_GENERATOR, "student_steps": 1}, generator_learning_rate=1e30)
    distiller = make(teacher, recipe)
    keep = tfkd.callbacks.KeepLastGood()
    distiller.fit(epochs=8, initial_epoch=5, verbose=0, callbacks=[keep])
    assert keep.stopped_epoch == 5 and keep.good_epoch == 4
    assert np.isfinite(distiller.synthesize(4)).all()


def test_an_unbuilt_student_is_built(teacher):
    student = keras.Sequential([layers.Flatten(), layers.Dense(CLASSES)])
    distiller = tfkd.DataFreeDistiller(teacher, student, RECIPES["procedural"], seed=1)
    distiller.compile()
    assert np.isfinite(distiller.fit(epochs=1, verbose=0).history["loss"][0])


def test_bad_arguments(teacher, student):
    two_outputs = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(2, 3)])
    one_class = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(1)])
    text = keras.Sequential([keras.Input((7,)), layers.Dense(2)])
    with pytest.raises(ValueError, match=r"`student` must return logits.*ends in a softmax"):
        tfkd.DataFreeDistiller(teacher, small_network(4, "softmax"))
    with pytest.raises(TypeError, match="`recipe` must be a tfkd"):
        tfkd.DataFreeDistiller(teacher, student, "dfad")
    for model in (two_outputs, text):
        with pytest.raises(ValueError, match="must take images"):
            tfkd.DataFreeDistiller(model, keras.models.clone_model(model))
    with pytest.raises(ValueError, match="at least two logits"):
        tfkd.DataFreeDistiller(one_class, keras.models.clone_model(one_class))


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
    unknown = types.SimpleNamespace(input_shape=(None, *SHAPE), output_shape=(None, None))
    with pytest.raises(ValueError, match="with a known number of classes"):
        checks.classifier_shapes(unknown)
    tiny = keras.Sequential([keras.Input((3, 3, 1)), layers.Flatten(), layers.Dense(CLASSES)])
    with pytest.raises(ValueError, match="sides of at least 4"):
        tfkd.DataFreeDistiller(tiny, keras.models.clone_model(tiny), datafree.DFAD(**TINY_GENERATOR))
    recipe = datafree.DAFL(**{**TINY_GENERATOR, "student_steps": 1, "batch_size": CLASSES - 1})
    with pytest.raises(ValueError, match=f"needs at least {CLASSES} images"):
        tfkd.DataFreeDistiller(plain, student, recipe)
    with pytest.raises(ValueError, match=r"`memory`: .* GiB, and this machine has"):
        tfkd.DataFreeDistiller(plain, student, datafree.Procedural(memory=10**11))


def test_black_boxes(teacher, student):
    def answer(images):
        return keras.ops.convert_to_numpy(keras.ops.softmax(teacher(images)))

    box = tfkd.BlackBoxTeacher(answer, SHAPE, CLASSES)
    for recipe in (RECIPES["dfad"], RECIPES["procedural"], RECIPES["fast"]):
        with pytest.raises(ValueError, match="differentiates the teacher, and 'black_box' is a black box"):
            tfkd.DataFreeDistiller(box, student, recipe)
    distiller = make(box, datafree.Procedural(**TINY, memory=0, refine_steps=0))
    queries = box.queries
    assert np.isfinite(distiller.fit(verbose=0).history["loss"]).all()
    assert box.queries > queries
    with pytest.raises(ValueError, match="XLA cannot compile"):
        distiller.compile(jit_compile=True)
