"""The report of a run: one HTML file with everything in it."""

import base64
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfkd._core import files
from tfkd.export import _pictures as pictures

_TEMPLATE = "report.html.j2"
_HEALTH_GROUPS = {
    "agreement with the teacher": ("health_agreement", "health_agreement_synthetic"),
    "what the teacher sees": ("health_class_entropy", "health_confidence"),
    "the images": ("health_diversity", "health_duplicates"),
}


def write_report(
    path: str | os.PathLike,
    metrics: dict,
    history: Sequence[dict],
    grid: bytes,
    synthetic_labels: np.ndarray,
    teacher_labels: np.ndarray,
    student_labels: np.ndarray,
) -> None:
    """Writes a self-contained HTML report of a data-free run.

    Args:
        path: the file to write.
        metrics: what `metrics.json` holds.
        history: one row of logs for each epoch.
        grid: PNG of labelled synthesized images.
        synthetic_labels: the teacher's classes of held-out synthesized images.
        teacher_labels: the teacher's classes of the images both were compared on.
        student_labels: the student's classes of the same images.

    Raises:
        ImportError: if jinja2 or matplotlib is missing.
        OSError: if the file cannot be written.
    """
    pictures.require_report()
    classes = metrics["classes"]
    shown = {
        "curves": pictures.curves(history, _curve_groups(history)),
        "health": pictures.curves(history, _HEALTH_GROUPS),
        "grid": grid,
        "histogram": pictures.class_histogram(synthetic_labels, classes),
        "confusion": pictures.confusion(teacher_labels, student_labels, classes),
    }
    html = (
        template_environment()
        .get_template(_TEMPLATE)
        .render(
            metrics=metrics,
            trust=trust(metrics),
            pictures={name: base64.b64encode(png).decode() for name, png in shown.items()},
        )
    )
    files.write_text(path, html)


def template_environment() -> Any:
    """Jinja's environment with the templates of this package and how they write figures."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfkd.export", ""), autoescape=True, trim_blocks=True
    )
    environment.filters.update(percent=_percent, size=_size, seconds=_seconds)
    return environment


def trust(metrics: dict) -> list[str]:
    """What the figures do and do not show, in sentences.

    Args:
        metrics: what `metrics.json` holds.

    Returns:
        Sentences for the reader who has to decide whether to use the student.
    """
    sentences = []
    if metrics["teacher"]["accuracy"] is None:
        sentences.append(
            "No real data was given, so nobody has measured how accurate the student is. Agreement on "
            "synthesized images says that it follows the teacher there, and tends to be a poor guide "
            "to accuracy on real ones: before relying on the student, evaluate it on some."
        )
    else:
        lost = metrics["teacher"]["accuracy"] - metrics["student"]["accuracy"]
        sentences.append(
            f"On {metrics['evaluation_images']:,} real images, used only to measure, the student is "
            f"{abs(lost) * 100:.2f} points {'below' if lost >= 0 else 'above'} the teacher and gives "
            f"the same answer in {_percent(metrics['agreement'])}. Nothing was chosen by these figures: "
            f"they are those of the {'student that was kept' if metrics['stopped'] else 'last epoch'}."
        )
    share = metrics["rarest_class_share"] * metrics["classes"]
    if share < 0.2:
        sentences.append(
            "The synthesized images cover the classes unevenly: the rarest comes up "
            f"{share:.2f} times as often as it would in an even mix. Look at the confusion of that class."
        )
    tflite = metrics.get("tflite")
    if tflite:
        sentences.append(
            f"The TFLite file gives the student's answer on {_percent(tflite['agreement'])} of "
            "synthesized images; the largest difference of a logit there is "
            f"{tflite['max_difference']:.3g}."
        )
    if metrics.get("stopped"):
        sentences.insert(0, f"Attention: {metrics['stopped']}.")
    return sentences


def _curve_groups(history):
    names = [name for name in dict.fromkeys(n for row in history for n in row)]
    rates = [n for n in names if n == "agreement" or n.endswith("accuracy")]
    generator = [n for n in names if n.startswith("generator_")]
    groups = {"loss": [n for n in names if n.endswith("loss")], "agreement and accuracy": rates}
    return {**groups, "generator": generator} if generator else groups


def _percent(value, digits=2):
    return "not measured" if value is None else f"{value * 100:.{digits}f} %"


def _size(value):
    return "-" if value is None else f"{value / 1024:.1f} KiB"


def _seconds(value):
    minutes, seconds = divmod(round(value), 60)
    return f"{minutes} min {seconds:02d} s" if minutes else f"{value:.1f} s"
