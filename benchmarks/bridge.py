"""Converts networks of keras.applications to tf_keras and back; measures differences and time.

python benchmarks/bridge.py
"""

import time

import keras
import numpy as np
from absl import app, flags

from tfkd.compression import from_tf_keras, to_tf_keras

FLAGS = flags.FLAGS
flags.DEFINE_list(
    "networks",
    "MobileNetV2,MobileNetV3Small,MobileNetV3Large,ResNet50,EfficientNetB0,DenseNet121,Xception,VGG16",
    "names in keras.applications",
)
flags.DEFINE_integer("side", 96, "height and width of the images")


def main(argv: list[str]) -> None:
    """Prints each network's largest difference, relative to its largest output, after both conversions."""
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(4, FLAGS.side, FLAGS.side, 3)).astype("float32")
    for name in FLAGS.networks:
        make = getattr(keras.applications, name)
        model = make(weights=None, input_shape=images.shape[1:], classifier_activation=None)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
        expected, rebuilt = np.asarray(model(images)), model
        figures = []
        for rebuild in (to_tf_keras, from_tf_keras):
            start = time.perf_counter()
            rebuilt = rebuild(rebuilt)
            seconds = time.perf_counter() - start
            difference = np.abs(np.asarray(rebuilt(images)) - expected).max() / np.abs(expected).max()
            figures.append(f"{difference:.1e} in {seconds:.1f} s")
        print(f"| {name} | {' | '.join(figures)} |", flush=True)
        keras.backend.clear_session()


if __name__ == "__main__":
    app.run(main)
