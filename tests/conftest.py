"""Small networks and data that every test can use."""

import ctypes
import gc
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# What XLA makes of these small networks runs a few times; compiling it takes the time.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd

# Garbage is looked for less often, and not in all that TensorFlow has imported.
gc.freeze()
gc.set_threshold(50_000, 20, 20)

# Two devices, so that tf.distribute has something to distribute to.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

SHAPE, CLASSES = (12, 12, 1), 4


def pytest_collection_modifyitems(items):
    """Marks what compiles with XLA, by the names that parameters and tests have for it."""
    for item in items:
        if "xla" in item.name.lower():
            item.add_marker(pytest.mark.xla)


@pytest.fixture(autouse=True)
def same_every_time():
    keras.utils.set_random_seed(7)


@pytest.fixture(autouse=True, scope="module")
def memory_given_back():
    """Gives back what a module's networks held, which the allocator would keep: gigabytes by the end."""
    yield
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(autouse=True)
def eagerly(request):
    """Runs a test that is marked so without graphs, which take longer to trace than a few steps run."""
    marks = {mark.name for mark in request.node.iter_markers()}
    if "eager" not in marks or marks & {"xla", "kill", "graph"} or "graph" in request.node.name:
        yield
        return
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(autouse=True)
def no_compiled_model(request, monkeypatch):
    """Files are not run by `CompiledModel`, too, which takes a process each, but where that is tested."""
    if request.node.path.name != "test_compiled_model.py":
        monkeypatch.setattr("tfkd.export._verification.compiled_outputs", lambda *_: None)


@pytest.fixture(autouse=True)
def nothing_takes_long(request, monkeypatch):
    """Lines about long work are off but in their own tests: a slow machine would print more of them."""
    if request.node.path.name != "test_long_work.py":
        monkeypatch.setattr("tfkd._core.progress.SECONDS", 1e6)


def blobs(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images with one bright blob in one of four corners, and which corner it is."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, n)
    rows = np.where(y < 2, 3, 8)[:, None, None] + rng.normal(0, 0.7, (n, 1, 1))
    columns = np.where(y % 2 == 0, 3, 8)[:, None, None] + rng.normal(0, 0.7, (n, 1, 1))
    grid = np.arange(SHAPE[0])
    distance = (grid[None, :, None] - rows) ** 2 + (grid[None, None, :] - columns) ** 2
    x = np.exp(-distance / 4) + rng.normal(0, 0.05, (n, *SHAPE[:2]))
    return np.clip(x, 0, 1)[..., None].astype("float32"), y


def small_network(width: int = 8, ending: str | None = None, name: str = "net") -> keras.Model:
    """Two convolutions with batch normalization and a classifier."""
    inputs = keras.Input(SHAPE, name="image")
    x = layers.Conv2D(width, 3, padding="same", use_bias=False, name="conv1")(inputs)
    x = layers.BatchNormalization(momentum=0.9, name="norm1")(x)
    x = layers.ReLU(name="relu1")(x)
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Conv2D(2 * width, 3, padding="same", activation="relu", name="conv2")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(CLASSES, activation=ending, name="logits")(x)
    return keras.Model(inputs, x, name=name)


def small_vit(blocks: int = 1, name: str = "vit") -> keras.Model:
    """A vision transformer: nine patches of 4 pixels behind a token of the class."""
    inputs = keras.Input(SHAPE, name="image")
    x = layers.Conv2D(8, 4, strides=4, name="patches")(inputs)
    x = layers.Reshape((9, 8), name="tokens")(x)
    x = layers.ZeroPadding1D((1, 0), name="with_class")(x)
    x = x + layers.Embedding(10, 8, name="places")(keras.ops.arange(10))
    for i in range(blocks):
        entering = layers.LayerNormalization(name=f"norm{i}")(x)
        attended = layers.MultiHeadAttention(2, 4, name=f"attention{i}")(entering, entering)
        x = layers.Add(name=f"block{i}")([x, attended])
    x = layers.LayerNormalization(name="norm")(x)[:, 0]
    return keras.Model(inputs, layers.Dense(CLASSES, name="logits")(x), name=name)


@pytest.fixture(scope="session")
def trained() -> keras.Model:
    """A small teacher with softmax output, trained on blobs."""
    keras.utils.set_random_seed(3)
    model = small_network(8, "softmax", "trained")
    model.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    x, y = blobs(512)
    model.fit(x, y, epochs=8, batch_size=64, verbose=0)
    return model


@pytest.fixture(scope="session")
def teacher_file(trained, tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("teacher") / "teacher.keras")
    trained.save(path)
    return path


@pytest.fixture(scope="session")
def teacher(teacher_file) -> keras.Model:
    """The same teacher as tfkd wants it: logits out."""
    return tfkd.load_teacher(teacher_file)


@pytest.fixture
def student() -> keras.Model:
    return small_network(4, name="student")


@pytest.fixture(scope="session")
def eval_file(tmp_path_factory) -> str:
    x, y = blobs(200, seed=1)
    path = str(tmp_path_factory.mktemp("data") / "eval.npz")
    np.savez(path, x_test=np.round(x[..., 0] * 255).astype("uint8"), y_test=y)
    return path


@pytest.fixture(scope="session")
def strategy() -> tf.distribute.Strategy:
    """Two replicas, the same for all tests: collectives of a second strategy are mixed up with its own."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
