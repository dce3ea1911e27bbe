"""What examples about images take for granted: a reader's networks, data and files."""

import pathlib
import types
from functools import cached_property

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tfkd

SHAPE, CLASSES, EXAMPLES = (32, 32, 3), 10, 40
LABELS = [f"class {number}" for number in range(CLASSES)]


def network(width: int, name: str) -> keras.Model:
    """Small, with the names of layers that examples have."""
    inputs = keras.Input(SHAPE, name="image")
    x = layers.Conv2D(width, 3, strides=4, padding="same", name="conv1")(inputs)
    x = layers.ReLU(name="relu1")(x)
    x = layers.Identity(name="stem")(x)
    for number in range(1, 4):
        x = _block(x.shape[1:], width, f"block{number}")(x)
        x = layers.Identity(name=f"stage{number}")(x)
    x = layers.Conv2D(2 * width, 3, padding="same", name="conv2")(x)
    x = layers.ReLU(name="relu2")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(CLASSES, activation="relu", name="dense")(x)
    return keras.Model(inputs, layers.Dense(CLASSES, name="logits")(x), name=name)


def _block(shape, width, name):
    inputs = keras.Input(shape)
    x = layers.Conv2D(width, 3, padding="same", use_bias=False, name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    return keras.Model(inputs, layers.ReLU(name="relu")(x), name=name)


def small_vit() -> keras.Model:
    """A vision transformer of 16 patches behind a token of the class."""
    inputs = keras.Input(SHAPE, name="image")
    x = layers.Conv2D(8, 8, strides=8, name="patches")(inputs)
    x = layers.Reshape((16, 8), name="tokens")(x)
    x = layers.ZeroPadding1D((1, 0), name="with_class")(x)
    for number in range(6):
        entering = layers.LayerNormalization(name=f"norm{number}")(x)
        seen = layers.MultiHeadAttention(2, 4, name=f"attention{number}")(entering, entering)
        x = layers.Add(name=f"block{number}")([x, seen])
    x = layers.LayerNormalization(name="norm")(x)[:, 0]
    return keras.Model(inputs, layers.Dense(CLASSES, name="logits")(x), name="vit")


class Images:
    """Names of examples about images; each is made when it is first asked for."""

    labels_loss = loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    taps = ["stage1", "stage2", "stage3"]

    @cached_property
    def teacher(self):
        return self._compiled(network(8, "teacher"))

    @cached_property
    def student(self):
        return self._compiled(network(4, "student"))

    def _compiled(self, model):
        model.compile("adam", self.labels_loss, metrics=["accuracy"])
        return model

    model = network = small = assistant = first = property(lambda self: self._compiled(network(6, "first")))
    other = second = property(lambda self: network(6, "second"))

    @cached_property
    def ensemble(self):
        return tfkd.schemes.EnsembleTeacher([self.first, self.second])

    @property
    def vit(self):
        return small_vit()

    @cached_property
    def distiller(self):
        losses = [tfkd.losses.SoftTargets(4.0), tfkd.losses.DecoupledKnowledge()]
        distiller = tfkd.Distiller(self.teacher, self.student, losses)
        distiller.compile("adam", self.labels_loss, metrics=["accuracy"])
        return distiller

    @cached_property
    def x(self):
        return np.random.default_rng(0).random((EXAMPLES, *SHAPE), "float32")

    x_train = x_test = x_val = x_unlabelled = images = few_images = property(lambda self: self.x)

    @cached_property
    def y(self):
        return np.arange(EXAMPLES) % CLASSES

    y_train = y_test = y_val = property(lambda self: self.y)
    held_out = property(lambda self: (self.x, self.y))

    @property
    def teacher_pass(self):
        return tfkd.distilling.forward_pass(self.teacher, ["conv2"], self.x, training=False)

    @property
    def student_pass(self):
        return tfkd.distilling.forward_pass(self.student, ["conv2"], self.x, training=True)

    @property
    def snapshots(self):
        return types.SimpleNamespace(weights=[self.student.get_weights()] * 2)

    @property
    def kept(self):
        self.write("third.keras")
        return types.SimpleNamespace(files=["third.keras"])

    @property
    def probe(self):
        return tfkd.analysis.EntropyProbe(self.student, "dense")

    scheme = property(lambda self: types.SimpleNamespace(student=self.student))

    @property
    def dataset(self):
        return tf.data.Dataset.from_tensor_slices((self.x, self.y)).batch(8)

    examples = dataset

    def make_network(self):
        return network(4, "student")

    def ask_service(self, images):
        return keras.ops.softmax(self.teacher(images))

    def write(self, name: str) -> None:
        """Writes the file of that name."""
        path = pathlib.Path(name)
        if path.suffix == ".keras":
            self.teacher.save(name)
        elif path.suffix == ".npy":
            np.save(name, self.x[0])
        elif path.suffix == ".npz":
            np.savez(name, x_train=self.x, y_train=self.y, x_test=self.x, y_test=self.y)
        elif path.suffix == ".tflite":
            tfkd.export.export_tflite(self.teacher, name, labels=LABELS, verification_data=self.x)
        elif name == "labels.txt":
            path.write_text("\n".join(LABELS))
        elif name == "old.h5":
            tfkd.compression.to_tf_keras(self.teacher).save(name)
