"""The layers of a teacher that initialize a shallower student."""

from collections.abc import Sequence

from tfkd._core.checks import check_int


def spread_layers(layers: int, kept: int) -> list[int]:
    """Evenly spread layer indices, including the first and the last.

    Args:
        layers: number of the teacher's layers.
        kept: number to keep, from 1 (the first layer) to `layers`.

    Returns:
        Ascending indices from 0; of two equally near layers, the lower one.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> tfkd.students.spread_layers(6, 3)
        [0, 2, 5]

    Reference:
        Sanh et al., "DistilBERT", 2019, take every second layer: [0, 2, 4, 7, 9, 11] of 12, as here.
    """
    check_int("layers", layers)
    check_int("kept", kept, most=layers, remedy=f"The teacher has {layers} layers.")
    if kept == 1:
        return [0]
    # The nearest whole number, halves downwards.
    return [-((kept - 1 - 2 * i * (layers - 1)) // (2 * (kept - 1))) for i in range(kept)]


def chosen_layers(layers: int | Sequence[int] | None, there: int, name: str) -> list[int]:
    """Resolves an argument to layer indices.

    Args:
        layers: None for half of them, an int for that many, spread evenly; or ascending indices from 0.
        there: number of the teacher's layers.
        name: the teacher's name, for messages.

    Raises:
        ValueError: if the teacher has too few, or the indices do not ascend.
    """
    has = f"The teacher {name!r} has {there} layers, numbered from 0."
    if layers is None:
        return spread_layers(there, max(1, there // 2))
    if isinstance(layers, int):
        check_int("layers", layers, most=there, remedy=has)
        return spread_layers(there, layers)
    chosen = [check_int("layers", each, least=0, most=there - 1, remedy=has) for each in layers]
    if not chosen or chosen != sorted(set(chosen)):
        raise ValueError(
            "`layers` must ascend and name each layer once, at least one. Received: "
            f"layers={list(layers)}. {has} Use "
            f"{sorted(set(chosen)) or spread_layers(there, max(1, there // 2))}."
        )
    return chosen
