"""Argument checks shared by the generators."""


def check_image_shape(image_shape) -> tuple[int, int, int]:
    """Returns `image_shape` as a tuple of three positive ints, or raises ValueError."""
    shape = tuple(image_shape)
    if len(shape) != 3 or any(not isinstance(side, int) or side < 1 for side in shape):
        raise ValueError(
            "`image_shape` must be (height, width, channels), three positive integers. "
            f"Received: image_shape={image_shape!r}. For grey images use channels=1."
        )
    return shape


def check_positive(name: str, value: int) -> int:
    """Returns `value` if it is an integer of at least 1, or raises ValueError naming it."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"`{name}` must be an integer of at least 1. Received: {name}={value!r}.")
    return value


def check_range(name: str, value) -> tuple[float, float]:
    """Returns `value` as a tuple `(low, high)` with 0 < low <= high, or raises ValueError naming it."""
    pair = tuple(value)
    if len(pair) != 2 or not 0 < pair[0] <= pair[1]:
        raise ValueError(f"`{name}` must be (low, high) with 0 < low <= high. Received: {name}={value!r}.")
    return pair
