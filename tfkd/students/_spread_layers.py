"""Which layers of a teacher a shallower student begins with."""

from collections.abc import Sequence

from tfkd._core.checks import check_int


def spread_layers(layers: int, kept: int) -> list[int]:
    """Numbers of layers spread evenly, the first and the last among them.

    Args:
        layers: how many the teacher has.
        kept: how many to keep, from 1, which keeps the first, to `layers`.

    Returns:
        Ascending numbers from 0; of two layers that are equally near, the lower one.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> tfkd.students.spread_layers(6, 3)
        [0, 2, 5]

    Reference:
        Sanh et al., "DistilBERT", 2019, take one layer out of two: [0, 2, 4, 7, 9, 11] of 12, as here.
    """
    check_int("layers", layers)
    check_int("kept", kept, most=layers, remedy=f"The teacher has {layers} layers.")
    if kept == 1:
        return [0]
    # The nearest whole number, halves downwards.
    return [-((kept - 1 - 2 * i * (layers - 1)) // (2 * (kept - 1))) for i in range(kept)]


def chosen_layers(layers: int | Sequence[int] | None, there: int, name: str) -> list[int]:
    """The layers that an argument stands for.

    Args:
        layers: None for half of them, an int for so many, spread evenly; or their numbers, ascending from
            0.
        there: how many the teacher has.
        name: the teacher's name, for messages.

    Raises:
        ValueError: if the teacher has not so many, or the numbers do not ascend.
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
