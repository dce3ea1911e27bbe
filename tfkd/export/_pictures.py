"""Pictures of a run as PNG bytes: image grids, curves, histograms, confusion, scatter."""

import io
import textwrap
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from tfkd._core.asking import answers
from tfkd._core.layouts import filled_shape
from tfkd.export._figures import score, score_name
from tfkd.tasks import Task, task_of

_DPI = 110
_PANELS = 4
# With more classes than these, numbers alone would not be legible.
_NAMED = 20
_TEACHER, _STUDENT = "#4c566a", "#2a78b5"


def require_report() -> None:
    """Raises ImportError with the remedy if reports cannot be made here."""
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(f"Reports need {error.name}: pip install 'tfkd[report]'.") from error


def image_grid(
    images: np.ndarray, teacher: keras.Model, columns: int = 8, task: Task | None = None
) -> bytes:
    """Draws inputs with the teacher's prediction above each, such as a class and its confidence.

    Args:
        images: `(n, height, width, channels)` in [0, 1], with 1 or 3 channels (otherwise the first is
            shown); or vectors and series `(n, time, channels)`, which are drawn as lines.
        teacher: a model from them to logits or numbers.
        columns: the number of inputs per row.
        task: the teacher's task; None for `tfkd.tasks.task_of(teacher)`.

    Returns:
        A PNG.
    """
    captions = (task or task_of(teacher)).captions(answers(teacher, images))
    images = images.reshape(-1, *filled_shape(teacher))
    is_image = images.ndim == 4
    rows = -(-len(images) // columns)
    across, down = 1.1, (images.shape[1] / images.shape[2] if is_image else 0.7) + 0.3
    figure, ((axis,),) = _figure(columns * 1.05, rows * 1.05 * down / across, 1, 1)
    draw = _draw_image if is_image else _draw_lines
    # A single pair of axes for all images: separate ones take five times as long.
    for i, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left, top = i % columns * across, -(i // columns) * down
        draw(axis, image, (left, left + 1, top + 0.3 - down, top))
        axis.text(left + 0.5, top + 0.04, caption, fontsize=8, ha="center", va="bottom")
    axis.axis("off")
    axis.set(xlim=(0, columns * across), ylim=(-rows * down, 0.3))
    return _png(figure)


def _draw_image(axis, image, extent):
    shown = image if image.shape[-1] == 3 else image[..., 0]
    axis.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest", extent=extent)


def _draw_lines(axis, series, extent):
    """Draws one line for each channel, scaled to the range of all values."""
    left, right, bottom, top = extent
    low, high = series.min(), max(series.max(), series.min() + 1e-6)
    lines = bottom + (top - bottom) * (series.reshape(len(series), -1) - low) / (high - low)
    axis.plot(np.linspace(left, right, len(series)), lines, linewidth=0.8)


def panels(history: Sequence[dict], groups: Mapping[str, Sequence[str]]) -> dict[str, bytes]:
    """Draws training curves, with a picture for each group.

    Args:
        history: rows with an "epoch" and values; rows may lack some values.
        groups: the names of values to draw together, by title.

    Returns:
        PNGs by title.
    """
    return {title: _curves(history, names) for title, names in groups.items()}


def _curves(history, names):
    figure, axes = _figure(4.2, 3.0, 1, 1)
    axis = axes.flat[0]
    for name in names:
        points = [(row["epoch"], row[name]) for row in history if name in row]
        if points:
            axis.plot(*zip(*points, strict=True), marker=".", label=name)
    axis.set_xlabel("epoch")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return _png(figure)


def class_histogram(
    shares: np.ndarray, even: float | None = None, names: Sequence[str] | None = None
) -> bytes:
    """Draws how often the teacher predicts each class for the synthesized inputs.

    Args:
        shares: the fraction of inputs for each predicted class.
        even: the fraction if all classes were equally frequent, drawn as a line; None for none.
        names: the names of the classes; None for their numbers.

    Returns:
        A PNG.
    """
    figure, axis = _bars(shares, "class predicted by the teacher", "fraction of synthesized inputs", names)
    if even is not None:
        axis.axhline(even, color=_TEACHER, linestyle="--", linewidth=1)
        axis.text(len(shares) - 0.5, even, " even", fontsize=8, va="bottom", ha="right")
    return _png(figure)


def label_agreement(shares: np.ndarray, names: Sequence[str] | None = None) -> bytes:
    """The fraction of inputs on which teacher and student agree, for each label, as a PNG."""
    figure, axis = _bars(shares, "label", "fraction of inputs with agreement", names)
    axis.set_ylim(0, 1)
    return _png(figure)


def scatter(teacher: np.ndarray, student: np.ndarray) -> bytes:
    """Plots the student's outputs against the teacher's, with a panel for each of the first outputs.

    Args:
        teacher: the teacher's outputs `(n, outputs)`.
        student: the student's outputs `(n, outputs)`.

    Returns:
        A PNG.
    """
    outputs = min(teacher.shape[1], _PANELS)
    figure, axes = _figure(4.2 * outputs, 4.0, 1, outputs)
    for i, axis in enumerate(axes.flat):
        x, y = teacher[:, i], student[:, i]
        ends = [min(x.min(), y.min()), max(x.max(), y.max())]
        axis.plot(ends, ends, color=_TEACHER, linestyle="--", linewidth=1)
        axis.scatter(x, y, s=6, alpha=0.5, color=_STUDENT)
        axis.set_xlabel("teacher" if teacher.shape[1] == 1 else f"teacher, output {i}")
        axis.set_ylabel("student")
        axis.grid(alpha=0.3)
    return _png(figure)


def agreement_histogram(agreement: np.ndarray) -> bytes:
    """A histogram of the agreement of teacher and student per example, as a PNG."""
    figure, axes = _figure(4.6, 3.0, 1, 1)
    axis = axes.flat[0]
    axis.hist(agreement, bins=20, range=(0, 1), color=_STUDENT)
    axis.set_xlabel("agreement of student and teacher")
    axis.set_ylabel("inputs")
    return _png(figure)


def _bars(values, xlabel, ylabel, names):
    figure, axes = _figure(4.6, 3.0, 1, 1)
    axis = axes.flat[0]
    axis.bar(np.arange(len(values)), values, color=_STUDENT)
    axis.set_xlabel(xlabel)
    axis.set_ylabel(ylabel)
    if len(values) <= _NAMED:
        _name_ticks(axis.xaxis, len(values), names, rotation=45)
    return figure, axis


def _name_ticks(axis, classes, names, rotation=0):
    """A tick for each class, with its name or number."""
    if names is None:
        axis.set_ticks(np.arange(classes))
        return
    shown = [textwrap.shorten(name, 16, placeholder="...") for name in names]
    aligned = {"ha": "right", "rotation_mode": "anchor"} if rotation else {}
    axis.set_ticks(np.arange(classes), shown, rotation=rotation, fontsize=8, **aligned)


def confusion(
    teacher_labels: np.ndarray,
    student_labels: np.ndarray,
    classes: int,
    names: Sequence[str] | None = None,
) -> bytes:
    """The confusion matrix of the student's classes against the teacher's, as a PNG."""
    counts = np.zeros((classes, classes))
    np.add.at(counts, (teacher_labels, student_labels), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = _figure(4.6, 4.2, 1, 1)
    axis = axes.flat[0]
    # The diagonal would dominate, so colours show the square root.
    picture = axis.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)
    if classes <= _NAMED:
        _name_ticks(axis.xaxis, classes, names, rotation=45)
        _name_ticks(axis.yaxis, classes, names)
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


def masks(teacher: np.ndarray, student: np.ndarray, classes: int, columns: int = 8) -> bytes:
    """The first masks of class indices `(n, height, width)` of both networks, and where they differ."""
    shown = min(columns, len(teacher))
    figure, axes = _figure(1.05 * columns, 3.4, 3, columns)
    for axis in axes.flat:
        axis.axis("off")
    for row, name in enumerate(("teacher", "student", "differ")):
        axes[row, 0].set_title(name, fontsize=8, loc="left")
    for column in range(shown):
        for row, mask in enumerate((teacher[column], student[column])):
            axes[row, column].imshow(
                mask, cmap="viridis", vmin=0, vmax=classes - 1, interpolation="nearest"
            )
        differ = teacher[column] != student[column]
        axes[2, column].imshow(differ, cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
    return _png(figure)


def sizes(rows: Sequence[dict]) -> bytes:
    """Plots the main score of a model's variants, or their agreement, against the zipped size.

    Args:
        rows: variants with "name", "quantization", "accuracy" (or None) or "scores", "agreement" and
            "gzip_bytes". Agreement is used if any score is missing.

    Returns:
        A PNG.
    """
    figure, axes = _figure(8.0, 4.2, 1, 1)
    axis = axes.flat[0]
    name, shares = _main_figures(rows)
    percentages = name.endswith(("accuracy", "model"))
    for number, (row, share) in enumerate(zip(rows, shares, strict=True)):
        axis.scatter(
            row["gzip_bytes"] / 1024,
            100 * share if percentages else share,
            marker="os^vD<>pPX*"[number % 11],
            color=f"C{number % 10}",
            s=50,
            label=f"{row['name']}, {row['quantization']}",
        )
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("{x:g}")
    axis.set_xlabel("zipped file, KiB")
    axis.set_ylabel(f"{name}, %" if percentages else name)
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _png(figure)


def _main_figures(rows: Sequence[dict]) -> tuple[str, list[float]]:
    """The name of the figure by which variants are compared, and its values."""
    measured = [figure for row in rows if (figure := score(row)) is not None]
    if len(measured) == len(rows):
        return score_name(rows[0]), measured
    return "agreement with its model", [row["agreement"] for row in rows]


def _figure(width, height, rows, columns):
    require_report()
    # The object interface: no global state and no window, whatever the user's backend.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _png(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()
