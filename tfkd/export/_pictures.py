"""Pictures of a run as PNG bytes: image grids, curves, histograms, confusion."""

import io
from collections.abc import Sequence

import keras
import numpy as np

_DPI = 110
_TEACHER, _STUDENT = "#4c566a", "#2a78b5"


def require_report() -> None:
    """Raises ImportError with the remedy if reports cannot be made here."""
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(f"Reports need {error.name}: pip install 'tfkd[report]'.") from error


def image_grid(images: np.ndarray, teacher: keras.Model, columns: int = 8) -> bytes:
    """Images with the teacher's predicted class and its confidence above each.

    Args:
        images: `(n, height, width, channels)` in [0, 1], 1 or 3 channels (else the first is shown).
        teacher: a model from images to logits.
        columns: images in a row.

    Returns:
        A PNG.
    """
    logits = teacher.predict(images, verbose=0)
    confidence = np.asarray(keras.ops.softmax(logits, axis=-1)).max(axis=-1)
    rows = -(-len(images) // columns)
    across, down = 1.1, images.shape[1] / images.shape[2] + 0.3
    figure, ((axis,),) = _figure(columns * 1.05, rows * 1.05 * down / across, 1, 1)
    # One pair of axes for all: drawing one for each image takes five times as long.
    for i, (image, label, sure) in enumerate(zip(images, logits.argmax(-1), confidence, strict=True)):
        left, top = i % columns * across, -(i // columns) * down
        shown = image if image.shape[-1] == 3 else image[..., 0]
        place = (left, left + 1, top + 0.3 - down, top)
        axis.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest", extent=place)
        axis.text(left + 0.5, top + 0.04, f"{label}  {sure:.0%}", fontsize=8, ha="center", va="bottom")
    axis.axis("off")
    axis.set(xlim=(0, columns * across), ylim=(-rows * down, 0.3))
    return _png(figure)


def curves(history: Sequence[dict], groups: dict[str, Sequence[str]]) -> bytes:
    """Training curves, one panel a group.

    Args:
        history: rows with an "epoch" and values; rows may lack some.
        groups: panel titles and the names drawn in each.

    Returns:
        A PNG.
    """
    figure, axes = _figure(4.2 * len(groups), 3.0, 1, len(groups))
    for axis, (title, names) in zip(axes.flat, groups.items(), strict=True):
        for name in names:
            points = [(row["epoch"], row[name]) for row in history if name in row]
            if points:
                axis.plot(*zip(*points, strict=True), marker=".", label=name)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return _png(figure)


def class_histogram(labels: np.ndarray, classes: int) -> bytes:
    """How often the teacher sees each class in the synthesized images, as a PNG."""
    counts = np.bincount(labels, minlength=classes) / len(labels)
    figure, axes = _figure(4.6, 3.0, 1, 1)
    axis = axes.flat[0]
    axis.bar(np.arange(classes), counts, color=_STUDENT)
    axis.axhline(1 / classes, color=_TEACHER, linestyle="--", linewidth=1)
    axis.text(classes - 0.5, 1 / classes, " even", fontsize=8, va="bottom", ha="right")
    axis.set_xlabel("class predicted by the teacher")
    axis.set_ylabel("share of synthesized images")
    if classes <= 20:
        axis.set_xticks(np.arange(classes))
    return _png(figure)


def confusion(teacher_labels: np.ndarray, student_labels: np.ndarray, classes: int) -> bytes:
    """How often the student answers what, for each answer of the teacher, as a PNG."""
    counts = np.zeros((classes, classes))
    np.add.at(counts, (teacher_labels, student_labels), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = _figure(4.6, 4.2, 1, 1)
    axis = axes.flat[0]
    # The diagonal would drown everything else, so colours follow the square root.
    picture = axis.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)
    if classes <= 20:
        axis.set_xticks(np.arange(classes))
        axis.set_yticks(np.arange(classes))
        for row, column in np.argwhere(counts):
            dark = share[row, column] > 0.3
            axis.text(
                column,
                row,
                f"{counts[row, column]:.0f}",
                ha="center",
                va="center",
                fontsize=6.5,
                color="white" if dark else "#333333",
            )
    else:
        figure.colorbar(picture)
    axis.set_xlabel("student")
    axis.set_ylabel("teacher")
    return _png(figure)


def sizes(rows: Sequence[dict]) -> bytes:
    """Variants of a model: accuracy, or agreement where none was measured, against the zipped size.

    Args:
        rows: variants with "name", "quantization", "accuracy" (or None), "agreement" and "gzip_bytes".

    Returns:
        A PNG.
    """
    figure, axes = _figure(8.0, 4.2, 1, 1)
    axis = axes.flat[0]
    measured = rows[0]["accuracy"] is not None
    for number, row in enumerate(rows):
        axis.scatter(
            row["gzip_bytes"] / 1024,
            100 * row["accuracy" if measured else "agreement"],
            marker="os^vD<>pPX*"[number % 11],
            color=f"C{number % 10}",
            s=50,
            label=f"{row['name']}, {row['quantization']}",
        )
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("{x:g}")
    axis.set_xlabel("zipped file, KiB")
    axis.set_ylabel("accuracy, %" if measured else "agreement with its model, %")
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _png(figure)


def _figure(width, height, rows, columns):
    require_report()
    # The object interface: no global state and no window, whatever backend the user has set.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _png(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()
