"""A data-free chain of two links in a process that is killed inside the second."""

import os
import signal
import sys

import keras

import tfkd
from tests.conftest import small_network


def run(teacher, folder, seed, callbacks=()):
    """Networks whose initial weights follow from `seed`, and a chain that always has the same one."""
    keras.utils.set_random_seed(seed)
    chain = tfkd.schemes.Chain(teacher, [small_network(4), small_network(3)], seed=5)
    recipe = tfkd.datafree.Procedural(batch_size=8, refine_steps=0, memory=16, replay_steps=1)
    history = chain.fit(
        recipe=recipe, epochs=2, steps_per_epoch=2, callbacks=callbacks, backup_dir=folder, verbose=0
    )
    return chain, history


class Kill(keras.callbacks.Callback):
    """Kills the process at the beginning of the second link's second epoch."""

    begun = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.begun += epoch
        if self.begun == 2:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    run(tfkd.load_teacher(sys.argv[1]), sys.argv[2], seed=3, callbacks=[Kill()])
