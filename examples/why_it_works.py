"""What distillation changes in a student: the same student with a teacher and on labels alone.

    python examples/why_it_works.py
    python examples/why_it_works.py --data=fashion_mnist.npz \
        --teacher=examples/assets/resnet8_fashion_mnist.keras --seeds=1,2,3 --epochs=12 --examples=5000 \
        --images=48

Writes a table (why_it_works.md) and all numbers (why_it_works.json), and draws the visual concepts that
both students learn during training (why_it_works.png). For the last seed it also draws heat maps of the
pixels that they keep (entropies.png), their calibration (reliability.png) and the similarity of their
layers to the teacher's (cka.png). The npz file has the format described in examples/train_teacher.py; the
shipped one has only test images, so its last --examples are used for training. Pixels above --foreground
are the foreground.
"""

import json
import os

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import tfkd
from tfkd import analysis
from tfkd._core import files

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "data", "examples/assets/mnist_test.npz", "npz with x_test, y_test, best x_train, y_train"
)
flags.DEFINE_string("teacher", "examples/assets/lenet5_mnist.keras", "trained Keras model")
flags.DEFINE_string("output_dir", "runs/why_it_works", "where the table and the pictures go")
flags.DEFINE_list("seeds", ["1"], "seeds of initialization and shuffling")
flags.DEFINE_integer("epochs", 10, "epochs", lower_bound=1)
flags.DEFINE_integer("examples", 2000, "training examples", lower_bound=1)
flags.DEFINE_integer("images", 16, "test images whose pixels are probed", lower_bound=2)
flags.DEFINE_float("temperature", 2.0, "softening of both networks' probabilities")
flags.DEFINE_float("foreground", 0.1, "pixels above this are the foreground")

# Layers of LeNet-5-half: the one that is analysed, and those that are compared with the teacher's.
LAYER, LAYERS = "dense", ["pool1", "pool2", "conv3", "dense", "logits"]
LABELS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
NAMES = {"alone": "labels alone", "taught": "with the teacher"}
COLORS = {"alone": "#909090", "taught": "#3b7dd8"}


def load() -> tuple[tuple, tuple]:
    """Training and test images in [0, 1] with labels."""
    with np.load(FLAGS.data) as arrays:
        parts = {
            part: (
                arrays[f"x_{part}"][..., None].astype("float32") / 255,
                arrays[f"y_{part}"].astype("int64"),
            )
            for part in ("train", "test")
            if f"x_{part}" in arrays
        }
    x, y = parts["test"]
    if "train" not in parts:
        return (x[-FLAGS.examples :], y[-FLAGS.examples :]), (x[: -FLAGS.examples], y[: -FLAGS.examples])
    return tuple(values[: FLAGS.examples] for values in parts["train"]), (x, y)


def trained(dataset: tf.data.Dataset, teacher: keras.Model | None, seed: int) -> tuple:
    """A student and its weights before training and after each epoch; on labels alone without a teacher."""
    keras.utils.set_random_seed(seed)
    student = tfkd.students.lenet5_half()
    model = student
    if teacher is not None:
        soft = tfkd.losses.SoftTargets(temperature=FLAGS.temperature)
        model = tfkd.Distiller(teacher, student, soft, student_loss_weight=0.1)
    updates = FLAGS.epochs * -(-FLAGS.examples // 64)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(4e-3, updates)), LABELS)
    snapshots = analysis.KeepSnapshots(student)
    batches = dataset.shuffle(FLAGS.examples, seed=seed).batch(64)
    model.fit(batches, epochs=FLAGS.epochs, verbose=0, callbacks=[snapshots])
    return student, snapshots.weights


def measured(student: keras.Model, weights: list, teacher: keras.Model, test: tuple) -> dict:
    """All measurements of one student, by name, and the curves of its visual concepts."""
    x, y = test
    images = x[: FLAGS.images]
    grown = analysis.knowledge(
        analysis.EntropyProbe(student, LAYER), weights, images, images[..., 0] > FLAGS.foreground
    )
    fidelity = analysis.fidelity(teacher, student, x)
    figures = {
        "accuracy": tfkd.tasks.task_of(teacher).score(student.predict(x, verbose=0), y)["accuracy"],
        "agreement with the teacher": fidelity.agreement,
        "KL from the teacher": fidelity.divergence,
        "calibration error (ECE)": analysis.expected_calibration_error(student, x, y),
        "concepts on the foreground": float(grown.foreground[-1].mean()),
        "concepts on the background": float(grown.background[-1].mean()),
        "share on the foreground (lambda)": grown.ratio,
        "weight distance at the peak (D_mean)": grown.distance_mean,
        "its deviation over images (D_std)": grown.distance_std,
        "stability (rho)": grown.stability,
    }
    curves = {
        "distance": grown.distance.tolist(),
        "foreground": grown.foreground.mean(axis=1).tolist(),
        "background": grown.background.mean(axis=1).tolist(),
    }
    return {"figures": figures, "curves": curves}


def draw_pictures(students: dict[str, keras.Model], teacher: keras.Model, test: tuple) -> None:
    """Draws the pictures for the students of one seed."""
    x, y = test
    named = {NAMES[name]: student for name, student in students.items()}
    entropies = {
        name: analysis.EntropyProbe(student, LAYER)(x[: FLAGS.images])[:6]
        for name, student in named.items()
    }
    analysis.entropy_plot(x[: FLAGS.images][:6], entropies, _path("entropies.png"))
    reliability = {
        name: analysis.reliability(model, x, y) for name, model in {"teacher": teacher, **named}.items()
    }
    analysis.reliability_plot(reliability, _path("reliability.png"))
    depths = [*tfkd.taps.stages(teacher).values(), tfkd.taps.penultimate(teacher)]
    alike = [analysis.cka(student, teacher, x[:1024], LAYERS, depths) for student in students.values()]
    rows = [f"{layer}, {name}" for name in named for layer in LAYERS]
    analysis.cka_plot(np.concatenate(alike), _path("cka.png"), rows, depths)


def draw_concepts(results: dict) -> None:
    """Visual concepts over weight distance, a line for each seed, and a star at the end of training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axis, where in zip(panels, ("foreground", "background"), strict=True):
        for seed, runs in results.items():
            for name, run in runs.items():
                curves, label = run["curves"], NAMES[name] if seed == next(iter(results)) else None
                axis.plot(curves["distance"], curves[where], color=COLORS[name], label=label)
                axis.plot(curves["distance"][-1], curves[where][-1], "*", color=COLORS[name], markersize=9)
        axis.set(xlabel="weight distance", title=f"on the {where}")
        axis.spines[["top", "right"]].set_visible(False)
    panels[0].set(ylabel="visual concepts per image", ylim=(0, None))
    panels[1].legend(frameon=False, loc="lower right")
    with files.replacing(_path("why_it_works.png")) as temporary:
        figure.savefig(temporary, dpi=120)


def write(results: dict) -> None:
    """All numbers, and the table of their means and standard deviations over seeds."""
    files.write_text(_path("why_it_works.json"), json.dumps(results, indent=1))
    lines = [f"| | {' | '.join(NAMES.values())} | difference |", "|---|---|---|---|"]
    for figure in next(iter(results.values()))["alone"]["figures"]:
        alone, taught = ([runs[name]["figures"][figure] for runs in results.values()] for name in NAMES)
        # Differences within a seed, that is, with the same initial weights and order of examples.
        cells = f"{_cell(alone)} | {_cell(taught)} | {_cell(np.subtract(taught, alone), '+.2g')}"
        lines.append(f"| {figure} | {cells} |")
    files.write_text(_path("why_it_works.md"), "\n".join([*lines, ""]))


def _cell(values, digits=".3g"):
    deviation = f" ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else ""
    return f"{np.mean(values):{digits}}{deviation}"


def _path(name):
    return os.path.join(FLAGS.output_dir, name)


def main(argv: list[str]) -> None:
    """Trains and measures both students of every seed."""
    train, test = load()
    teacher = tfkd.load_teacher(FLAGS.teacher, input_range=(0, 1))
    plain = tf.data.Dataset.from_tensor_slices(train)
    carried = tfkd.cache_teacher(plain, teacher, batched=False)
    os.makedirs(FLAGS.output_dir, exist_ok=True)
    results: dict = {}
    for seed in FLAGS.seeds:
        students, results[seed] = {}, {}
        for name in NAMES:
            data, taught_by = (carried, teacher) if name == "taught" else (plain, None)
            students[name], weights = trained(data, taught_by, int(seed))
            results[seed][name] = measured(students[name], weights, teacher, test)
            print(seed, NAMES[name], results[seed][name]["figures"], flush=True)
        write(results)
        draw_concepts(results)
    draw_pictures(students, teacher, test)


if __name__ == "__main__":
    app.run(main)
