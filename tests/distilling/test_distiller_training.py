"""The ways Keras has to run a training step, and models of every make."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd
from tests import harness
from tests.conftest import CLASSES, SHAPE, blobs, small_network
from tfkd import losses

pytestmark = [pytest.mark.slow, pytest.mark.eager]

LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
X, Y = blobs(40)


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    """Two blocks, the second a model of its own, and a call without `training`."""

    def __init__(self, width=4, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.block = keras.Sequential(
            [layers.Conv2D(width, 3, name="conv"), layers.ReLU(name="relu")], name="block"
        )
        self.head = layers.Dense(CLASSES, name="head")

    def call(self, x):
        return self.head(tf.reduce_mean(self.block(x), (1, 2)))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


def nested(width):
    inputs = keras.Input(SHAPE)
    inner = keras.Sequential(
        [keras.Input(SHAPE), layers.Conv2D(width, 3, name="conv"), layers.ReLU(name="relu")], name="block"
    )
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.Flatten()(inner(inputs))))


def trained_weights(teacher, run, weights, loss=None, **kwargs):
    """The student's weights after `run(distiller)`, from the same start."""
    student = small_network(4)
    student.set_weights(weights)
    hint = losses.Hint("relu1", "relu1", projector=layers.Dense(8, kernel_initializer="ones"))
    distiller = tfkd.Distiller(teacher, student, loss or [losses.SoftTargets(4.0), hint], [1.0, 0.5])
    distiller.compile(keras.optimizers.SGD(0.05, momentum=0.9), LABELS_LOSS, ["accuracy"], **kwargs)
    run(distiller)
    return student.get_weights()


@pytest.mark.parametrize(
    "options",
    [
        {"run_eagerly": True},
        {"steps_per_execution": 2},
        {"jit_compile": True},
        {"steps_per_execution": 2, "jit_compile": True},
    ],
    ids=["eagerly", "two steps", "XLA", "two steps under XLA"],
)
def test_every_way_to_run_a_step_gives_the_same_weights(options, teacher):
    """With an uneven last batch: 40 examples by 16."""
    weights = small_network(4).get_weights()

    def run(distiller):
        distiller.fit(X, Y, epochs=2, batch_size=16, shuffle=False, verbose=0)

    expected = trained_weights(teacher, run, weights)
    for ours, theirs in zip(trained_weights(teacher, run, weights, **options), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def without_statistics():
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, name="relu1", activation="relu")(inputs)
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.Flatten()(x)))


def test_gradient_accumulation_equals_a_large_batch(teacher):
    weights = without_statistics().get_weights()
    after = []
    for size, steps in ((32, None), (8, 4)):
        student = without_statistics()
        student.set_weights(weights)
        distiller = tfkd.Distiller(teacher, student, losses.SoftTargets())
        optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=steps)
        distiller.compile(optimizer, LABELS_LOSS)
        distiller.fit(X[:32], Y[:32], batch_size=size, shuffle=False, verbose=0)
        after.append(student.get_weights())
    assert not np.allclose(after[0][0], weights[0], atol=1e-5)
    for ours, theirs in zip(*after, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_replicas_share_a_batch(strategy):
    """Two replicas, each with half of the batch, make the step of one with all of it."""
    weights, after, logs = without_statistics().get_weights(), [], []
    regularizer = keras.regularizers.L2(0.1)

    def make():
        teacher, student = without_statistics(), without_statistics()
        teacher.set_weights([2 * w for w in weights])
        student.set_weights(weights)
        student.layers[-1].kernel_regularizer = regularizer
        student.layers[-1].kernel.regularizer = regularizer
        hint = losses.Hint("relu1", "relu1", projector=layers.Conv2D(4, 1, kernel_initializer="ones"))
        distiller = tfkd.Distiller(teacher, student, [losses.SoftTargets(2.0), hint])
        distiller.compile(keras.optimizers.SGD(0.1), LABELS_LOSS, ["accuracy"])
        return distiller

    for scope in (strategy.scope, tf.init_scope):
        with scope():
            distiller = make()
        history = distiller.fit(X[:32], Y[:32], batch_size=32, shuffle=False, verbose=0).history
        after.append(distiller.student.get_weights())
        logs.append({key: values[0] for key, values in history.items()})
    for ours, theirs in zip(*after, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    assert logs[0] == pytest.approx(logs[1], rel=1e-3)
    with strategy.scope():
        distiller = make()
    # The replicas' last shares are of 2 and 1; of none, some CPUs' convolutions return another shape.
    uneven = distiller.evaluate(X[:35], Y[:35], batch_size=32, return_dict=True, verbose=0)
    alone = make().evaluate(X[:35], Y[:35], batch_size=32, return_dict=True, verbose=0)
    assert uneven == pytest.approx(alone, rel=1e-4)
    assert np.isfinite(distiller.fit(X[:34], Y[:34], batch_size=32, verbose=0).history["loss"]).all()
    assert logs[1]["loss"] > 0.5 * (logs[1]["student_loss"] + logs[1]["distillation_loss"])


@pytest.mark.parametrize(
    ("make_teacher", "make_student"),
    [(Subclassed, Subclassed), (lambda: nested(4), Subclassed), (Subclassed, lambda: nested(3))],
    ids=["subclassed", "nested teaches subclassed", "subclassed teaches nested"],
)
def test_models_of_every_make(make_teacher, make_student):
    teacher, student = make_teacher(), make_student()
    teacher(X[:1]), student(X[:1])
    taps = "block/relu", "block/relu"
    distiller = tfkd.Distiller(teacher, student, [losses.SoftTargets(), losses.Hint(*taps, projector=True)])
    distiller.compile(keras.optimizers.Adam(1e-2), LABELS_LOSS, ["accuracy"])
    before = harness.snapshot(teacher)
    history = distiller.fit(X, Y, epochs=3, batch_size=16, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    harness.assert_same_weights(before, teacher)
    assert distiller.predict(X, verbose=0).shape == (40, CLASSES)


def test_projectors_of_models_without_a_graph_are_there_before_the_first_step(tmp_path):
    """So that weights can be loaded, and replicas can be trained."""

    def make():
        teacher, student = Subclassed(4), Subclassed(3)
        teacher(X[:1]), student(X[:1])
        hint = losses.Hint("block/relu", "block/relu", projector=True)
        distiller = tfkd.Distiller(teacher, student, hint)
        distiller.compile("adam", LABELS_LOSS)
        return distiller

    trained, fresh = make(), make()
    trained.fit(X, Y, verbose=0)
    trained.save_weights(tmp_path / "d.weights.h5")
    fresh.load_weights(tmp_path / "d.weights.h5")
    harness.assert_same_weights(harness.snapshot(trained), fresh)
    assert float(fresh.optimizer.iterations) == 2


def test_students_that_were_not_built_train_and_are_saved(teacher, tmp_path):
    student = keras.Sequential([layers.Flatten(), layers.Dense(CLASSES)])
    distiller = tfkd.Distiller(teacher, student, losses.SoftTargets())
    distiller.compile("adam", LABELS_LOSS)
    distiller.fit(X, Y, verbose=0)
    distiller.save_weights(tmp_path / "d.weights.h5")
    assert student.built and distiller.built


@pytest.mark.parametrize("policy", ["bfloat16", "float64"])
def test_other_policies(policy, teacher):
    keras.config.set_dtype_policy(policy)
    try:
        student = small_network(4)
        distiller = tfkd.Distiller(teacher, student, losses.Hint("relu1", "relu1", projector=True))
        distiller.compile("adam", LABELS_LOSS, ["accuracy"])
        history = distiller.fit(X, Y, validation_data=(X, Y), verbose=0).history
    finally:
        keras.config.set_dtype_policy("float32")
    assert all(np.isfinite(values).all() for values in history.values())


@pytest.mark.graph
def test_a_step_is_traced_once(teacher, student):
    """Tracing takes most of the time of a short run."""
    traces = []

    class Counting(tfkd.losses.SoftTargets):
        def call(self, teacher, student):
            traces.append(student)
            return super().call(teacher, student)

    distiller = tfkd.Distiller(teacher, student, Counting(), student_loss_weight=0.0)
    distiller.compile("adam")
    distiller.fit(blobs(32)[0], batch_size=16, epochs=2, verbose=0)
    assert len(traces) == 1


def test_nothing_to_train_is_said(teacher, student):
    student.trainable = False
    distiller = tfkd.Distiller(teacher, student, losses.SoftTargets())
    distiller.compile("adam", LABELS_LOSS)
    with pytest.warns(UserWarning, match="nothing to train"):
        distiller.fit(X, Y, verbose=0)


class Stop(Exception):
    pass


def test_backup_and_restore_goes_on_to_the_same_weights(teacher, tmp_path):
    weights = small_network(4).get_weights()

    def fit(distiller, *callbacks):
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
        distiller.fit(X, Y, epochs=3, shuffle=False, verbose=0, callbacks=[backup, *callbacks])

    def interrupted(distiller):
        def on_epoch_begin(epoch, logs=None):
            if epoch == 2:
                raise Stop

        with pytest.raises(Stop):
            fit(distiller, keras.callbacks.LambdaCallback(on_epoch_begin=on_epoch_begin))

    expected = trained_weights(teacher, lambda d: d.fit(X, Y, epochs=3, shuffle=False, verbose=0), weights)
    trained_weights(teacher, interrupted, weights)
    for ours, theirs in zip(trained_weights(teacher, fit, weights), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_checkpoints_of_whole_distillers(teacher, tmp_path):
    path = str(tmp_path / "{epoch}.keras")
    checkpoint = keras.callbacks.ModelCheckpoint(path)
    distiller = tfkd.Distiller(teacher, small_network(4), losses.Hint("relu1", "relu1", projector=True))
    distiller.compile("adam", LABELS_LOSS)
    distiller.fit(X, Y, epochs=2, verbose=0, callbacks=[checkpoint])
    loaded = keras.models.load_model(str(tmp_path / "2.keras"))
    np.testing.assert_allclose(loaded.predict(X, verbose=0), distiller.predict(X, verbose=0), rtol=1e-5)
    assert float(loaded.optimizer.iterations) == 4


def test_the_student_loads_without_tfkd(teacher, tmp_path):
    distiller = tfkd.Distiller(teacher, small_network(4), losses.Hint("relu1", "relu1", projector=True))
    distiller.compile("adam", LABELS_LOSS)
    distiller.fit(X, Y, verbose=0)
    distiller.student.save(tmp_path / "student.keras")
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", distiller.predict(X, verbose=0))
    code = (
        "import sys, keras, numpy as np\n"
        "student = keras.models.load_model('student.keras')\n"
        "outputs = student.predict(np.load('x.npy'), verbose=0)\n"
        "np.testing.assert_allclose(outputs, np.load('y.npy'), rtol=1e-4)\n"
        "assert 'tfkd' not in sys.modules\n"
        "assert not any('projector' in weight.path for weight in student.weights)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=200)


def test_several_inputs_and_labels_for_each_output():
    def model(width):
        a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
        x = layers.Dense(width, activation="relu", name="mixed")(layers.Concatenate()([a, b]))
        return keras.Model(
            [a, b], {"one": layers.Dense(3, name="one")(x), "two": layers.Dense(2, name="two")(x)}
        )

    rng = np.random.default_rng(0)
    x = [rng.normal(size=(20, n)).astype("float32") for n in (4, 3)]
    y = {"one": rng.integers(0, 3, 20), "two": rng.integers(0, 2, 20)}
    distiller = tfkd.Distiller(
        model(16), model(4), [losses.DecoupledKnowledge(), losses.SimilarityPreserving("mixed", "mixed")]
    )
    distiller.compile("adam", {"one": LABELS_LOSS, "two": LABELS_LOSS}, {"one": ["accuracy"], "two": []})
    history = distiller.fit(x, y, epochs=2, batch_size=8, verbose=0).history
    assert "one_accuracy" in history and history["loss"][1] < history["loss"][0]
    distiller.student.compile(loss=distiller.loss, metrics={"one": ["accuracy"], "two": []})
    expected = distiller.student.evaluate(x, y, batch_size=8, return_dict=True, verbose=0)
    results = distiller.evaluate(x, y, batch_size=8, return_dict=True, verbose=0)
    assert results["student_loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert results["one_accuracy"] == pytest.approx(expected["one_accuracy"])
    weights = {"one": np.ones(20, "float32"), "two": np.zeros(20, "float32")}
    assert np.isfinite(distiller.fit(x, y, sample_weight=weights, verbose=0).history["loss"]).all()


def test_teachers_that_are_not_needed_do_not_run(student):
    for loss, share in ((losses.TeacherFree(), 0.5), ([], 1.0)):
        distiller = tfkd.Distiller(None, student, loss, student_loss_weight=share)
        distiller.compile("adam", LABELS_LOSS)
        assert np.isfinite(distiller.fit(X, Y, verbose=0).history["loss"]).all()
    with pytest.raises(ValueError, match=r"`teacher` must be a keras\.Model"):
        tfkd.Distiller(None, student, [losses.TeacherFree(), losses.SoftTargets()])


def test_published_weights(teacher, student):
    chosen = [losses.SoftTargets(), losses.SimilarityPreserving("relu1", "relu1")]
    assert tfkd.Distiller(teacher, student, chosen, "published").distillation_loss_weights == [1.0, 3000.0]
    with pytest.raises(ValueError, match='must be numbers, None or "published"'):
        tfkd.Distiller(teacher, student, chosen, "default")
    for weights in ([-1.0, 1.0], [float("nan"), 1.0]):
        with pytest.raises(ValueError, match="must be finite and at least 0"):
            tfkd.Distiller(teacher, student, chosen, weights)


@pytest.mark.parametrize("run_eagerly", [False, True], ids=["graph", "eagerly"])
def test_a_teacher_that_returns_no_numbers_stops_training(run_eagerly, teacher, student):
    broken = keras.models.clone_model(teacher)
    broken.set_weights([np.full_like(weight, np.nan) for weight in teacher.get_weights()])
    distiller = tfkd.Distiller(broken, student, losses.SoftTargets())
    distiller.compile("adam", LABELS_LOSS, run_eagerly=run_eagerly)
    before = [variable.numpy() for variable in student.trainable_variables]
    with pytest.raises(tf.errors.InvalidArgumentError, match="teacher's output is NaN or infinite"):
        distiller.fit(X, Y, verbose=0)
    for kept, variable in zip(before, student.trainable_variables, strict=True):
        np.testing.assert_array_equal(kept, variable)


@pytest.mark.parametrize("how", ["split", "arrays", "dataset", "on_batch", "eagerly"])
def test_validation_without_labels_measures_the_distillation(teacher, how):
    distiller = tfkd.Distiller(teacher, small_network(4), losses.SoftTargets(2.0), student_loss_weight=0.0)
    distiller.compile("adam", metrics=["accuracy"], run_eagerly=how == "eagerly")
    if how == "on_batch":
        logs = distiller.test_on_batch(X[:8], return_dict=True)
    else:
        data = {"arrays": (X[:8],), "dataset": tf.data.Dataset.from_tensor_slices(X[:8]).batch(8)}
        options = {"validation_data": data[how]} if how in data else {"validation_split": 0.2}
        watching = keras.callbacks.EarlyStopping("val_distillation_loss", mode="min")
        history = distiller.fit(X, verbose=0, callbacks=[watching], **options).history
        logs = {key.removeprefix("val_"): v[0] for key, v in history.items() if key.startswith("val_")}
    held_out = X[32:] if how in ("split", "eagerly") else X[:8]
    assert set(logs) == {"loss", "total_loss", "distillation_loss", "soft_targets"}
    if how != "on_batch":
        expected = distiller.evaluate(held_out, verbose=0, return_dict=True)
        assert logs == pytest.approx(expected, rel=1e-4)
    by_hand = np.mean(losses.soft_targets(teacher(held_out), distiller.student(held_out), 2.0))
    assert logs["distillation_loss"] == pytest.approx(float(by_hand), rel=1e-4)


def test_weights_without_labels_are_refused_since_keras_drops_them(teacher):
    distiller = tfkd.Distiller(teacher, small_network(4), losses.SoftTargets(), student_loss_weight=0.0)
    distiller.compile("sgd")
    with pytest.raises(ValueError, match="`sample_weight` has no effect without `y`"):
        distiller.fit(X, sample_weight=np.zeros(len(X)), verbose=0)


def test_without_labels_no_accuracy_is_made_up(teacher):
    distiller = tfkd.Distiller(teacher, small_network(4), losses.SoftTargets())
    distiller.compile("sgd", LABELS_LOSS, metrics=["accuracy"])
    logs = distiller.fit(X, Y, verbose=0, validation_data=(X,)).history
    assert "val_accuracy" not in logs and "val_distillation_loss" in logs
    assert "accuracy" in distiller.evaluate(X, Y, verbose=0, return_dict=True)
    assert "accuracy" not in distiller.evaluate(X, verbose=0, return_dict=True)
    needing = tfkd.Distiller(
        teacher, small_network(4), losses.DecoupledKnowledge(), student_loss_weight=0.0
    )
    needing.compile("sgd")
    with pytest.raises(ValueError, match="`y` is missing: without labels there is nothing to evaluate"):
        needing.evaluate(X, verbose=0)


@pytest.mark.parametrize("ending", ["h5", "hdf5"])
def test_files_that_could_not_be_read_back_are_not_written(teacher, ending, tmp_path):
    distiller = tfkd.Distiller(teacher, small_network(4), losses.SoftTargets())
    bridged = tfkd.compression.prune(small_network(4), 0.5)
    for model, remedy in ((distiller, r"distiller\.student\.save"), (bridged, r"strip\(student\)\.save")):
        with pytest.raises(ValueError, match=rf"`filepath`.*could not be loaded again.*{remedy}"):
            model.save(tmp_path / f"model.{ending}")
        assert not list(tmp_path.iterdir())
    distiller.student.save(tmp_path / "student.h5")
    tfkd.compression.strip(bridged).save(tmp_path / "plain.h5")
    for name in ("student", "plain"):
        assert keras.models.load_model(tmp_path / f"{name}.h5", compile=False)(X).shape == (40, 4)


def test_export_is_the_students(teacher, tmp_path):
    distiller = tfkd.Distiller(teacher, small_network(4), losses.SoftTargets(), student_loss_weight=0.0)
    distiller.compile("sgd")
    distiller.fit(X, verbose=0)
    distiller.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(loaded.serve(X), distiller.student(X), rtol=1e-4, atol=1e-5)
