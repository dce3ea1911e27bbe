"""The layout of a teacher's inputs, and the warning if it was assumed."""

from typing import Any

from tfkd._core.layouts import CHANNELS_FIRST, IMAGES, LAYOUTS, SERIES, is_doubtful, layout_shown

# The number of axes of a layout, and their meaning.
_AXES = {
    IMAGES: ((2, 3), "(height, width) or (height, width, channels)"),
    CHANNELS_FIRST: ((3,), "(channels, height, width)"),
    SERIES: ((2,), "(time, channels)"),
}


def decided_layout(layout: str | None, network: Any, name: str) -> tuple[str | None, str | None]:
    """The layout of a teacher's inputs.

    Args:
        layout: the layout given by the user; None to infer it from the first layers and the shape.
        network: a Keras model, or a black-box file.
        name: name of the teacher.

    Returns:
        One of `LAYOUTS`, or None if the shape determines it; and a sentence about the teacher if the user
        should know that the layout was assumed.

    Raises:
        ValueError: for an unknown layout, or one that does not fit; and if channels may come first.
    """
    shape = tuple(network.input_shape[1:])
    if layout is not None:
        _check(layout, shape, name)
        return layout, None
    if (shown := layout_shown(network)) is not None or not is_doubtful(shape):
        return shown, None
    if len(shape) == 2:
        return IMAGES, (
            f"takes inputs of shape {shape}, which are treated as images {shape[0]} high, {shape[1]} wide. "
            "To confirm that, pass layout='images' (--layout=images); if these are time and channels, "
            "layout='series' (--layout=series)."
        )
    raise ValueError(
        f"`layout` is needed: the teacher {name!r} takes inputs of shape {shape}, which look like images "
        "with channels first. Pass layout='channels_first' (--layout=channels_first) if they are, or "
        "layout='images' (--layout=images) if these are height, width and channels."
    )


def _check(layout, shape, name):
    if layout not in LAYOUTS:
        raise ValueError(f"`layout` must be one of {', '.join(map(repr, LAYOUTS))}. Received: {layout!r}.")
    ranks, axes = _AXES[layout]
    if len(shape) not in ranks:
        raise ValueError(
            f"`layout`: {layout!r} is for inputs {axes}; the teacher {name!r} takes {shape}. Leave it out."
        )
