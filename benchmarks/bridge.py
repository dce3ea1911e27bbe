"""Whether networks of keras.applications compute the same in tf_keras, and how long rebuilding takes.

python benchmarks/bridge.py
"""

import time

import keras
import numpy as np
from absl import app, flags

from tfkd.compression import to_tf_keras

FLAGS = flags.FLAGS
flags.DEFINE_list(
    "networks",
    "MobileNetV2,MobileNetV3Small,MobileNetV3Large,ResNet50,EfficientNetB0,DenseNet121,Xception",
    "names in keras.applications",
)
flags.DEFINE_integer("side", 96, "height and width of the images")


def main(argv: list[str]) -> None:
    """Prints the largest difference of an output, relative to the largest output, for each network."""
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(4, FLAGS.side, FLAGS.side, 3)).astype("float32")
    for name in FLAGS.networks:
        make = getattr(keras.applications, name)
        model = make(weights=None, input_shape=images.shape[1:], classifier_activation=None)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
        start = time.perf_counter()
        other = to_tf_keras(model)
        seconds = time.perf_counter() - start
        ours, theirs = np.asarray(model(images)), np.asarray(other(images))
        largest = np.abs(ours).max()
        difference = np.abs(ours - theirs).max() / largest
        print(
            f"{name}: {difference:.1e} of outputs up to {largest:.2g}, {seconds:.1f} s",
            flush=True,
        )
        keras.backend.clear_session()


if __name__ == "__main__":
    app.run(main)
