"""distil_text: distils a transformer on texts into a small student and its TFLite file."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Sequence
from typing import Any

import keras

from tfkd._core import progress
from tfkd._core.checks import check_int, check_number
from tfkd.callbacks import KeepLastGood
from tfkd.pipelines._boards import training_curves
from tfkd.pipelines._fine_tuning import fine_tune
from tfkd.pipelines._machine import device, versions
from tfkd.pipelines._networks import Source, named
from tfkd.pipelines._progress import ShownProgress
from tfkd.pipelines._requirements import check_outputs
from tfkd.pipelines._result_files import read, write
from tfkd.pipelines._results import Distilled
from tfkd.pipelines._run_folder import RunFolder
from tfkd.pipelines._saving import FolderCheck
from tfkd.pipelines._settings import Request, teller
from tfkd.pipelines._text_data import load_text_data
from tfkd.pipelines._text_networks import recipe_for, text_student, text_teacher, tokenizer_for
from tfkd.pipelines._text_outcome import TextOutcome
from tfkd.pipelines._training_log import TrainingLog
from tfkd.tasks import task_of
from tfkd.text import TextRecipe


def distil_text(
    teacher: Source,
    student: Source | None = None,
    recipe: str | TextRecipe | None = None,
    *,
    training_data: str | os.PathLike,
    tokenizer: str | os.PathLike | None = None,
    recipe_options: Sequence[str] = (),
    unlabelled_data: str | os.PathLike | None = None,
    evaluation_data: str | os.PathLike | None = None,
    text_column: str | int | None = None,
    label_column: str | int | None = None,
    labels: Sequence[str] | None = None,
    augment: bool = False,
    max_length: int = 64,
    teacher_epochs: int = 3,
    validation_split: float = 0.1,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    tflite: str | None = "dynamic",
    min_agreement: float = 0.9,
    folder: str | os.PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    jit_compile: bool | str = "auto",
    verbose: int = 0,
    flags: dict[str, Any] | None = None,
    command: str | None = None,
) -> Distilled:
    """Distils a transformer into a student on texts, and makes its TFLite file.

    This is the function behind the program `tfkd-distill --task=text`. With labels, the teacher is a
    classifier; a Hugging Face folder gets a new head and is fine-tuned first. Without labels, a file
    determines its own task, and a folder is a sentence encoder. A fraction of the training texts is held
    out for evaluation.

    Args:
        teacher: a `.keras` file or a model of texts; or a folder with `config.json`, `model.safetensors`
            and a tokenizer.
        student: "3layers", "3layersx192" (of width 192), "0,2,5" (these layers of the teacher), "bilstm", a
            `.keras` file, or a model, which is trained in place. None for "3layers", or for the student
            that a recipe object defines.
        recipe: a recipe of `tfkd.text`, or its name; None for `BERTToBiLSTM` with "bilstm",
            `EmbeddingDistillation` for a sentence encoder, otherwise `DistilBERT`.
        training_data: a `.csv` or `.tsv` file of texts, with or without labels, or a `.txt` file with one
            text per line.
        tokenizer: folder of the tokenizer; None for the teacher's folder.
        recipe_options: `key=value` strings: options of a recipe given by name.
        unlabelled_data: more texts, in a file like `training_data`; its labels are ignored.
        evaluation_data: texts to measure on at the end, in a file like `training_data`.
        text_column: name, or index from 0, of the column with texts; None for one called "text" or similar,
            otherwise the first.
        label_column: the same for labels; None for one called "label" or similar, otherwise the second of
            two.
        labels: the classes in order; None for those in the file, sorted.
        augment: whether the student also learns from augmented training texts: copies with words masked,
            and n-grams, three of each or as `BERTToBiLSTM` defines (`tfkd.text.augment_words`). With these
            or `unlabelled_data`, labels are not used, only the teacher's outputs.
        max_length: number of tokens at which texts are truncated, at least 3; the TFLite file has this
            input length.
        teacher_epochs: epochs of fine-tuning, if the teacher is a folder and there are labels.
        validation_split: fraction of the training texts to hold out, above 0 and below 1.
        epochs: epochs of the student; None for the recipe's.
        batch_size: texts in an update; None for the recipe's.
        learning_rate: peak learning rate; None for the recipe's.
        seed: int seed of all randomness.
        tflite: kind of TFLite file, one of `tfkd.export.QUANTIZATIONS`; None for none.
        min_agreement: minimum agreement of the file with the student on held-out texts, in [0, 1];
            otherwise the result has the next best kind of file that reaches it.
        folder: where to write `student.keras`, `student.tflite`, `tokenizer`, `metrics.json`,
            `report.html`, `MODEL_CARD.md`, `model_card.json`, TensorBoard's events and, from training
            texts, `calibration.npz`; None to write nothing.
        resume: whether to continue an interrupted run in `folder`.
        overwrite: whether to replace a run in `folder`.
        jit_compile: as for `tfkd.Distiller.compile`.
        verbose: 0 prints nothing.
        flags: values of all flags of the command line, for the records; None if there was none.
        command: the command line itself, or None.

    Returns:
        A `Distilled`.

    Raises:
        FileNotFoundError: if a file does not exist.
        ImportError: if the extra `text`, or a package for files or reports, is not installed.
        ValueError: if an argument is invalid, or another run is writing to the folder.
        OSError: if the folder cannot be written.

    Example:
        >>> distilled = tfkd.pipelines.distil_text(
        ...     "all-MiniLM-L6-v2", "3layers", training_data="reviews.tsv", folder="runs/reviews"
        ... )
    """
    request = Request(distil_text, locals())
    start, say = time.perf_counter(), teller(verbose)
    for name, value in (("max_length", max_length), ("teacher_epochs", teacher_epochs)):
        check_int(name, value, least=3 if name == "max_length" else 1)
    check_number("min_agreement", min_agreement, least=0, most=1)
    check_outputs(tflite, folder)
    if resume and folder is None:
        raise ValueError("`resume` needs the `folder` of the interrupted run.")
    opened = RunFolder(folder, request.settings, resume, overwrite) if folder else contextlib.nullcontext()
    with opened as place, progress.showing(verbose):
        if resume and place and place.finished:
            say(f"The run in {place.path!r} is complete; nothing to resume.")
            place.finish()
            return read(place)
        words = tokenizer_for(tokenizer, teacher, max_length)
        data = load_text_data(
            training_data,
            unlabelled_data,
            evaluation_data,
            columns=(text_column, label_column),
            class_names=labels,
            tokenizer=words,
            validation_split=validation_split,
            seed=seed,
            say=say,
        )
        keras.utils.set_random_seed(seed)
        say(f"loading the teacher: {named(teacher)}")
        network, new = text_teacher(teacher, words, data.classes, max_length)
        data = data.for_task(task_of(network))
        overrides = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
        chosen = recipe_for(recipe, student, network, recipe_options, **overrides)
        # Refuse impossible students before training the teacher.
        learner = text_student(student, chosen, network)
        if place:
            place.begin()
            words.save(place.file("tokenizer"))
        if new:
            fine_tune(network, data, teacher_epochs, seed, place, say)
            # The student starts the same, whether or not the teacher was trained in this process.
            keras.utils.set_random_seed(seed)
            learner = text_student(student, chosen, network)
        taught, log = data.to_learn_from(chosen, augment, seed), TrainingLog(say)
        with ShownProgress(verbose) as epochs_shown:
            checks = [FolderCheck(place)] if place else []
            history = chosen.fit(
                network,
                learner,
                taught.dataset,
                validation_data=data.validation_batches(labelled=taught.labelled),
                callbacks=[
                    taught.seeds,
                    *checks,
                    KeepLastGood(),
                    log,
                    *training_curves(place),
                    epochs_shown,
                ],
                backup_dir=place.file("state/scheme") if place else None,
                seed=seed,
                jit_compile=jit_compile,
                verbose=0,
            )
        rows = log.rows(history)
        if place:
            place.save_model("student.keras", learner)
            place.write_json("history.json", rows)
        say("measuring the student")
        outcome = TextOutcome(
            network, learner, data, {"teacher": named(teacher), "student": "student.keras"}
        )
        variants, file = outcome.files(tflite, data.class_names, min_agreement, say)
        metrics = {
            **outcome.metrics(),
            "scheme": {"name": type(chosen).__name__, "options": dataclasses.asdict(chosen)},
            "tflite": file.metrics,
            "variants": variants,
            "problem": log.stopped(rows) or file.problem,
            "epochs": len(rows),
            **data.counts(taught),
            "class_names": data.class_names,
            "seed": seed,
            "device": device(),
            **request.records,
            "versions": versions(),
            "training_seconds": log.seconds(rows),
            "wall_seconds": time.perf_counter() - start + log.earlier_seconds(rows),
        }
        write_report = outcome.reporter()
        result = Distilled(
            student=learner,
            history=rows,
            metrics=metrics,
            tflite=file.content,
            tflite_check=file.check,
            calibration=file.calibration,
            problem=metrics["problem"],
            folder=place.path if place else None,
            write_report=lambda path: write_report(path, metrics, rows),
        )
        if place:
            write(result, place, learner, "student", outcome.task)
            place.finish()
        return result
