"""One of two workers: python -m tests.distilling.workers PORT INDEX KIND FOLDER STEP."""

import json
import os
import socket
import sys

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tfkd
from tests.killing import KillAt
from tfkd import datafree

EPOCHS, STEPS, BATCH = 3, 2, 8
X = np.random.default_rng(0).normal(size=(BATCH * STEPS, 6)).astype("float32")
Y = np.arange(len(X)) % 4
RECIPE = datafree.Procedural(prior=["uniform"], batch_size=8, memory=16, replay_steps=1)


def network(width, name):
    hidden = layers.Dense(width, activation="tanh")
    return keras.Sequential([keras.Input((6,)), hidden, layers.Dense(4)], name=name)


def distiller(kind):
    keras.utils.set_random_seed(0)
    teacher, student = network(6, "teacher"), network(4, "student")
    if kind == "data-free":
        made = tfkd.DataFreeDistiller(teacher, student, RECIPE, seed=1)
        made.compile(keras.optimizers.SGD(0.1), metrics=["accuracy"], jit_compile=False)
        return made
    # DIST compares the examples of a batch with each other, wherever they are.
    losses = [tfkd.losses.SoftTargets(4.0), tfkd.losses.DIST()]
    made = tfkd.Distiller(teacher, student, losses)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"], jit_compile=False)
    return made


def fit(made, kind, callbacks):
    options = {"epochs": EPOCHS, "verbose": 0, "callbacks": callbacks, "validation_data": (X, Y)}
    if kind == "data-free":
        return made.fit(steps_per_epoch=STEPS, **options)
    return made.fit(X, Y, batch_size=BATCH, shuffle=False, **options)


def free_ports():
    """The first of two neighbouring ports that are free."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                other.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def tf_config(port, index):
    """What `TF_CONFIG` is for one of two workers, on a port and the next one."""
    cluster = {"worker": [f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"]}
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})


def main(port: int, index: int, kind: str, folder: str, step: int) -> None:
    """A whole run, its weights and logs in a file; killed after so many steps, if not 0."""
    os.environ["TF_CONFIG"] = tf_config(port, index)
    with tf.distribute.MultiWorkerMirroredStrategy().scope():
        made = distiller(kind)
    callbacks = [keras.callbacks.BackupAndRestore(f"{folder}/backup{index}", delete_checkpoint=False)]
    history = fit(made, kind, callbacks + ([KillAt(step)] if step else []))
    weights = [variable.numpy() for variable in made.student.weights]
    logs = {f"logs/{name}": values for name, values in history.history.items()}
    np.savez(f"{folder}/worker{index}.npz", *weights, **logs)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]))
