import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import tfkd
from tests.conftest import CLASSES, SHAPE, blobs, small_network
from tfkd._core.fingerprints import fingerprint
from tfkd.tasks._endings import are_probabilities

pytestmark = pytest.mark.slow


def black_box(model, **options):
    return tfkd.BlackBoxTeacher(lambda images: model(images).numpy(), SHAPE, CLASSES, **options)


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """The trained teacher, softmax included, as a SavedModel."""
    path = str(tmp_path_factory.mktemp("saved") / "blobs")
    trained.export(path, verbose=False)
    return path


def converted(folder, path, quantized=False):
    """A TFLite file with an open batch, which its authors' own tools would make."""
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    if quantized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in blobs(64)[0])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.int8
    path.write_bytes(converter.convert())
    return path


def test_probabilities_become_the_papers_logits(trained):
    x, _ = blobs(8)
    teacher = black_box(trained)
    logits = teacher(x).numpy()
    log_p = np.log(np.clip(trained(x).numpy().astype("float64"), 1e-7, 1))
    np.testing.assert_allclose(logits, log_p - log_p.mean(-1, keepdims=True), rtol=1e-4, atol=1e-4)
    assert logits.dtype == "float32"
    certain = tfkd.BlackBoxTeacher(lambda images: np.eye(4)[[0] * len(images)], SHAPE, 4)
    np.testing.assert_allclose(
        certain(x)[0], np.array([0.75, -0.25, -0.25, -0.25]) * -np.log(1e-7), rtol=1e-5
    )


def test_logits_come_as_they_are_in_graphs_and_in_predict(teacher):
    box = black_box(teacher, from_logits=True, name="service")
    x, _ = blobs(10)
    expected = teacher(x)
    assert box.black_box and tfkd.BlackBoxTeacher.black_box and box.built and not box.weights
    assert box.input_shape == (None, *SHAPE) and box.output_shape == (None, CLASSES)
    np.testing.assert_allclose(box(x), expected, rtol=1e-5)
    traced = tf.function(box, input_signature=[tf.TensorSpec((None, *SHAPE))])
    np.testing.assert_allclose(traced(x), expected, rtol=1e-5)
    assert traced.get_concrete_function().structured_outputs.shape == (None, CLASSES)
    assert box.queries == 20
    np.testing.assert_allclose(box.predict(x, batch_size=4, verbose=0), expected, rtol=1e-5)
    assert box.queries == 30 and type(box.queries) is int


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            lambda images: np.ones((len(images), 3)) / 3,
            r"numbers of shape \(5, 4\).*Received: shape \(5, 3\)",
        ),
        (lambda images: np.ones((1, 4)) / 4, r"Received: shape \(1, 4\)"),
        (lambda images: np.full((len(images), 4), "cat"), "must return numbers"),
        (lambda images: np.full((len(images), 4), np.nan), "NaN or infinite"),
        (
            lambda images: np.full((len(images), 4), 0.5),
            r"rows from 0 to 1 that sum to 1.*from_logits=True",
        ),
        (lambda images: np.tile([2.0, -1.0, 0.0, 0.0], (len(images), 1)), r"values from -1 to 2"),
    ],
)
def test_wrong_answers_are_refused(answers, message):
    with pytest.raises(ValueError, match=message):
        tfkd.BlackBoxTeacher(answers, SHAPE, 4)(blobs(5)[0])


def test_bad_arguments():
    def ask(images):
        return images

    with pytest.raises(TypeError, match="`function` must be callable"):
        tfkd.BlackBoxTeacher("cat", SHAPE, 4)
    for shape in ((), (12, None, 1), (0, 12, 1)):
        with pytest.raises(ValueError, match="`input_shape` must be"):
            tfkd.BlackBoxTeacher(ask, shape, 4)
    for classes in (1, 2.5, True, (), (3, 0)):
        with pytest.raises(ValueError, match="`classes` must"):
            tfkd.BlackBoxTeacher(ask, SHAPE, classes)


def one_layer():
    return keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(CLASSES)])


def test_a_student_learns_from_a_black_box(trained):
    x, _ = blobs(32)
    student = one_layer()
    teacher = black_box(trained)
    distiller = tfkd.Distiller(teacher, student, tfkd.losses.SoftTargets(), student_loss_weight=0.0)
    with pytest.warns(UserWarning, match="jit_compile"):
        distiller.compile("adam", jit_compile=True)
    history = distiller.fit(x, batch_size=16, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0] and teacher.queries == 96
    expected = tfkd.losses.soft_targets(np.log(np.clip(trained(x), 1e-7, 1)), student(x), temperature=4.0)
    ours = tfkd.losses.soft_targets(teacher(x), student(x), temperature=4.0)
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-5)


def test_cached_answers_belong_to_the_black_box(trained):
    x, _ = blobs(32)
    student = one_layer()
    teacher = black_box(trained)
    assert fingerprint(teacher) == fingerprint(black_box(trained, name="other"))
    assert fingerprint(teacher) != fingerprint(black_box(small_network(4, "softmax")))
    data = tfkd.cache_teacher(tf.data.Dataset.from_tensor_slices(x).batch(16), teacher)
    asked = teacher.queries
    distiller = tfkd.Distiller(teacher, student, tfkd.losses.SoftTargets(), student_loss_weight=0.0)
    distiller.compile("adam")
    distiller.fit(data, epochs=2, verbose=0)
    # Once more to be told by its answers, but no epoch asks it.
    assert teacher.queries == asked + 128


def test_saved_model_folder(folder, trained):
    teacher = tfkd.load_teacher(folder)
    assert teacher.black_box and teacher.name == "blobs" and teacher.input_shape == (None, *SHAPE)
    x, _ = blobs(20)
    np.testing.assert_allclose(ops.softmax(teacher(x)), trained(x), atol=1e-5)


def test_scaling_happens_before_the_file_is_asked(folder, trained):
    teacher = tfkd.load_teacher(folder, input_range=(-1, 1), mean=[-0.1], std=1.9)
    x, _ = blobs(20)
    np.testing.assert_allclose(ops.softmax(teacher(x)), trained((2 * x - 1 + 0.1) / 1.9), atol=1e-5)


def test_tflite_file(folder, trained, tmp_path):
    teacher = tfkd.load_teacher(converted(folder, tmp_path / "open.tflite"))
    assert teacher.name == "open" and not isinstance(teacher, tfkd.BlackBoxTeacher)
    x, _ = blobs(20)
    np.testing.assert_allclose(ops.softmax(teacher(x)), trained(x), atol=1e-5)


def test_quantized_tflite_file(folder, trained, tmp_path):
    """Its probabilities are multiples of 1/256, so small ones are 0 and rows sum to about 1."""
    teacher = tfkd.load_teacher(converted(folder, tmp_path / "int8.tflite", quantized=True))
    assert not teacher.from_logits
    x, y = blobs(100)
    logits = teacher(x).numpy()
    assert np.abs(ops.softmax(logits) - trained(x)).mean() < 0.02
    assert np.mean(logits.argmax(-1) == y) > 0.9
    # No class is thought impossible because its probability was rounded.
    assert (logits.max(-1) - logits.min(-1)).max() < 8


def fixed_batch(function, path, batch, shape=SHAPE):
    signature = [tf.TensorSpec((batch, *shape), name="image")]
    concrete = tf.function(function, input_signature=signature).get_concrete_function()
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module()).convert())
    return path


def pooled(images):
    """Four logits that say which corner is brightest, by way of an operator that is not rebuilt."""
    return 20 * tf.reshape(tf.nn.avg_pool2d(tf.abs(images), 6, 6, "VALID"), (-1, 4))


@pytest.mark.parametrize("batch", [1, 3])
def test_tflite_file_with_a_fixed_batch(tmp_path, batch):
    teacher = tfkd.load_teacher(fixed_batch(pooled, tmp_path / "m.tflite", batch))
    x, y = blobs(10)
    np.testing.assert_allclose(teacher(x), pooled(x), rtol=1e-4)
    assert teacher.from_logits and np.mean(teacher(x).numpy().argmax(-1) == y) == 1


def test_several_outputs_and_images_without_channels(tmp_path):
    def two(images):
        return {"corner": pooled(images[..., None]), "brightness": tf.reduce_mean(images, (1, 2))[:, None]}

    path = fixed_batch(two, tmp_path / "m.tflite", 1, SHAPE[:2])
    with pytest.raises(ValueError, match=r"`output`.*--teacher_output.*brightness"):
        tfkd.load_teacher(path)
    x, _ = blobs(10)
    teacher = tfkd.load_teacher(path, output="corner")
    assert teacher.input_shape == (None, *SHAPE)
    np.testing.assert_allclose(teacher(x), pooled(x), rtol=1e-4)
    with pytest.raises(ValueError, match="from_logits=True if it is a logit"):
        tfkd.load_teacher(path, output="brightness")


@pytest.mark.parametrize("from_logits", [True, False])
def test_one_output_becomes_two_classes(tmp_path, from_logits):
    def right(images):
        z = 10 * tf.reduce_mean(images[:, :, 6:] - images[:, :, :6], (1, 2))
        return z if from_logits else tf.sigmoid(z)

    teacher = tfkd.load_teacher(fixed_batch(right, tmp_path / "m.tflite", 1), from_logits=from_logits)
    x, y = blobs(50)
    z = 10 * (x[:, :, 6:] - x[:, :, :6]).mean((1, 2))[:, 0]
    logits = teacher(x).numpy()
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], z, rtol=1e-3, atol=1e-4)
    assert np.mean(logits.argmax(-1) == y % 2) > 0.95


def test_files_that_cannot_be_used(tmp_path):
    (tmp_path / "text.tflite").write_text("no network")
    with pytest.raises(ValueError, match=r"text.tflite' cannot be used as a TFLite file"):
        tfkd.load_teacher(tmp_path / "text.tflite")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"is not a \.keras, \.h5 or \.tflite file or a SavedModel folder"):
        tfkd.load_teacher(tmp_path / "empty")
    (tmp_path / "empty" / "saved_model.pb").write_text("no network")
    with pytest.raises(ValueError, match="cannot be used as a SavedModel"):
        tfkd.load_teacher(tmp_path / "empty")
    tf.saved_model.save(tf.Module(), str(tmp_path / "silent"))
    with pytest.raises(ValueError, match="must have a signature 'serving_default'"):
        tfkd.load_teacher(tmp_path / "silent")


def test_what_counts_as_probabilities():
    assert are_probabilities(np.array([[0.2, 0.8], [1.0, 0.0]]))
    for rows in ([[0.2, 0.7]], [[1.5, -0.5]], [[0.2, 0.8], [3.0, 1.0]]):
        assert not are_probabilities(np.array(rows))
    assert are_probabilities(np.array([[0.2, 0.7]]), "sigmoid")
    assert not are_probabilities(np.array([[1.5, -0.5]]), "sigmoid")


def test_black_boxes_of_numbers_and_labels_are_told_apart():
    weights = np.random.default_rng(0).normal(size=(144, 3)).astype("float32")

    def box(function, task="regression"):
        return tfkd.BlackBoxTeacher(
            lambda x: function(x.reshape(len(x), -1) @ weights), SHAPE, 3, True, task=task
        )

    def noisy(z):
        return z * (1 + 1e-6 * np.random.default_rng().normal(size=z.shape))

    first = fingerprint(box(lambda z: z))
    assert fingerprint(box(noisy)) == first
    # The commonest of each answer is the same in all of these.
    others = [
        lambda z: 2 * z,
        lambda z: z + 1,
        lambda z: z - z.max(-1, keepdims=True),
        lambda z: np.exp(z / 9),
    ]
    assert len({first, *(fingerprint(box(each)) for each in others)}) == 5
    other_label = fingerprint(box(lambda z: z * [1, 1, -1], "multi_label"))
    assert other_label != fingerprint(box(lambda z: z, "multi_label"))


def test_a_black_box_does_its_own_scaling(trained):
    with pytest.raises(ValueError, match="is already a black box"):
        tfkd.load_teacher(black_box(trained), input_range=(0, 255))


def test_a_black_box_is_in_no_file(trained, tmp_path):
    with pytest.raises(NotImplementedError):
        black_box(trained).save(tmp_path / "box.keras")
