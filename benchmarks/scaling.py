"""Examples per second of a distiller with one replica, two replicas, and two workers, in one run.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --network=lenet5 --steps_per_execution=1,8

Each replica runs operations in one thread, so that it uses one core, and takes `batch_size` examples per
step. The arrangements are one replica; two replicas of `MirroredStrategy` in one process; two processes
under `MultiWorkerMirroredStrategy`; and two independent processes, which is the machine's limit. Processes
are not pinned to cores, since the threads that exchange gradients would then wait for the threads that
compute. Seconds are medians of epochs, after one for tracing. Overhead is the additional CPU time per
example compared with one replica; other programs on the same cores affect it less than the examples per
second.
"""

import json
import os
import socket
import subprocess
import sys
import time
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import tfkd

FLAGS = flags.FLAGS
flags.DEFINE_integer("rounds", 5, "timed epochs of each")
flags.DEFINE_integer("steps", 16, "steps in an epoch")
flags.DEFINE_integer("batch_size", 64, "examples of a replica in a step")
flags.DEFINE_enum("network", "resnet", ["lenet5", "resnet"], "which pair of networks")
flags.DEFINE_list("steps_per_execution", ["1", "8"], "how many steps Keras runs at once, 1 first")
flags.DEFINE_string("only", None, "the one arrangement that this process measures a part of")

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
PAIRS = {
    "lenet5": (tfkd.students.lenet5, tfkd.students.lenet5),
    "resnet": (lambda: tfkd.students.resnet(14), lambda: tfkd.students.resnet(8)),
}


class Arrangement(NamedTuple):
    """A division of replicas among processes.

    Args:
        workers: number of processes.
        replicas: number of replicas per process.
        together: whether they train the same student.
    """

    workers: int
    replicas: int
    together: bool = True


ARRANGEMENTS = {
    "one replica": Arrangement(1, 1),
    "two replicas": Arrangement(1, 2),
    "two workers": Arrangement(2, 1),
    "two apart": Arrangement(2, 1, together=False),
}


def strategy_of(arrangement: Arrangement) -> tf.distribute.Strategy:
    """The strategy of an arrangement, on logical devices with one thread each."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(arrangement.replicas)
    devices = [tf.config.LogicalDeviceConfiguration()] * arrangement.replicas
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
    if arrangement.workers > 1 and arrangement.together:
        return tf.distribute.MultiWorkerMirroredStrategy()
    if arrangement.replicas > 1:
        return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(arrangement.replicas)])
    return tf.distribute.get_strategy()


def dataset(shape: tuple, batch_size: int) -> tf.data.Dataset:
    """Random examples for an epoch, in batches for all replicas; a worker reads its part of each batch."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(FLAGS.steps * batch_size, *shape)).astype("float32")
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    batches = tf.data.Dataset.from_tensor_slices((x, np.arange(len(x)) % 10)).batch(batch_size)
    return batches.with_options(options)


class Clock(keras.callbacks.Callback):
    """Wall-clock and CPU seconds of each epoch."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.begun = time.perf_counter(), time.process_time()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        ended = time.perf_counter(), time.process_time()
        self.epochs.append([end - begin for begin, end in zip(self.begun, ended, strict=True)])

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.epochs = []


def measure(arrangement: Arrangement) -> None:
    """Prints wall-clock and CPU seconds per epoch of this process, for each `steps_per_execution`."""
    strategy = strategy_of(arrangement)
    measured = {}
    for steps in FLAGS.steps_per_execution:
        teacher, student = PAIRS[FLAGS.network]
        with strategy.scope():
            distiller = tfkd.Distiller(teacher(), student(), tfkd.losses.SoftTargets(4.0))
            distiller.compile("sgd", LOSS, jit_compile=False, steps_per_execution=int(steps))
        clock = Clock()
        batch_size = FLAGS.batch_size * strategy.num_replicas_in_sync
        batches = dataset(distiller.student.input_shape[1:], batch_size)
        distiller.fit(batches, epochs=FLAGS.rounds + 1, verbose=0, callbacks=[clock])
        # The first epoch includes tracing.
        measured[steps] = np.median(clock.epochs[1:], axis=0).tolist()
    print(json.dumps(measured))


def run(name: str) -> list[dict]:
    """The measurements of each process of an arrangement."""
    arrangement = ARRANGEMENTS[name]
    addresses = [f"127.0.0.1:{port}" for port in free_ports(arrangement.workers)]
    started = []
    for index in range(arrangement.workers):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        cluster = (
            {"TF_CONFIG": json.dumps(task)} if arrangement.workers > 1 and arrangement.together else {}
        )
        command = [sys.executable, *sys.argv, f"--only={name}"]
        started.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | cluster)
        )
    return [json.loads(process.communicate()[0].splitlines()[-1]) for process in started]


def free_ports(count: int) -> list[int]:
    """Unused ports."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def main(argv: list[str]) -> None:
    """Measures all arrangements in separate processes, and prints a table."""
    if FLAGS.only:
        measure(ARRANGEMENTS[FLAGS.only])
        return
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("Two replicas need two cores, and this process may use one.")
    print(
        "| | steps per execution | examples a second | times one replica | CPU ms an example | overhead |"
    )
    print("|---|---|---|---|---|---|")
    alone = None
    for name, arrangement in ARRANGEMENTS.items():
        measured = run(name)
        for steps in FLAGS.steps_per_execution:
            examples = FLAGS.steps * FLAGS.batch_size * arrangement.workers * arrangement.replicas
            seconds = max(each[steps][0] for each in measured)
            rate, cpu = examples / seconds, sum(each[steps][1] for each in measured) / examples
            alone = alone or (rate, cpu)
            times, overhead = rate / alone[0], cpu / alone[1] - 1
            row = f"{rate:.0f} | {times:.2f} | {1000 * cpu:.2f} | {overhead:+.0%}"
            print(f"| {name} | {steps} | {row} |", flush=True)


if __name__ == "__main__":
    app.run(main)
