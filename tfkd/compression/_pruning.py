"""Students whose smallest weights are pruned during training."""

import numbers
from collections.abc import Iterable
from typing import Any

import keras

from tfkd.compression._bridged import BridgedModel
from tfkd.compression._distribution import allocate_sparsity
from tfkd.compression._pruning_schedule import OverFit
from tfkd.compression._sparse import check_sparsity
from tfkd.compression._tfmot import load
from tfkd.compression._wrapping import chosen_layers, rebuilt, wrap_layers

_MASK_UPDATES = 100


def prune(
    model: keras.Model,
    final_sparsity: float = 0.8,
    schedule: tuple[int, int] | Any = None,
    block_size: tuple[int, int] = (1, 1),
    m_by_n: tuple[int, int] | None = None,
    layers: Iterable[str] | None = None,
    distribution: str = "uniform",
) -> BridgedModel:
    """Makes a student whose kernels are pruned by magnitude during training.

    No pruning callback is needed: the model counts its own passes in training mode (one per update, or one
    per microbatch), and pruned weights are 0 after each update. Get the plain model with `strip`.

    Args:
        model: a functional or built Sequential Keras 3 model, trained or not; it is not changed.
        final_sparsity: the fraction of the weights of all kernels that becomes 0, in [0, 1).
        schedule: the first and the last update between which sparsity grows from 0 to its final value, fast
            at first (cubic); None for the first 60 % of the first `fit` (or of 1,000 updates, if the model
            is trained without `fit`); or a `PruningSchedule` of tfmot, which has its own sparsity.
        block_size: the rows and columns of the blocks in which Dense kernels are pruned.
        m_by_n: `(2, 4)` sets 2 of each 4 neighbours along the inputs to 0, from the first updates on,
            regardless of `schedule` and `final_sparsity`; None for no such pattern.
        layers: the names of the layers to prune ("block/conv" in nested models); None for all that tfmot
            can prune and that are not frozen (with `block_size`, only Dense layers).
        distribution: how zeros are distributed over layers; see `allocate_sparsity`. "uniform" prunes the
            same fraction of each; "erk" and "lamp" prune less of small layers, which costs less accuracy.

    Returns:
        A Keras 3 model to compile and train like any other.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a value is out of range, a layer does not exist or cannot be pruned, or the model is
            subclassed, wrapped already or has layers without a counterpart in tf_keras.

    Example:
        >>> student = tfkd.compression.prune(model, 0.8, schedule=(0, 2000))
        >>> student.compile("adam", loss)
        >>> student.fit(x, y)
        >>> model = tfkd.compression.strip(student)

    Reference:
        Zhu and Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model
        compression", 2017, as implemented by tfmot. Deviation: the model, not a callback, counts updates.
    """
    sparsity = load().sparsity.keras
    # Checked before the model is rebuilt; each layer gets its own schedule below.
    _schedule(sparsity, schedule, final_sparsity)
    block_size = _pair(block_size, "block_size", 1)
    if m_by_n is not None:
        m_by_n = _pair(m_by_n, "m_by_n", 1)
        if m_by_n[0] >= m_by_n[1]:
            raise ValueError(
                f"`m_by_n` must be two numbers, the first below the second. Received: {m_by_n}."
            )
        if block_size != (1, 1):
            raise ValueError(
                f"`block_size` and `m_by_n` cannot be combined: leave one out. Received: {block_size} and "
                f"{m_by_n}."
            )
    own_schedule = isinstance(schedule, sparsity.PruningSchedule)
    if distribution != "uniform" and (m_by_n or own_schedule):
        raise ValueError(
            "`distribution` must be 'uniform' with `m_by_n` or a schedule of tfmot, which have their own "
            f"sparsity. Received: {distribution!r}."
        )
    inner = rebuilt(model)

    def able(layer):
        weights = prunable_weights(layer)
        ranks = {(1, 1): (0, 1, 2, 3, 4, 5)}.get(block_size, (2,)) if m_by_n is None else (2, 4)
        return layer.trainable and bool(weights) and all(weight.shape.rank in ranks for weight in weights)

    what = "pruned" if block_size == (1, 1) else "pruned in blocks (only Dense layers can)"
    chosen = chosen_layers(inner, layers, able, what)
    shares = dict.fromkeys(chosen, final_sparsity)
    if not own_schedule:
        kernels = {name: [w.numpy() for w in prunable_weights(inner.get_layer(name))] for name in chosen}
        shares = allocate_sparsity(kernels, final_sparsity, distribution)
    inner = wrap_layers(
        inner,
        chosen,
        lambda layer: sparsity.prune_low_magnitude(
            layer,
            pruning_schedule=_schedule(sparsity, schedule, shares[layer.name]),
            block_size=block_size,
            sparsity_m_by_n=m_by_n,
            dtype=layer.dtype_policy,
        ),
    )
    return BridgedModel(inner, f"{model.name}_pruned", plain=model)


def prunable_weights(layer: Any) -> list:
    """The weights of a tf_keras layer that tfmot prunes.

    Args:
        layer: a built layer that is not wrapped.
    """
    load()
    from tensorflow_model_optimization.python.core.sparsity.keras.prune_registry import PruneRegistry

    if not PruneRegistry.supports(layer) or not layer.weights:
        return []
    return PruneRegistry.make_prunable(layer).get_prunable_weights()


def _schedule(sparsity, schedule, final_sparsity: float):
    """A schedule of tfmot."""
    if isinstance(schedule, sparsity.PruningSchedule):
        return schedule
    if isinstance(final_sparsity, bool) or not isinstance(final_sparsity, numbers.Real):
        raise TypeError(f"`final_sparsity` must be a number. Received: {final_sparsity!r}.")
    check_sparsity(final_sparsity, "final_sparsity")
    if schedule is None:
        return OverFit(float(final_sparsity))
    begin, end = _pair(schedule, "schedule", 0)
    if begin > end:
        raise ValueError(
            f"`schedule` must be the first and the last update, in this order. Received: {schedule}."
        )
    if begin == end:
        return sparsity.ConstantSparsity(final_sparsity, begin, frequency=1)
    frequency = max(1, (end - begin) // _MASK_UPDATES)
    # The last mask update must fall on the last step, or sparsity ends below its final value.
    end = begin + (end - begin) // frequency * frequency
    return sparsity.PolynomialDecay(0.0, final_sparsity, begin, end, power=3, frequency=frequency)


def _pair(value: Any, name: str, least: int) -> tuple[int, int]:
    if (
        not isinstance(value, tuple | list)
        or len(value) != 2
        or not all(isinstance(number, numbers.Integral) and int(number) >= least for number in value)
    ):
        raise ValueError(
            f"`{name}` must be two integers of at least {least}, such as "
            f"{dict(schedule=(0, 1000), block_size=(4, 1), m_by_n=(2, 4))[name]}. Received: {value!r}."
        )
    first, second = map(int, value)
    return first, second
