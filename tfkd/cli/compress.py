"""tfkd-compress: a model in, pruned, clustered and quantization-aware, a verified TFLite file out."""

import json
import math
import time

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import tfkd
from tfkd import compression, export, students
from tfkd._core import files
from tfkd._core.runtimes import require_litert
from tfkd.cli import shared_flags
from tfkd.cli.image_files import load_images
from tfkd.cli.outcome import device, versions
from tfkd.cli.run_folder import RunFolder
from tfkd.cli.variants import Variants
from tfkd.compression._distribution import DISTRIBUTIONS
from tfkd.datafree import DataFreeDistiller, Procedural, Recipe
from tfkd.export import _pictures as pictures
from tfkd.optimizers import warmed_up_cosine
from tfkd.teachers._black_box import BlackBoxTeacher

FLAGS = flags.FLAGS
_CALIBRATION_IMAGES, _JUDGING_IMAGES = 256, 1000
# The share of a stage's updates in which sparsity grows; in the others the rest of the weights settles.
_PRUNING_SHARE = 0.6

_FLAGS = (
    *shared_flags.SHARED,
    flags.DEFINE_string(
        "model",
        None,
        "trained classifier to compress: a .keras or .h5 file. The input_ and from_logits flags are about "
        "it, and about --teacher if that is given",
    ),
    flags.DEFINE_float(
        "prune", None, "share of all kernels' weights to become 0", lower_bound=0.0, upper_bound=0.999
    ),
    flags.DEFINE_enum(
        "prune_distribution",
        "lamp",
        sorted(DISTRIBUTIONS),
        "how the zeros are spread over layers: by how much weights matter in theirs (lamp), fewer in small "
        "layers (erk), or the same share in each (uniform)",
    ),
    flags.DEFINE_integer("cluster", None, "different values in each kernel", lower_bound=2),
    flags.DEFINE_boolean("quantize", False, "train with the rounding of 8 bits, for an int8 file"),
    flags.DEFINE_string(
        "train_data", None, "npz with x_train and y_train, put beside the synthesized images; default: none"
    ),
    flags.DEFINE_float(
        "learning_rate",
        2e-3,
        "peak rate of Adam in each stage; trained weights want smaller steps than those of a recipe",
        lower_bound=0.0,
    ),
    flags.DEFINE_float(
        "min_agreement",
        0.9,
        "share of synthesized images on which the file has to answer as the model that it was made of",
        lower_bound=0.0,
        upper_bound=1.0,
    ),
)
flags.adopt_module_key_flags(shared_flags)


def run() -> None:
    """Entry point of the console script."""
    app.run(main)


def main(argv: list[str]) -> None:
    """Runs the program; bad input ends it with a message and exit status 2."""
    shared_flags.run_program(compress, "tfkd-compress", ["model", "output_dir"], argv)


def compress() -> str | None:
    """One run from the flags; returns what its result lacks, or None."""
    start = time.perf_counter()
    pictures.require_report()
    require_litert()
    if FLAGS.quantize and FLAGS.tflite not in ("int8", "none"):
        raise ValueError(f"--quantize trains for an int8 file. Received: --tflite={FLAGS.tflite}.")
    settings = {flag.name: flag.value for flag in _FLAGS}
    settings.pop("overwrite")
    folder = RunFolder(FLAGS.output_dir, settings, resume=None, overwrite=FLAGS.overwrite)
    keras.utils.set_random_seed(FLAGS.seed)
    model = _load(FLAGS.model)
    teacher = _load(FLAGS.teacher) if FLAGS.teacher else model
    labels = shared_flags.labels(model.output_shape[-1])
    data = shared_flags.evaluation_data(model, "model")
    examples = _examples(model)
    stages = Stages(model, teacher, shared_flags.recipe(), examples)
    variants = Variants(data, stages.calibration, stages.judging, labels)
    folder.begin()
    variants.measure("original", model, "float32")
    if FLAGS.tflite == "int8":
        variants.measure_random_calibration("original", model)
    compressed = _compress(model, stages, variants)
    problem = _write(compressed, variants, folder)
    metrics = {
        "model": {"name": model.name, "file": FLAGS.model, "params": model.count_params()},
        "teacher": FLAGS.teacher or FLAGS.model,
        "sparsity": compression.sparsity(compressed),
        "evaluation_images": None if data is None else len(data[0]),
        "synthetic_images": len(stages.judging),
        "problem": problem,
        "stages": stages.rows,
        "variants": variants.rows,
        "recipe": stages.recipe.describe(),
        "seed": FLAGS.seed,
        "device": device(),
        "flags": settings,
        "versions": versions(),
        "wall_seconds": time.perf_counter() - start,
    }
    export.write_compression_report(folder.file("report.html"), metrics)
    files.write_text(folder.file("metrics.json"), json.dumps(metrics, indent=2) + "\n")
    variants.print_table()
    print(f"{metrics['wall_seconds']:.0f} s; see {folder.file('report.html')}")
    return problem


def _compress(model, stages, variants):
    """The model after the stages that were asked for, still wrapped by the last; measured after each.

    Zeros stay from stage to stage, those that the model came with, too. Students learn without dropout.
    """
    if FLAGS.prune is None and FLAGS.cluster is None and not FLAGS.quantize:
        return model
    current = wrapped = students.without_dropout(model)
    if FLAGS.prune is not None:
        # Each part of a batch that is learned in parts is a pass of its own.
        grown = int(_PRUNING_SHARE * stages.updates() * stages.recipe.microbatches)
        pruned = compression.prune(
            current, FLAGS.prune, schedule=(0, grown), distribution=FLAGS.prune_distribution
        )
        wrapped = stages.run("pruned", pruned)
        current = compression.strip(wrapped)
        variants.measure("pruned", current, "float32")
        variants.measure("pruned", current, "int8")
    zeros = compression.sparsity(current) > 0
    if FLAGS.cluster is not None:
        clustered = compression.cluster(current, FLAGS.cluster, preserve_sparsity=zeros)
        wrapped = stages.run("clustered", clustered)
        current = compression.strip(wrapped)
        variants.measure("clustered", current, "float32")
        variants.measure("clustered", current, "int8")
    if FLAGS.quantize:
        kept = ["sparsity"] * zeros + ["clusters"] * (FLAGS.cluster is not None)
        aware = compression.quantize_aware(current, preserve=kept, images=stages.calibration)
        wrapped = stages.run("quantization-aware", aware)
        if left := compression.float_layers(wrapped):
            print(f"in float, since tfmot cannot quantize them: {', '.join(left)}")
    return wrapped


def _write(compressed, variants, folder):
    """Writes the model and its TFLite file; returns why there is none, or None."""
    wrapped = isinstance(compressed, compression.BridgedModel)
    with files.replacing(folder.file("model.keras")) as temporary:
        (compression.strip(compressed) if wrapped else compressed).save(temporary)
    if FLAGS.tflite == "none":
        return None
    try:
        variants.write(compressed, FLAGS.tflite, folder.file("model.tflite"), FLAGS.min_agreement)
    except RuntimeError as error:
        # What has been learned and measured is worth having all the same.
        return f"there is no model.tflite: {error}"
    return None


class Stages:
    """Trains one wrapped student after the other, each by the same recipe.

    What makes images goes on from stage to stage, so that only the first warms up.

    Args:
        model: what is compressed.
        teacher: what students learn from.
        recipe: how.
        examples: real `(images, labels)` to put beside synthesized images, or None.

    Attributes:
        rows: for each stage its name, seconds, updates, last loss and agreement.
        calibration: synthetic images that ranges are taken from.
        judging: others, on which files are compared with their models.
    """

    def __init__(
        self,
        model: keras.Model,
        teacher: keras.Model,
        recipe: Recipe,
        examples: tuple[np.ndarray, np.ndarray] | None,
    ) -> None:
        steps = recipe.epochs * recipe.steps_per_epoch
        if recipe.warmup_steps >= steps:
            raise ValueError(
                f"--recipe_options=warmup_steps must be below the {steps} steps of a stage, or it teaches "
                f"nothing. Received: {recipe.warmup_steps}. Or raise --epochs."
            )
        self.teacher, self.recipe, self.examples = teacher, recipe, examples
        self.rows: list[dict] = []
        self._last: DataFreeDistiller | None = None
        # The prior's images, balanced and refined, whatever recipe trains; nothing has to be learned.
        maker = DataFreeDistiller(
            teacher,
            keras.models.clone_model(model),
            Procedural(memory=0, refine_steps=0 if isinstance(teacher, BlackBoxTeacher) else 2),
            seed=FLAGS.seed,
        )
        images = maker.synthesize(_CALIBRATION_IMAGES + _JUDGING_IMAGES)
        self.calibration, self.judging = images[:_CALIBRATION_IMAGES], images[_CALIBRATION_IMAGES:]

    def updates(self) -> int:
        """The student's updates in the stage that comes next, about as many as in any other."""
        warmed_up = 0 if self._last is None else self.recipe.warmup_steps
        return self.recipe.student_updates(self.recipe.epochs * self._steps() + warmed_up)

    def _steps(self):
        """Steps of an epoch in the next stage; warm-up is over after the first."""
        if self._last is None:
            return self.recipe.steps_per_epoch
        taught = self.recipe.epochs * self.recipe.steps_per_epoch - self.recipe.warmup_steps
        return math.ceil(taught / self.recipe.epochs)

    def run(self, name: str, student: keras.Model) -> keras.Model:
        """Trains a student; returns it."""
        print(f"{name}: {self.recipe.epochs} epochs", flush=True)
        distiller = DataFreeDistiller(self.teacher, student, self.recipe, seed=FLAGS.seed)
        if self._last is not None:
            distiller.take_over(self._last)
        rate = warmed_up_cosine(FLAGS.learning_rate, self.updates())
        distiller.compile(keras.optimizers.Adam(rate), jit_compile=shared_flags.jit_compile())
        keep, start = tfkd.callbacks.KeepLastGood(), time.perf_counter()
        # Keras would shuffle examples and warns that it cannot; their order changes anyway.
        order = {} if self.examples is None else {"shuffle": False}
        history = distiller.fit(
            self._examples_again_and_again(),
            steps_per_epoch=self._steps(),
            callbacks=[keep],
            verbose=2,
            **order,
        ).history
        if keep.stopped_epoch is not None:
            raise RuntimeError(
                f"stage {name!r}: the loss was no longer finite in epoch {keep.stopped_epoch + 1}. Use a "
                "smaller --learning_rate."
            )
        self._last = distiller
        self.rows.append(
            {
                "name": name,
                "seconds": time.perf_counter() - start,
                "updates": int(distiller.optimizer.iterations.numpy()),
                "loss": history["loss"][-1],
                "agreement": history["agreement"][-1],
            }
        )
        return student

    def _examples_again_and_again(self):
        """Real examples without end, so that a stage is as long as without them; None if there are none."""
        if self.examples is None:
            return None
        data = tf.data.Dataset.from_tensor_slices(self.examples)
        data = data.shuffle(len(self.examples[0]), seed=FLAGS.seed).repeat()
        return data.batch(self.recipe.batch_size)


def _load(path):
    return tfkd.load_teacher(path, *shared_flags.scaling(), **shared_flags.ending())


def _examples(model):
    if FLAGS.train_data is None:
        return None
    return load_images(FLAGS.train_data, model.input_shape[1:], model.output_shape[-1], "train")


if __name__ == "__main__":
    run()
