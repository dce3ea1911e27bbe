import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd
from tests import harness
from tests.conftest import CLASSES, SHAPE, blobs, small_network
from tfkd import losses

LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@keras.saving.register_keras_serializable(package="tests")
class FeatureMatch(losses.KnowledgeLoss):
    """A loss on inner features with a trainable part."""

    def build(self, teacher_shape, student_shape):
        self.project = layers.Dense(teacher_shape[-1])
        self.project.build(student_shape)

    def call(self, teacher, student):
        return tf.reduce_mean((teacher - self.project(student)) ** 2, axis=(1, 2, 3))


def make(teacher, student, **kwargs):
    distiller = tfkd.Distiller(teacher, student, losses.SoftTargets(temperature=4), **kwargs)
    distiller.compile("adam", LABELS_LOSS, ["accuracy"])
    return distiller


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_fit_teaches_the_student_and_leaves_the_teacher_alone(teacher, student, jit_compile):
    before = harness.snapshot(teacher)
    distiller = tfkd.Distiller(teacher, student, losses.SoftTargets(temperature=4))
    distiller.compile(keras.optimizers.Adam(5e-3), LABELS_LOSS, ["accuracy"], jit_compile=jit_compile)
    x, y = blobs(512)
    history = distiller.fit(x, y, epochs=6, batch_size=32, validation_data=blobs(128, 1), verbose=0).history
    assert history["val_accuracy"][-1] > 0.9
    logged = {"loss", "total_loss", "accuracy", "student_loss", "distillation_loss", "soft_targets"}
    assert set(history) == logged | {f"val_{name}" for name in logged}
    assert history["total_loss"] == history["loss"] and history["val_total_loss"] == history["val_loss"]
    harness.assert_same_weights(before, teacher)
    assert not teacher.trainable


def test_one_step_by_hand(teacher):
    """The update equals the gradient of the documented total, written out with plain TensorFlow."""
    student, copy = (small_network(4) for _ in range(2))
    copy.set_weights(student.get_weights())
    x, y = blobs(16)
    weight = np.linspace(0, 2, 16).astype("float32")
    distiller = tfkd.Distiller(
        teacher, student, [losses.SoftTargets(temperature=2), losses.L1Logits()], [0.5, 2.0], 0.3
    )
    distiller.compile(keras.optimizers.SGD(0.1), LABELS_LOSS, jit_compile=False)
    distiller.train_on_batch(x, y, weight)

    with tf.GradientTape() as tape:
        s, t = copy(x, training=True), teacher(x, training=False)
        p = tf.nn.softmax(t / 2)
        kl = 4 * tf.reduce_sum(p * (tf.nn.log_softmax(t / 2) - tf.nn.log_softmax(s / 2)), -1)
        l1 = tf.reduce_mean(tf.abs(t - s), -1)
        labels = tf.nn.sparse_softmax_cross_entropy_with_logits(y, s)
        total = tf.reduce_mean(weight * (0.3 * labels + 0.7 * (0.5 * kl + 2.0 * l1)))
    variables = [v.value for v in copy.trainable_variables]
    for variable, gradient in zip(variables, tape.gradient(total, variables), strict=True):
        variable.assign_sub(0.1 * gradient)
    for ours, expected in zip(student.weights, copy.weights, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6, err_msg=expected.path)


def test_zero_sample_weights_teach_nothing(teacher, student):
    distiller = make(teacher, student)
    before = [v.numpy() for v in student.trainable_variables]
    distiller.train_on_batch(*blobs(8), np.zeros(8, "float32"))
    for kept, variable in zip(before, student.trainable_variables, strict=True):
        np.testing.assert_array_equal(kept, variable)


def test_regularization_of_the_student_is_counted(teacher):
    inputs = keras.Input(SHAPE)
    x = layers.Flatten()(inputs)
    student = keras.Model(inputs, layers.Dense(CLASSES, kernel_regularizer=keras.regularizers.L2(0.5))(x))
    distiller = make(teacher, student)
    penalty = float(student.losses[0])
    logs = distiller.train_on_batch(*blobs(8), return_dict=True)
    expected = 0.5 * logs["student_loss"] + 0.5 * logs["distillation_loss"] + penalty
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)
    assert penalty > 0.1


def test_batch_normalization_moves_once_a_step_and_not_in_evaluation(teacher, student):
    distiller = tfkd.Distiller(
        teacher,
        student,
        [losses.SoftTargets(), FeatureMatch("relu1", "relu1")],
        student_loss_weight=0.5,
    )
    distiller.compile(keras.optimizers.SGD(0.0), LABELS_LOSS)
    x, y = blobs(32)
    moving = student.get_layer("norm1").moving_mean
    batch_mean = np.asarray(student.get_layer("conv1")(x)).mean((0, 1, 2))
    distiller.train_on_batch(x, y)
    np.testing.assert_allclose(moving, 0.1 * batch_mean, rtol=1e-4, atol=1e-6)
    before = harness.snapshot(student)
    distiller.evaluate(x, y, verbose=0)
    distiller.predict(x, verbose=0)
    harness.assert_same_weights(before, student)


def test_trainable_parts_of_losses_are_trained_and_saved(teacher, student, tmp_path):
    match = FeatureMatch("relu1", "relu1", name="match")
    distiller = tfkd.Distiller(teacher, student, match, student_loss_weight=0.0)
    distiller.compile(keras.optimizers.SGD(0.1))
    x, _ = blobs(16)
    distiller.train_on_batch(x)
    before = match.project.kernel.numpy()
    distiller.train_on_batch(x)
    assert not np.array_equal(before, match.project.kernel)
    distiller.save_weights(tmp_path / "d.weights.h5")
    kept = match.project.kernel.numpy()
    match.project.kernel.assign(0 * kept)
    distiller.load_weights(tmp_path / "d.weights.h5")
    np.testing.assert_array_equal(match.project.kernel, kept)


def test_the_teacher_is_in_no_file_and_in_no_variable_list(teacher, student, tmp_path):
    distiller = make(teacher, student)
    distiller.save_weights(tmp_path / "d.weights.h5")
    mine = {id(v) for v in distiller.variables}
    assert not mine & {id(v) for v in teacher.variables}
    import h5py

    kernels = []
    with h5py.File(tmp_path / "d.weights.h5") as file:
        file.visititems(lambda name, item: kernels.append(item.shape) if hasattr(item, "shape") else None)
    assert (3, 3, 1, 4) in kernels and (3, 3, 1, 8) not in kernels


def test_predict_and_evaluate_without_the_teacher_are_the_students(teacher, student):
    distiller = make(teacher, student)
    distiller.compile("adam", LABELS_LOSS, ["accuracy"], evaluate_teacher=False)
    x, y = blobs(64)
    student.compile(loss=LABELS_LOSS, metrics=["accuracy"])
    expected = student.evaluate(x, y, return_dict=True, verbose=0)
    results = distiller.evaluate(x, y, return_dict=True, verbose=0)
    assert results.pop("student_loss") == results["loss"]
    assert results == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(distiller.predict(x, verbose=0), student.predict(x, verbose=0))


def test_evaluation_with_the_teacher_is_the_documented_total(teacher, student):
    distiller = make(teacher, student, student_loss_weight=0.3)
    x, y = blobs(40)
    before = harness.snapshot(student)
    results = distiller.evaluate(x, y, batch_size=16, return_dict=True, verbose=0)
    harness.assert_same_weights(before, student)
    t, s = (model.predict(x, verbose=0) for model in (teacher, student))
    soft = np.mean(losses.soft_targets(t, s, 4.0))
    hard = float(LABELS_LOSS(y, s))
    assert results["distillation_loss"] == results["soft_targets"] == pytest.approx(soft, rel=1e-4)
    assert results["student_loss"] == pytest.approx(hard, rel=1e-4)
    assert results["total_loss"] == results["loss"] == pytest.approx(0.3 * hard + 0.7 * soft, rel=1e-4)


def test_validation_losses_can_be_monitored(teacher, student, tmp_path):
    callbacks = [
        keras.callbacks.EarlyStopping("val_total_loss", mode="min", patience=0, min_delta=1e9),
        keras.callbacks.ModelCheckpoint(
            tmp_path / "best.weights.h5",
            "val_distillation_loss",
            mode="min",
            save_best_only=True,
            save_weights_only=True,
        ),
    ]
    with warnings.catch_warnings():
        # Keras warns where a monitored figure is missing.
        warnings.simplefilter("error", UserWarning)
        history = make(teacher, student).fit(
            *blobs(64), epochs=3, validation_data=blobs(32, 1), callbacks=callbacks, verbose=0
        )
    assert len(history.epoch) == 2 and (tmp_path / "best.weights.h5").exists()


def test_evaluation_leaves_out_what_it_cannot_measure(teacher, student):
    x, y = blobs(16)
    without_labels = make(teacher, student).evaluate(x, return_dict=True, verbose=0)
    assert set(without_labels) == {"distillation_loss", "soft_targets"}
    needs_index = losses.Contrastive(*("logits:input",) * 2, examples=32, negatives=4, dimension=4)
    distiller = tfkd.Distiller(teacher, small_network(4), needs_index)
    distiller.compile("adam", LABELS_LOSS)
    assert set(distiller.evaluate(x, y, return_dict=True, verbose=0)) == {"loss", "student_loss"}


def test_a_weight_of_zero_measures_without_teaching(teacher):
    x, y = blobs(32)
    students = [small_network(4) for _ in range(2)]
    students[1].set_weights(students[0].get_weights())
    chosen = [losses.SoftTargets(), losses.L1Logits()]
    for student, given, weights in ((students[0], chosen, [1.0, 0.0]), (students[1], chosen[:1], [1.0])):
        distiller = tfkd.Distiller(teacher, student, given, weights)
        distiller.compile(keras.optimizers.SGD(0.1), LABELS_LOSS)
        history = distiller.fit(x, y, shuffle=False, verbose=0).history
        assert ("l1_logits" in history) == (len(given) == 2)
    for ours, theirs in zip(*(student.get_weights() for student in students), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_without_labels(teacher, student):
    distiller = tfkd.Distiller(teacher, student, losses.SoftTargets(), student_loss_weight=0.0)
    distiller.compile("adam")
    x, _ = blobs(64)
    history = distiller.fit(x, epochs=3, batch_size=16, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


def test_training_resumes_to_the_same_weights(teacher, tmp_path):
    x, y = blobs(64)

    def fresh():
        keras.utils.set_random_seed(1)
        distiller = make(teacher, small_network(4))
        distiller.optimizer.build(distiller.trainable_variables)
        return distiller

    whole = fresh()
    whole.fit(x, y, epochs=4, shuffle=False, verbose=0)
    first = fresh()
    first.fit(x, y, epochs=2, shuffle=False, verbose=0)
    first.save_weights(tmp_path / "half.weights.h5")
    second = fresh()
    second.load_weights(tmp_path / "half.weights.h5")
    second.fit(x, y, epochs=4, initial_epoch=2, shuffle=False, verbose=0)
    for expected, weight in zip(whole.student.weights, second.student.weights, strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_student_of_a_float32_teacher(teacher, policy):
    keras.config.set_dtype_policy(policy)
    try:
        student = small_network(4)
    finally:
        keras.config.set_dtype_policy("float32")
    distiller = make(teacher, student)
    logs = distiller.train_on_batch(*blobs(16), return_dict=True)
    assert np.isfinite(logs["loss"])


def test_losses_of_one_class_keep_their_own_names(teacher, student):
    distiller = tfkd.Distiller(teacher, student, [losses.SoftTargets(2.0), losses.SoftTargets(4.0)])
    distiller.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), ["accuracy"])
    history = distiller.fit(*blobs(32), validation_data=blobs(16), verbose=0).history
    assert {"soft_targets", "soft_targets_1"} <= history.keys()
    assert history["soft_targets"] != history["soft_targets_1"]
    assert history["val_soft_targets"] != history["val_soft_targets_1"]


def test_missing_labels_are_said(teacher, student):
    distiller = make(teacher, student)
    with pytest.raises(ValueError, match="`y` is missing"):
        distiller.fit(blobs(16)[0], verbose=0)


def test_float16_students_train_with_scaled_losses(teacher):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        student = small_network(4)
    finally:
        keras.config.set_dtype_policy("float32")
    distiller = make(teacher, student)
    assert isinstance(distiller.optimizer, keras.optimizers.LossScaleOptimizer)
    before = harness.snapshot(student)
    distiller.fit(*blobs(64), epochs=2, verbose=0)
    harness.assert_other_weights(before, student.weights)


def test_dropout_resumes_from_weight_files(teacher, tmp_path):
    def made():
        head = [layers.Flatten(), layers.Dropout(0.5), layers.Dense(CLASSES)]
        return make(teacher, keras.Sequential([keras.Input(SHAPE), *head]))

    first, second = made(), made()
    first.fit(*blobs(64), verbose=0)
    first.save_weights(tmp_path / "d.weights.h5")
    second.optimizer.build(second.trainable_variables)
    second.load_weights(tmp_path / "d.weights.h5")
    logs = [d.train_on_batch(*blobs(16), return_dict=True) for d in (first, second)]
    assert logs[0]["distillation_loss"] == pytest.approx(logs[1]["distillation_loss"], rel=1e-5)


def test_auto_is_the_plain_graph_on_a_cpu(teacher, student):
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU, where auto means XLA")
    assert make(teacher, student).jit_compile is False


def test_bad_arguments(teacher, student):
    kd = losses.SoftTargets()
    own_layers = keras.Model(teacher.inputs, teacher.outputs)
    other_classes = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(CLASSES + 1)])
    other_shape = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(CLASSES)])
    for build, error, message in (
        (
            lambda: tfkd.Distiller("t.keras", student, kd),
            ValueError,
            "`teacher` must be a keras.Model",
        ),
        (lambda: tfkd.Distiller(teacher, None, kd), ValueError, "`student` must be a keras.Model"),
        (lambda: tfkd.Distiller(teacher, own_layers, kd), ValueError, "`student` shares trainable weights"),
        (lambda: tfkd.Distiller(teacher, student, kd, [-1.0]), ValueError, "must be finite and at least 0"),
        (
            lambda: tfkd.Distiller(teacher, other_classes, kd),
            ValueError,
            "same output shape.*one output per class",
        ),
        (lambda: tfkd.Distiller(teacher, other_shape, kd), ValueError, "same input shape"),
        (lambda: tfkd.Distiller(teacher, student, "kl"), TypeError, "`distillation_losses`"),
        (lambda: tfkd.Distiller(teacher, student, []), ValueError, "empty"),
        (
            lambda: tfkd.Distiller(teacher, student, [kd], [1.0, 2.0]),
            ValueError,
            "one weight for each of the 1",
        ),
        (
            lambda: tfkd.Distiller(teacher, student, kd, student_loss_weight=1.5),
            ValueError,
            "between 0",
        ),
        (
            lambda: tfkd.Distiller(teacher, student, losses.SoftTargets(teacher_layer="relu")),
            ValueError,
            "No layer 'relu'",
        ),
        (
            lambda: tfkd.Distiller(teacher, student, kd).compile("adam"),
            ValueError,
            "`loss` cannot be None",
        ),
    ):
        with pytest.raises(error, match=message):
            build()
