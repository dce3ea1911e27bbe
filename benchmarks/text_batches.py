"""How a data set from a generator slows down all training steps: CPU seconds and page faults.

    python benchmarks/text_batches.py

Once a process creates a data set with `from_generator`, TensorFlow makes the C library release freed memory
immediately, so all later steps have to request new memory for every large tensor. `tfkd.text.batches`
avoids it. Each way trains the same network on the same batches, in a separate process, since the effect
lasts.
"""

import json
import resource
import subprocess
import sys
import time

import keras
import numpy as np
import tensorflow as tf
from keras import layers

BATCH, TOKENS, WIDTH, STEPS = 32, 32, 384, 40


def network() -> keras.Model:
    """A transformer with two blocks."""
    ids = keras.Input((TOKENS,), dtype="int32")
    x = layers.Embedding(1000, WIDTH)(ids)
    for _ in range(2):
        x = layers.LayerNormalization()(x + layers.MultiHeadAttention(8, WIDTH // 8)(x, x))
        x = layers.LayerNormalization()(x + layers.Dense(WIDTH)(layers.Dense(4 * WIDTH, "gelu")(x)))
    return keras.Model(ids, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))


def batches(way: str) -> tf.data.Dataset:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 1000, (STEPS, BATCH, TOKENS), "int32")
    y = rng.integers(0, 2, (STEPS, BATCH), "int32")
    if way == "from_tensor_slices":
        return tf.data.Dataset.from_tensor_slices((x, y))
    specs = tuple(tf.TensorSpec(each.shape[1:], each.dtype) for each in (x, y))
    return tf.data.Dataset.from_generator(lambda: zip(x, y, strict=True), output_signature=specs)


def measured(way: str) -> dict[str, float]:
    """CPU seconds and page faults of an epoch, after a first one that includes tracing."""
    model, data = network(), batches(way)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(data, verbose=0)
    start, faults = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    model.fit(data, verbose=0)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    return {"cpu_seconds": time.process_time() - start, "page_faults": faults}


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(measured(sys.argv[1])))
        return
    for way in ("from_tensor_slices", "from_generator") * 2:
        done = subprocess.run([sys.executable, __file__, way], check=True, capture_output=True, text=True)
        print(way, done.stdout.splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
