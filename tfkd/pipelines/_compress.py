"""compress: prunes, clusters and quantizes a model into a verified TFLite file."""

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
    """Compresses a trained model without data: prunes, clusters, quantizes; measures each stage.

    This is the function behind the program `tfkd-compress`. Stages come in the order prune, cluster,
    quantize. In each stage, the model is trained with the original model or another teacher, by a data-free
    recipe, and preserves the result of the previous stage. Only the first stage has the recipe's warm-up.

    `seed` also seeds Keras, NumPy and Python, like `keras.utils.set_random_seed`.

    Args:
        model: a file or a Keras model, as for `tfkd.load_teacher`; it is not changed. For a text model
            (inputs `token_ids` and others by name), `tfkd.text.plain` of it is compressed.
        teacher: the same, for the teacher to learn from; None for the model itself.
        prune: fraction of all kernel weights to set to 0, at least 0 and below 1; None for no pruning.
        prune_distribution: how zeros are distributed over layers: "lamp", "erk" or "uniform", as in
            `tfkd.compression.prune`.
        cluster: number of distinct weight values in each kernel, at least 2; None for no clustering.
        quantize: whether to use quantization-aware training, for an int8 file.
        learn_rounding: whether to learn, layer by layer and within minutes, which weights of a trained
            model to round up, for a file of "int8", "int16x8", "w4a8" or "int4"
            (`tfkd.compression.learn_rounding`).
        recipe: a `tfkd.datafree` recipe, or the name of one; "auto" for the one that suits the teacher, as
            chosen by `tfkd.datafree.choose_recipe`; for text models "procedural_text", which is also what
            "procedural" then means.
        teacher_options: arguments of `tfkd.load_teacher` for model and teacher, such as
            `{"input_range": (0, 255)}`.
        training_data: an npz file with `x_train` and `y_train`, or these two arrays, to mix with the
            synthesized inputs; None for none. For text models a `.csv` or `.tsv` file of texts and labels,
            an npz file of the model's inputs by name and labels `y`, or (texts, labels), where texts are
            strings or a dictionary of the inputs; text models learn on these alone.
        evaluation_data: an npz file with `x_test` and `y_test`, or these two arrays, or texts as for
            `training_data`: for evaluation only.
        learning_rate: peak rate of Adam in each stage; trained weights need smaller steps than new ones.
        seed: int seed of all randomness.
        tflite: kind of TFLite file, one of `tfkd.export.QUANTIZATIONS`; None for none. Text models not
            trained for "int8" are written as "dynamic" instead.
        min_agreement: fraction of synthesized inputs, in [0, 1], on which the file must agree with its
            model; otherwise the result has the next best kind of file that does, and `problem` says why.
        labels: names of the classes in order, to store in the TFLite file.
        tokenizer: the tokenizer of a text model, or its folder; needed for texts given as strings, and for
            drawing words to query the model with.
        folder: where to write `model.keras`, `model.tflite`, `calibration.npz`
            (`tfkd.export.read_calibration`), `metrics.json`, `report.html`, `MODEL_CARD.md` and
            `model_card.json`; None to write nothing.
        resume: whether to continue an interrupted run in `folder`; it ends with the same weights; completed
            stages are not trained again.
        overwrite: whether to replace a run in `folder`.
        jit_compile: as for `tfkd.DataFreeDistiller.compile`.
        verbose: as in `keras.Model.fit`; 0 prints nothing.
        flags: values of all flags of the command line, for the records; None if there was none.
        command: the command line itself, or None.

    Returns:
        A `Compressed`.

    Raises:
        FileNotFoundError: if a file does not exist.
        ImportError: if a package for files or reports is not installed.
        ValueError: if an argument is invalid, another run is writing to the folder, the model has a layer
            that tfmot cannot wrap, or the model is no better than chance or its outputs are not finite.
        FloatingPointError: if the loss of a stage becomes NaN or infinite.
        RuntimeError: if the model, before or after a stage, cannot be converted.
        OSError: if the folder cannot be written, or is removed during the run.

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
    # Variants are measured as files, even if no file was requested.
    check_outputs(tflite or "int8", folder)
    if resume and folder is None:
        raise ValueError("`resume` needs the `folder` of the interrupted run.")
    opened = RunFolder(folder, request.settings, resume, overwrite) if folder else contextlib.nullcontext()
    with opened as place, progress.showing(verbose):
        if resume and place and place.finished:
            say(f"The run in {place.path!r} is complete; nothing to resume.")
            place.finish()
            return read_compressed(place)
        keras.utils.set_random_seed(seed)
        say(f"loading the model: {named(model)}")
        original = as_teacher(model, teacher_options, "model")
        # A teacher is frozen, but the model must be trainable.
        source = copied(original) if teacher is None else as_teacher(teacher, teacher_options)
        check_labels(labels, original)
        task = task_of(original)
        # The compressed model still has its own layers, so it can learn its own features.
        recipe, reason = chosen_recipe(asked, source, inherits=teacher is None)
        say(f"recipe {recipe.name}: {reason}")
        check_something_to_teach(recipe)
        given = {"training_data": training_data, "evaluation_data": evaluation_data}
        if takes_texts(original):
            original = text.plain(original)
            recipe, examples, data = _texts_of(original, recipe, tokenizer, given)
            if tflite == "int8" and not quantize:
                say("text models are written as 'dynamic': 'int8' needs training (`quantize`)")
                tflite = "dynamic"
                check_rounding(learn_rounding, quantize, tflite)
        else:
            examples, data = _images_of(original, given)
        if data is not None:
            check_better_than_chance(original, data, "model", say)
        say("synthesizing inputs to measure on")
        with progress.work("synthesizing inputs to measure on"):
            made = synthetic_inputs(original, source, seed, recipe)
        variants = CompressionVariants(data, *made, labels, task)
        taught_on_texts = examples is not None and takes_texts(original)
        lessons = (TextLessons if taught_on_texts else SharedWarmUp)(source, recipe, seed)
        stages = CompressionStages(lessons, examples, learning_rate, jit_compile, place, verbose, say)
        if place:
            place.begin()
        say("converting and measuring the original model")
        variants.measure_original(original, smaller=tflite == "int8" or takes_texts(original))
        wrapped = plan.apply(original, stages, variants, say)
        plain = compression.strip(wrapped) if isinstance(wrapped, compression.BridgedModel) else wrapped
        if place:
            place.save_model("model.keras", plain)
        chosen = Chosen()
        if tflite is not None:
            say(f"converting the result to {tflite}")
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
    """Real examples other than texts, for training and for evaluation; None for none."""
    training, evaluation = given["training_data"], given["evaluation_data"]
    examples = load_examples(training, model, "train", "training_data") if training else None
    return examples, None if evaluation is None else load_examples(evaluation, model)


def _texts_of(model, recipe, tokenizer, given):
    """The recipe with words, and real texts for training and evaluation, all of the same length."""
    tokenizer = as_tokenizer(tokenizer)
    texts = {
        argument: None if source is None else load_texts(source, model, tokenizer, argument)
        for argument, source in given.items()
    }
    length = longest(*texts.values())
    examples, data = (filled_up(each, length) for each in texts.values())
    return with_words(recipe, tokenizer, length), examples, data
