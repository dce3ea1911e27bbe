"""compress: a model in, pruned, clustered and quantization-aware, a verified TFLite file out."""

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfkd import compression, text
from tfkd._core import progress
from tfkd._core.named_inputs import takes_texts
from tfkd.datafree import Recipe
from tfkd.export import write_compression_report
from tfkd.pipelines._automatic import AutomaticRecipe, as_recipe_or_auto, chosen_recipe
from tfkd.pipelines._compression_plan import CompressionPlan
from tfkd.pipelines._compression_stages import CompressionStages
from tfkd.pipelines._compression_variants import CompressionVariants, synthetic_inputs
from tfkd.pipelines._evaluation import check_better_than_chance
from tfkd.pipelines._examples import load_examples
from tfkd.pipelines._machine import device, versions
from tfkd.pipelines._networks import Source, as_teacher, copied, named
from tfkd.pipelines._requirements import check_labels, check_outputs, check_rounding
from tfkd.pipelines._result_files import read_compressed, write
from tfkd.pipelines._results import Compressed
from tfkd.pipelines._run_folder import RunFolder
from tfkd.pipelines._settings import Request, teller
from tfkd.pipelines._shared_warm_up import SharedWarmUp, check_something_to_teach
from tfkd.pipelines._text_lessons import TextLessons
from tfkd.pipelines._texts import as_tokenizer, filled_up, load_texts, longest, with_words
from tfkd.pipelines._variants import Chosen
from tfkd.tasks import task_of


def compress(
    model: Source,
    teacher: Source | None = None,
    *,
    prune: float | None = None,
    prune_distribution: str = "lamp",
    cluster: int | None = None,
    quantize: bool = False,
    learn_rounding: bool = False,
    recipe: Recipe | AutomaticRecipe | str = "auto",
    teacher_options: Mapping[str, Any] | None = None,
    training_data: str | os.PathLike | tuple[Any, Any] | None = None,
    evaluation_data: str | os.PathLike | tuple[Any, Any] | None = None,
    learning_rate: float = 2e-3,
    seed: int = 0,
    tflite: str | None = "int8",
    min_agreement: float = 0.9,
    labels: Sequence[str] | None = None,
    tokenizer: str | os.PathLike | text.Tokenizer | None = None,
    folder: str | os.PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    jit_compile: bool | str = "auto",
    verbose: int = 0,
    flags: Mapping[str, Any] | None = None,
    command: str | None = None,
) -> Compressed:
    """Makes a trained model small without data: pruned, clustered, quantized, measured after each stage.

    What the program `tfkd-compress` does. Stages come in the order prune, cluster, quantize. In each the
    model learns from the model as it was, or from another teacher, by a data-free recipe, and keeps what
    the stage before has done. Only the first stage has the recipe's warm-up.

    `seed` seeds Keras, NumPy and Python, too, as `keras.utils.set_random_seed` does.

    Args:
        model: a file or a Keras model, as `tfkd.load_teacher` takes them; it stays as it is. Of a text
            model (inputs `token_ids` and others by name) `tfkd.text.plain` is compressed.
        teacher: likewise, what is learned from; None for the model itself.
        prune: share of all kernels' weights to become 0, at least 0 and below 1; None for no pruning.
        prune_distribution: how zeros are spread over layers: "lamp", "erk" or "uniform", as in
            `tfkd.compression.prune`.
        cluster: number of distinct weight values in each kernel, at least 2; None for no clustering.
        quantize: whether to train with the rounding of 8 bits, for an int8 file.
        learn_rounding: whether to learn, layer by layer and in minutes, which weights of a trained model
            are rounded up, for a file of "int8", "int16x8", "w4a8" or "int4"
            (`tfkd.compression.learn_rounding`).
        recipe: a `tfkd.datafree` recipe, or the name of one; "auto" for the one that suits the teacher, as
            `tfkd.datafree.choose_recipe` has it; for text models "procedural_text", which "procedural" then
            stands for.
        teacher_options: arguments of `tfkd.load_teacher` for model and teacher, such as
            `{"input_range": (0, 255)}`.
        training_data: an npz file with `x_train` and `y_train`, or these two arrays, to put beside the
            synthesized inputs; None for none. For text models a `.csv` or `.tsv` file of texts and
            labels, an npz file of the model's inputs by name and labels `y`, or (texts, labels), where
            texts are strings or a dictionary of the inputs; they learn on these alone.
        evaluation_data: an npz file with `x_test` and `y_test`, or these two arrays, or texts as of
            `training_data`: for evaluation only.
        learning_rate: peak rate of Adam in each stage; trained weights want smaller steps than new ones.
        seed: what all randomness follows from.
        tflite: kind of TFLite file, one of `tfkd.export.QUANTIZATIONS`; None for none. Text models that are
            not trained for "int8" become "dynamic" instead of it.
        min_agreement: share of synthesized inputs, in [0, 1], on which the file has to answer as the model
            that it was made from; where it does not, the next best kind of file that does is the result's,
            and the reason is its `problem`.
        labels: names of the classes in their order, for the TFLite file to carry.
        tokenizer: of text models, or the folder that it is in; needed where texts are strings, and for
            words to ask the model about.
        folder: where to write `model.keras`, `model.tflite`, `calibration.npz`
            (`tfkd.export.read_calibration`), `metrics.json`, `report.html`, `MODEL_CARD.md` and
            `model_card.json`; None for nowhere.
        resume: whether to go on with a run in `folder` that was interrupted, to the same weights: stages
            that have ended are not trained again.
        overwrite: whether to replace a run in `folder`.
        jit_compile: as `tfkd.DataFreeDistiller.compile` takes it.
        verbose: as in `keras.Model.fit`; 0 prints nothing.
        flags: the values of all flags that this was asked for by, for records; None if there were none.
        command: the command line, likewise.

    Returns:
        A `Compressed`.

    Raises:
        FileNotFoundError: if a file is not there.
        ImportError: if what files or reports need is not installed.
        ValueError: if an argument does not fit, another run is writing to the folder, the model has a layer
            that tfmot cannot wrap, or it is no better than chance or its answers are not finite.
        FloatingPointError: if the loss of a stage is no longer finite.
        RuntimeError: if the model, as it is or after a stage, cannot be converted.
        OSError: if the folder cannot be written, or is removed in mid-run.

    Example:
        >>> small = tfkd.pipelines.compress("model.keras", prune=0.8, quantize=True)
        >>> small.tflite_check.gzip_bytes
    """
    request = Request(compress, locals())
    start, say, asked = time.perf_counter(), teller(verbose), as_recipe_or_auto(recipe)
    plan = CompressionPlan(
        prune=prune, prune_distribution=prune_distribution, cluster=cluster, quantize=quantize
    )
    if quantize and tflite not in ("int8", None):
        raise ValueError(f"`quantize` trains for an int8 file. Received: `tflite`={tflite!r}.")
    check_rounding(learn_rounding, quantize, tflite)
    # Variants are measured as files, whether one is asked for or not.
    check_outputs(tflite or "int8", folder)
    if resume and folder is None:
        raise ValueError("`resume` needs a `folder`: the one of the run that was interrupted.")
    opened = RunFolder(folder, request.settings, resume, overwrite) if folder else contextlib.nullcontext()
    with opened as place, progress.showing(verbose):
        if resume and place and place.finished:
            say(f"The run in {place.path!r} is complete; nothing to resume.")
            place.finish()
            return read_compressed(place)
        keras.utils.set_random_seed(seed)
        say(f"loading the model: {named(model)}")
        original = as_teacher(model, teacher_options, "model")
        # A teacher is frozen, and the model has to learn.
        source = copied(original) if teacher is None else as_teacher(teacher, teacher_options)
        check_labels(labels, original)
        task = task_of(original)
        # Compressed, the model has its own layers still, and can learn its own features.
        recipe, reason = chosen_recipe(asked, source, inherits=teacher is None)
        say(f"recipe {recipe.name}: {reason}")
        check_something_to_teach(recipe)
        given = {"training_data": training_data, "evaluation_data": evaluation_data}
        if takes_texts(original):
            original = text.plain(original)
            recipe, examples, data = _texts_of(original, recipe, tokenizer, given)
            if tflite == "int8" and not quantize:
                say("texts are written as 'dynamic': 'int8' takes training (`quantize`)")
                tflite = "dynamic"
                check_rounding(learn_rounding, quantize, tflite)
        else:
            examples, data = _images_of(original, given)
        if data is not None:
            check_better_than_chance(original, data, "model", say)
        say("making inputs to measure on")
        with progress.work("making inputs to measure on"):
            made = synthetic_inputs(original, source, seed, recipe)
        variants = CompressionVariants(data, *made, labels, task)
        taught_on_texts = examples is not None and takes_texts(original)
        lessons = (TextLessons if taught_on_texts else SharedWarmUp)(source, recipe, seed)
        stages = CompressionStages(lessons, examples, learning_rate, jit_compile, place, verbose, say)
        if place:
            place.begin()
        say("converting and measuring the model as it is")
        variants.measure_original(original, smaller=tflite == "int8" or takes_texts(original))
        wrapped = plan.apply(original, stages, variants, say)
        plain = compression.strip(wrapped) if isinstance(wrapped, compression.BridgedModel) else wrapped
        if place:
            place.save_model("model.keras", plain)
        chosen = Chosen()
        if tflite is not None:
            say(f"converting what came of it to {tflite}")
            described = {"name": "written file", "sparsity": compression.sparsity(plain)}
            chosen = variants.choose(described, wrapped, tflite, min_agreement, say, learn_rounding)
        metrics = {
            "model": {"name": original.name, "file": named(model), "params": original.count_params()},
            "teacher": named(model if teacher is None else teacher),
            "task": task.name,
            "class_names": labels and list(labels),
            "sparsity": compression.sparsity(plain),
            "evaluation_images": None if data is None else len(data[1]),
            "training_images": None if examples is None else len(examples[1]),
            "synthetic_images": len(keras.tree.flatten(variants.judging)[0]),
            "tflite": chosen.metrics,
            "problem": plan.not_reached(plain) or chosen.problem,
            "stages": stages.rows,
            "variants": variants.rows,
            "recipe": recipe.describe(),
            "recipe_reason": reason,
            "seed": seed,
            "device": device(),
            **request.records,
            "versions": versions(),
            "wall_seconds": time.perf_counter() - start + stages.earlier_seconds,
        }
        result = Compressed(
            model=plain,
            metrics=metrics,
            tflite=chosen.content,
            tflite_check=chosen.check,
            calibration=chosen.calibration,
            problem=metrics["problem"],
            folder=place.path if place else None,
            write_report=lambda path: write_compression_report(path, metrics),
        )
        if place:
            write(result, place, plain, "model", task)
            place.finish()
        return result


def _images_of(model, given):
    """Real examples of inputs other than texts: to learn from, and to measure on; None for none."""
    training, evaluation = given["training_data"], given["evaluation_data"]
    examples = load_examples(training, model, "train", "training_data") if training else None
    return examples, None if evaluation is None else load_examples(evaluation, model)


def _texts_of(model, recipe, tokenizer, given):
    """The recipe with words, and real texts to learn from and to measure on, all of one length."""
    tokenizer = as_tokenizer(tokenizer)
    texts = {
        argument: None if source is None else load_texts(source, model, tokenizer, argument)
        for argument, source in given.items()
    }
    length = longest(*texts.values())
    examples, data = (filled_up(each, length) for each in texts.values())
    return with_words(recipe, tokenizer, length), examples, data
