"""What a finished run is measured by, and the files it leaves."""

import dataclasses
import json
import os
import platform
import time

import keras
import numpy as np
import tensorflow as tf

import tfkd
from tfkd import export
from tfkd._core import files
from tfkd.cli.monitoring import RunHistory
from tfkd.cli.run_folder import RunFolder
from tfkd.datafree import DataFreeDistiller, Health, reestimate_statistics
from tfkd.datafree.objectives._moments import normalization_taps
from tfkd.datafree.watching._timing import time_shares
from tfkd.export import _pictures as pictures

_HELD_OUT_IMAGES = 2000
_SHOWN_IMAGES = 60
_CALIBRATION_IMAGES = 256
# For the statistics of batch normalization, and as many others to judge them by.
_STATISTICS_IMAGES = 1000


class Outcome:
    """Measures a finished run and writes its student, TFLite file, metrics and report.

    Args:
        distiller: the distiller after training.
        folder: where the files go.
        data: real `(images, labels)` to measure on, or None.
        settings: the program's flags.

    Attributes:
        problem: why a file that was asked for is missing, or None.
    """

    def __init__(
        self,
        distiller: DataFreeDistiller,
        folder: RunFolder,
        data: tuple[np.ndarray, np.ndarray] | None,
        settings: dict,
    ) -> None:
        self.distiller, self.folder, self.data, self.settings = distiller, folder, data, settings
        self.teacher, self.student = distiller.teacher, distiller.student
        self.synthetic = distiller.synthesize(_HELD_OUT_IMAGES)
        self.batch_statistics = None
        if normalization_taps(self.student):
            others = distiller.synthesize(2 * _STATISTICS_IMAGES)
            self.batch_statistics = choose_statistics(
                self.teacher, self.student, others[:_STATISTICS_IMAGES], others[_STATISTICS_IMAGES:], data
            )
        self.synthetic_labels = predict(self.teacher, self.synthetic).argmax(-1)
        compared = self.synthetic if data is None else data[0]
        self.teacher_labels = predict(self.teacher, compared).argmax(-1)
        self.student_labels = predict(self.student, compared).argmax(-1)
        self.agreement = float(np.mean(self.teacher_labels == self.student_labels))
        self.problem: str | None = None

    def write(self, history: RunHistory, health: Health, stopped: str | None, start: float) -> None:
        """Writes everything, the metrics last: where they stand, the run is complete.

        Args:
            history: the run's history.
            health: what watched the run.
            stopped: why training stopped early, or None.
            start: `time.perf_counter()` when the program started.
        """
        with files.replacing(self.folder.file("student.keras")) as temporary:
            self.student.save(temporary)
        checks = self._export()
        metrics = self._metrics(history, stopped, checks)
        metrics["health"] = _health(health, history.rows)
        metrics["wall_seconds"] = self._wall_seconds(history, start)
        export.write_report(
            self.folder.file("report.html"),
            metrics,
            history.rows,
            pictures.image_grid(self.synthetic[:_SHOWN_IMAGES], self.teacher, columns=12),
            self.synthetic_labels,
            self.teacher_labels,
            self.student_labels,
        )
        files.write_text(self.folder.file("metrics.json"), json.dumps(metrics, indent=2) + "\n")
        self.folder.finish()
        self._print_summary(metrics)

    def _export(self):
        """Checks of the TFLite variants: both networks in float32, and the kind asked for.

        What cannot be exported is said and left out: the rest of the run is worth having.
        """
        if self.settings["tflite"] == "none":
            return {}
        checks = {}
        data = {
            "representative_data": self.synthetic[:_CALIBRATION_IMAGES],
            "verification_data": self.synthetic[_CALIBRATION_IMAGES:],
        }
        for model, quantization, path in (
            (self.teacher, "float32", None),
            (self.student, "float32", None),
            (self.student, self.settings["tflite"], self.folder.file("student.tflite")),
        ):
            role = "teacher" if model is self.teacher else "student"
            try:
                checks[role, quantization] = export.export_tflite(
                    model,
                    path,
                    quantization,
                    evaluation_data=self.data,
                    labels=self.settings["labels"],
                    **data,
                )
            except (RuntimeError, OSError) as error:
                print(f"No {quantization} TFLite file of the {role}: {error}")
                if path is not None:
                    self.problem = f"there is no student.tflite: {error}"
        return checks

    def _metrics(self, history, stopped, checks):
        recipe, data = self.distiller.recipe, self.data
        steps = int(self.distiller.steps_done.numpy())
        shares = time_shares(self.distiller)
        counts = np.bincount(self.synthetic_labels, minlength=self.distiller.classes)
        tflite = checks.get(("student", self.settings["tflite"]))
        return {
            "teacher": {**_about(self.teacher, self.settings["teacher"]), **self._accuracy("teacher")},
            "student": {**_about(self.student, "student.keras"), **self._accuracy("student")},
            "tflite": tflite and {"quantization": self.settings["tflite"], **dataclasses.asdict(tflite)},
            "variants": [
                {
                    "model": role,
                    "quantization": quantization,
                    "params": getattr(self, role).count_params(),
                    **dataclasses.asdict(check),
                }
                for (role, quantization), check in checks.items()
            ],
            "agreement": self.agreement,
            "agreement_on": "synthesized images" if data is None else "real images",
            "params": {
                "teacher": self.teacher.count_params(),
                "student": self.student.count_params(),
            },
            "classes": self.distiller.classes,
            "batch_statistics": self.batch_statistics,
            "rarest_class_share": float(counts.min() / counts.sum()),
            "evaluation_images": None if data is None else len(data[0]),
            "synthetic_images": len(self.synthetic),
            "images_generated": self.distiller.images_made(steps),
            "student_updates": int(self.distiller.optimizer.iterations.numpy()),
            "epochs": steps // recipe.steps_per_epoch,
            "steps_per_epoch": recipe.steps_per_epoch,
            "training_seconds": history.seconds,
            "synthesis_seconds": history.seconds * shares[0],
            "student_seconds": history.seconds * shares[1],
            "recipe": recipe.describe(),
            "seed": self.settings["seed"],
            "stopped": stopped,
            "device": device(),
            "flags": self.settings,
            "versions": versions(),
        }

    def _accuracy(self, role):
        if self.data is None:
            return {"accuracy": None}
        labels = self.teacher_labels if role == "teacher" else self.student_labels
        return {"accuracy": float(np.mean(labels == self.data[1]))}

    def _wall_seconds(self, history, start):
        """This process's time, and the training time of interrupted ones before it."""
        earlier = sum(row["seconds"] for row in history.rows[: history.resumed_rows])
        return time.perf_counter() - start + earlier

    def _print_summary(self, metrics):
        print(f"\nteacher  {metrics['params']['teacher']:>10,} parameters", _of(metrics["teacher"]))
        print(f"student  {metrics['params']['student']:>10,} parameters", _of(metrics["student"]))
        if metrics["tflite"]:
            size = metrics["tflite"]["size_bytes"]
            print(f"TFLite   {size:>10,} bytes ({self.settings['tflite']})", _of(metrics["tflite"]))
        print(f"agreement on {metrics['agreement_on']}: {metrics['agreement']:.2%}")
        print(f"{metrics['wall_seconds']:.0f} s; see {self.folder.file('report.html')}")


def predict(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """The model's logits, quietly."""
    return model.predict(x, batch_size=256, verbose=0)


def choose_statistics(
    teacher: keras.Model,
    student: keras.Model,
    images: np.ndarray,
    judging: np.ndarray,
    data: tuple[np.ndarray, np.ndarray] | None,
) -> dict | None:
    """Estimates the student's batch statistics anew and keeps those that agree more with the teacher.

    Args:
        teacher: a model from images to logits.
        student: the student after training; has the statistics that were kept afterwards.
        images: synthetic images the statistics are estimated on.
        judging: other synthetic images, on which agreement decides; a tie changes nothing.
        data: real `(images, labels)`, only to measure, or None.

    Returns:
        Agreement and accuracy "as_trained" and "reestimated", and which of them was "kept"; None where
        there is nothing to estimate.
    """
    labels = predict(teacher, judging).argmax(-1)

    def figures():
        same = np.mean(predict(student, judging).argmax(-1) == labels)
        right = data and float(np.mean(predict(student, data[0]).argmax(-1) == data[1]))
        return {"agreement": float(same), "accuracy": right}

    as_trained = student.get_weights()
    before = figures()
    if not reestimate_statistics(student, images):
        return None
    after = figures()
    better = after["agreement"] > before["agreement"]
    if not better:
        student.set_weights(as_trained)
    kept = "reestimated" if better else "as_trained"
    return {"as_trained": before, "reestimated": after, "kept": kept}


def _health(health, rows):
    """Findings and figures of all epochs, those before an interruption included."""
    rows = [row for row in rows if "health_agreement" in row]
    names = ["epoch", *(name for name in rows[0] if name.startswith("health_"))] if rows else []
    return {
        "findings": health.review(rows),
        "series": {name: [row[name] for row in rows] for name in names},
    }


def _about(model, file):
    return {"name": model.name, "file": os.path.basename(file), "params": model.count_params()}


def _of(entry):
    return "" if entry["accuracy"] is None else f"  accuracy {entry['accuracy']:.2%}"


def device() -> str:
    """What a run ran on."""
    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return ", ".join(gpus) or f"{os.cpu_count()} CPU cores"


def versions() -> dict[str, str]:
    """Of the libraries that its result depends on."""
    return {
        "tfkd": tfkd.__version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }
