"""What keras.distillation gets wrong (3.12 to 3.15), and that tfkd does it as documented.

One test for each fault, in the order of the list in the project's reference notes.
"""

import io
import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd
from tests import harness
from tests.conftest import CLASSES, SHAPE, blobs, small_network
from tfkd.losses._keras_losses import as_knowledge_loss

# Keras before 3.12 has none.
distillation = pytest.importorskip("keras.distillation")

pytestmark = pytest.mark.slow

LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
T, S = np.array([[8.0, 0.0, -2.0]], "float32"), np.array([[1.0, 2.0, 0.5]], "float32")


def value(loss, teacher=T, student=S):
    return float(np.mean(as_knowledge_loss(loss)(teacher, student)))


def step(teacher, student, loss, *data, share=0.0, **kwargs):
    """One step of a distiller without learning; its logs."""
    distiller = tfkd.Distiller(teacher, student, loss, None, share)
    distiller.compile(keras.optimizers.SGD(0.0), LABELS_LOSS, **kwargs)
    return distiller, distiller.train_on_batch(*(data or blobs(16)), return_dict=True)


@pytest.mark.parametrize("loss", ["kl_divergence", "KLDivergence", keras.losses.KLDivergence()])
def test_1_the_default_is_kl_of_softened_probabilities(loss):
    assert value(distillation.LogitsDistillation(4.0, loss)) == pytest.approx(8.7303, abs=1e-4)
    negative = value(distillation.LogitsDistillation(4.0, loss), T - 10, S - 10)
    assert negative == pytest.approx(8.7303, abs=1e-4)
    assert value(distillation.LogitsDistillation()) == pytest.approx(
        float(tfkd.losses.soft_targets(T, S, 3.0)[0])
    )


def test_2_saturated_logits_keep_value_and_gradient():
    loss = as_knowledge_loss(distillation.LogitsDistillation(1.0, keras.losses.KLDivergence()))
    student = tf.Variable([[0.0, 40.0]])
    with tf.GradientTape() as tape:
        exact = loss(tf.constant([[40.0, 0.0]]), student.value())
    np.testing.assert_allclose(exact, [40.0], rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(exact, student), [[-1.0, 1.0]], rtol=1e-6)


def test_3_other_losses_are_scaled_too():
    """Squared differences of scaled logits times T² are those of the logits; cross-entropies get
    probabilities."""
    assert value(distillation.LogitsDistillation(4.0, "mse")) == pytest.approx(
        np.mean((T - S) ** 2), rel=1e-5
    )
    p = tf.nn.softmax(T / 4)
    expected = 16 * tf.nn.softmax_cross_entropy_with_logits(p, S / 4)
    for loss in (
        "categorical_crossentropy",
        keras.losses.CategoricalCrossentropy(from_logits=True),
        keras.losses.CategoricalCrossentropy(),
    ):
        assert value(distillation.LogitsDistillation(4.0, loss)) == pytest.approx(
            float(expected[0]), rel=1e-5
        )
    bits = 16 * np.mean(tf.nn.sigmoid_cross_entropy_with_logits(tf.nn.sigmoid(T / 4), S / 4))
    assert value(distillation.LogitsDistillation(4.0, "binary_crossentropy")) == pytest.approx(
        bits, rel=1e-5
    )


def test_4_mixed_float16_students_of_float32_teachers(teacher):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        student = small_network(4)
    finally:
        keras.config.set_dtype_policy("float32")
    _, logs = step(teacher, student, distillation.LogitsDistillation())
    assert np.isfinite(logs["loss"])


def test_5_and_6_batch_normalization_moves_once_a_step_and_never_in_evaluation(teacher, student):
    loss = distillation.FeatureDistillation("mse", "conv1", "conv1")
    wide = small_network(8)
    x, y = blobs(32)
    batch_mean = np.asarray(wide.get_layer("conv1")(x)).mean((0, 1, 2))
    distiller, _ = step(teacher, wide, loss, x, y)
    np.testing.assert_allclose(wide.get_layer("norm1").moving_mean, 0.1 * batch_mean, rtol=1e-4, atol=1e-6)
    before = harness.snapshot(wide)
    distiller.evaluate(x, y, verbose=0)
    harness.assert_same_weights(before, wide)


def test_7_sample_weights_count(teacher, student):
    x, y = blobs(16)
    half = np.repeat([1.0, 0.0], 8).astype("float32")
    for share in (0.0, 0.5):
        _, logs = step(teacher, student, distillation.LogitsDistillation(), x, y, half, share=share)
        # Without batch normalization in the way: the first layers see the same statistics.
        _, double = step(teacher, student, distillation.LogitsDistillation(), x, y, 2 * half, share=share)
        assert double["loss"] == pytest.approx(2 * logs["loss"], rel=1e-2)
        _, none = step(teacher, student, distillation.LogitsDistillation(), x, y, 0 * half, share=share)
        assert none["loss"] == pytest.approx(0.0, abs=1e-6)


def test_8_channels_that_differ_are_named_with_the_remedy(teacher, student):
    with pytest.raises(ValueError, match=r"same shape.*12, 12, 8\), student.*12, 12, 4\).*projector"):
        step(teacher, student, distillation.FeatureDistillation("mse", "conv1", "conv1"))
    _, logs = step(teacher, student, tfkd.losses.Hint("conv1", "conv1", projector=True))
    assert np.isfinite(logs["loss"])


@keras.saving.register_keras_serializable(package="tests")
class Projected(distillation.DistillationLoss):
    def __init__(self):
        self.teacher_layer_name = self.student_layer_name = "relu1"
        self.projector = layers.Conv2D(8, 1)

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        return keras.ops.mean((teacher_outputs - self.projector(student_outputs)) ** 2)

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls()


def test_9_projectors_inside_custom_losses_are_trained_and_saved(teacher, student, tmp_path):
    loss = Projected()
    distiller = tfkd.Distiller(teacher, student, [loss], student_loss_weight=0.0)
    distiller.compile(keras.optimizers.SGD(0.1))
    distiller.train_on_batch(*blobs(8))
    before = loss.projector.kernel.numpy()
    distiller.train_on_batch(*blobs(8))
    assert not np.array_equal(before, loss.projector.kernel)
    distiller.save_weights(tmp_path / "d.weights.h5")
    kept = loss.projector.kernel.numpy()
    loss.projector.kernel.assign(0 * kept)
    distiller.load_weights(tmp_path / "d.weights.h5")
    np.testing.assert_array_equal(loss.projector.kernel, kept)


def test_10_a_student_layer_alone_is_used(teacher):
    inputs = keras.Input(SHAPE)
    x = layers.Dense(CLASSES, name="head")(layers.Flatten()(inputs))
    student = keras.Model(inputs, layers.Rescaling(100.0)(x))
    x, _ = blobs(8)
    _, logs = step(teacher, student, distillation.FeatureDistillation("mse", student_layer_name="head"), x)
    expected = np.mean((teacher(x) - student(x) / 100) ** 2)
    assert logs["loss"] == pytest.approx(float(expected), rel=1e-4)
    with pytest.raises(ValueError, match=r"No layer 'haed'.*head"):
        tfkd.Distiller(teacher, student, distillation.FeatureDistillation(student_layer_name="haed"))


@pytest.mark.parametrize(
    "loss",
    [
        distillation.LogitsDistillation(4.0),
        distillation.FeatureDistillation("mse", "flat", "flat"),
        Projected(),
        tfkd.losses.Hint("relu1", "relu1", projector=True),
    ],
    ids=["logits", "features", "custom", "projector"],
)
def test_11_files_hold_no_teacher_and_training_goes_on(loss, teacher, tmp_path):
    student = small_network(8)
    distiller = tfkd.Distiller(teacher, student, loss)
    distiller.compile(keras.optimizers.Adam(1e-2), LABELS_LOSS, ["accuracy"])
    x, y = blobs(32)
    distiller.fit(x, y, batch_size=16, shuffle=False, verbose=0)
    path = tmp_path / "distiller.keras"
    distiller.save(path)
    loaded = keras.models.load_model(path)
    np.testing.assert_allclose(loaded.predict(x, verbose=0), distiller.predict(x, verbose=0))
    with pytest.raises(ValueError, match=r"Set distiller\.teacher = teacher"):
        loaded.fit(x, y, verbose=0)
    loaded.teacher = teacher
    for model in (distiller, loaded):
        model.fit(x, y, batch_size=16, shuffle=False, verbose=0)
    for ours, theirs in zip(loaded.student.weights, distiller.student.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6, err_msg=ours.path)


def test_11_only_the_same_teacher_can_go_on(teacher, student, tmp_path):
    distiller, _ = step(teacher, student, tfkd.losses.SoftTargets())
    distiller.save(tmp_path / "d.keras")
    loaded = keras.models.load_model(tmp_path / "d.keras")
    with pytest.raises(ValueError, match="must be the one the distiller was saved with"):
        loaded.teacher = small_network(8)
    loaded.teacher = teacher
    assert not {id(v) for v in loaded.variables} & {id(v) for v in teacher.variables}
    with zipfile.ZipFile(tmp_path / "d.keras") as archive, archive.open("model.weights.h5") as file:
        kernels = []
        h5py.File(io.BytesIO(file.read())).visititems(
            lambda name, item: kernels.append(getattr(item, "shape", ()))
        )
    assert (3, 3, 1, 4) in kernels and (3, 3, 1, 8) not in kernels


def test_12_logits_with_a_loss_of_probabilities_are_warned_of(teacher, student):
    distiller = tfkd.Distiller(teacher, student, tfkd.losses.SoftTargets())
    for loss in ("sparse_categorical_crossentropy", keras.losses.SparseCategoricalCrossentropy()):
        with pytest.warns(tfkd.LogitsWarning, match="returns logits.*from_logits=True"):
            distiller.compile("adam", loss)
    softmax = small_network(4, "softmax")
    with pytest.warns(tfkd.LogitsWarning, match="expects logits from the student.*softmax"):
        distiller = tfkd.Distiller(teacher, softmax, distillation.LogitsDistillation())
    distiller.compile("adam", "sparse_categorical_crossentropy")
    with warnings.catch_warnings():
        warnings.simplefilter("error", tfkd.LogitsWarning)
        distiller = tfkd.Distiller(teacher, student, [tfkd.losses.SoftTargets(), tfkd.losses.DIST()])
        distiller.compile("adam", LABELS_LOSS)
        distiller.compile("adam", "mse")


def test_arguments_as_keras_takes_them(teacher, student):
    one = distillation.LogitsDistillation(temperature=3.0)
    tfkd.Distiller(teacher, student, one, None, 0.5, "mine")
    features = distillation.FeatureDistillation(teacher_layer_name="relu1", student_layer_name="relu1")
    distiller = tfkd.Distiller(
        teacher=teacher,
        student=student,
        distillation_losses=[one, features],
        distillation_loss_weights=[1.0, 0.5],
        student_loss_weight=0,
        name="keywords",
    )
    assert distiller.name == "keywords" and distiller.student is student and distiller.teacher is teacher


def test_the_same_step_as_keras_where_keras_is_right(teacher):
    """KLDivergence as an object, far from saturation."""
    weights = small_network(4).get_weights()
    x, y = blobs(16)
    after = []
    for module in (tfkd, distillation):
        student = small_network(4)
        student.set_weights(weights)
        loss = distillation.LogitsDistillation(10.0, keras.losses.KLDivergence())
        # Keras freezes its teacher.
        copy = keras.models.clone_model(teacher)
        copy.set_weights(teacher.get_weights())
        distiller = module.Distiller(copy, student, loss, student_loss_weight=0.3)
        distiller.compile(keras.optimizers.SGD(0.1), LABELS_LOSS)
        distiller.train_on_batch(x, y)
        after.append(student.get_weights())
    for ours, theirs in zip(*after, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [list, dict])
def test_nested_outputs_with_a_loss_each(kind):
    def model():
        inputs = keras.Input(SHAPE)
        x = layers.Flatten()(inputs)
        heads = {name: layers.Dense(n, name=name)(x) for name, n in (("a", 3), ("b", 5))}
        return keras.Model(inputs, heads if kind is dict else [*heads.values()])

    teacher, student = model(), model()
    x = blobs(8)[0]
    t, s = (keras.tree.flatten(m(x)) for m in (teacher, student))
    structure = {"a": "mse", "b": None} if kind is dict else ["mse", None]
    _, logs = step(teacher, student, distillation.FeatureDistillation(structure), x)
    assert logs["loss"] == pytest.approx(float(np.mean((t[0] - s[0]) ** 2)), rel=1e-4)
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(as_knowledge_loss(distillation.FeatureDistillation(structure)))
    )
    np.testing.assert_allclose(copy(teacher(x), student(x)), np.mean((t[0] - s[0]) ** 2, -1), rtol=1e-4)
    _, logs = step(teacher, student, tfkd.losses.SoftTargets(2.0), x)
    both = sum(np.mean(tfkd.losses.soft_targets(a, b, 2.0)) for a, b in zip(t, s, strict=True))
    assert logs["loss"] == pytest.approx(float(both), rel=1e-4)


def test_custom_losses_must_return_scalars(teacher, student):
    class PerExample(distillation.DistillationLoss):
        def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
            return keras.ops.mean(teacher_outputs, axis=-1)

    with pytest.raises(ValueError, match=r"PerExample.compute_loss must return a scalar.*\(16,\)"):
        step(teacher, student, PerExample())
