"""How often the scaling of a network's inputs is found, for small networks and third-party ones.

    python benchmarks/input_scaling.py --data=FOLDER --models=FOLDER --teachers=FOLDER

--data has mnist.npz, fashion_mnist.npz and cifar10_test.npz. Small networks are trained with each scaling;
those already in --models are not trained again. Training all takes nine minutes on one core. The thresholds
in tfkd/teachers/_scaling_evidence.py were set on "plain" and "normalized" and not changed for the others.
The table is written to docs/scaling.md, the rows to --rows.
"""

import collections
import json
import os
import warnings

import keras
import numpy as np
from absl import app, flags
from keras import layers
from marked import write_marked

from tfkd._core import files
from tfkd.teachers import find_scaling

FLAGS = flags.FLAGS
flags.DEFINE_string("data", None, "folder of the data", required=True)
flags.DEFINE_string("models", None, "folder of the trained networks", required=True)
flags.DEFINE_string("teachers", None, "folder of networks of others; none without")
flags.DEFINE_string("rows", "docs/rows/input_scaling.json", "where the rows are kept")

EXAMPLES, EPOCHS = 3000, 4
MEAN, STD = 255 * np.array([0.485, 0.456, 0.406]), 255 * np.array([0.229, 0.224, 0.225])
CAFFE = np.array([103.939, 116.779, 123.68])
# Scalings of images from 0 to 255, and their `Scaling.name`.
OF_ALL = {
    "unit": (lambda x: x / 255, "x/255"),
    "symmetric": (lambda x: x / 127.5 - 1, "x/127.5 - 1"),
    "bytes": (lambda x: x, "0 to 255"),
}
OF_COLOUR = {
    **OF_ALL,
    "torch": (lambda x: (x - MEAN) / STD, "ImageNet's mean and deviation"),
    "caffe": (lambda x: x[..., ::-1] - CAFFE, "blue first, mean subtracted"),
}
DATA = {"mnist": OF_ALL, "fashion_mnist": OF_ALL, "cifar": OF_COLOUR}
# Third-party networks by path, with the scaling used by their authors. resnet32_cifar10 uses CIFAR-10's own
# mean and standard deviation; the nearest candidate is ImageNet's.
OTHERS = {
    "examples/assets/lenet5_mnist.keras": "x/255",
    "examples/assets/resnet8_fashion_mnist.keras": "x/255",
    "examples/assets/wide_resnet10_2_fashion_mnist.keras": "x/255",
    "cnn_mnist.keras": "x/255",
    "cnn_mnist_legacy.h5": "x/255",
    "resnet32_cifar10.keras": "ImageNet's mean and deviation",
    "mlperf_tiny/resnet8_cifar10.h5": "0 to 255",
    "mlperf_tiny/resnet8_cifar10_int8.tflite": "0 to 255",
    "mlperf_tiny/resnet_large_cifar10_float.tflite": "0 to 255",
    "mlperf_tiny/vww_96.h5": "x/255",
    "teachable_machine_waste.h5": "x/127.5 - 1",
    "mini_xception_fer2013.h5": "x/127.5 - 1",
}


def normalized_convolution(x, width, strides=1):
    x = layers.Conv2D(width, 3, strides, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))


def plain(x):
    for width in (16, 32):
        x = layers.MaxPooling2D()(layers.Conv2D(width, 3, padding="same", activation="relu")(x))
    return layers.Dense(64, activation="relu")(layers.Flatten()(x))


def normalized(x):
    for width in (16, 32):
        x = layers.MaxPooling2D()(normalized_convolution(x, width))
    return layers.Dense(64, activation="relu")(layers.Flatten()(x))


def strided(x):
    for width in (12, 24, 48):
        x = layers.Conv2D(width, 5, 2, padding="same", activation="relu")(x)
    return layers.Dropout(0.3)(layers.Flatten()(x))


def residual(x):
    x = normalized_convolution(x, 16, 2)
    for _ in range(2):
        x = layers.Add()([x, normalized_convolution(x, 16)])
    return layers.GlobalAveragePooling2D()(x)


NETWORKS = {"plain": plain, "normalized": normalized, "strided": strided, "residual": residual}


def examples(data):
    if data == "cifar":
        with np.load(os.path.join(FLAGS.data, "cifar10_test.npz")) as file:
            x, y = (file[next(name for name in file.files if letter in name)] for letter in "xy")
        # The other half is for evaluation.
        return x[5000:][:EXAMPLES].astype("float32"), y.ravel()[5000:][:EXAMPLES]
    with np.load(os.path.join(FLAGS.data, f"{data}.npz")) as file:
        return file["x_train"][:EXAMPLES, ..., None].astype("float32"), file["y_train"][:EXAMPLES]


def trained(network, data, scaling, path):
    """Trains a network and saves it."""
    x, y = examples(data)
    keras.utils.set_random_seed(1)
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(NETWORKS[network](inputs)))
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy")
    model.fit(DATA[data][scaling][0](x).astype("float32"), y, batch_size=32, epochs=EPOCHS, verbose=0)
    model.save(path)


def networks():
    """Group, path and scaling of each network."""
    os.makedirs(FLAGS.models, exist_ok=True)
    for network in NETWORKS:
        for data, scalings in DATA.items():
            for scaling, (_, name) in scalings.items():
                path = os.path.join(FLAGS.models, f"{network}-{data}-{scaling}.keras")
                if not os.path.exists(path):
                    trained(network, data, scaling, path)
                yield network, path, name
    for path, name in OTHERS.items():
        ours = path.startswith("examples/")
        if ours or FLAGS.teachers is not None:
            yield "others", path if ours else os.path.join(FLAGS.teachers, path), name


def measured():
    for group, path, name in networks():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = find_scaling(path)
        row = {"group": group, "network": os.path.basename(path), "scaling": name, "found": found.name}
        row |= {"right": found.name == name, "sure": found.sure, "evidence": found.evidence}
        print(row, flush=True)
        yield row


def table(rows):
    lines = [
        "| networks | | right and sure | right, unsure | wrong, unsure | wrong and sure |",
        "|---|---|---|---|---|---|",
    ]
    about = {
        "plain": "no normalization; thresholds were set here",
        "normalized": "batch normalization; thresholds were set here",
        "strided": "no normalization",
        "residual": "batch normalization",
        "others": "trained by others, and the examples",
    }
    for group, words in about.items():
        counts = collections.Counter((row["right"], row["sure"]) for row in rows if row["group"] == group)
        cells = [counts[key] for key in ((True, True), (True, False), (False, False), (False, True))]
        lines.append(f"| {group} | {words} | {' | '.join(map(str, cells))} |")
    lines += ["", "| network of others | its scaling | found | sure | evidence |", "|---|---|---|---|---|"]
    for row in rows:
        if row["group"] == "others":
            cells = (row["network"], row["scaling"], row["found"], "yes" if row["sure"] else "no")
            lines.append(f"| {' | '.join(cells)} | {row['evidence']} |")
    return "\n".join(lines)


def main(argv):
    rows = list(measured())
    files.write_text(FLAGS.rows, json.dumps(rows, indent=1) + "\n")
    write_marked("docs/scaling.md", "found", table(rows))


if __name__ == "__main__":
    app.run(main)
