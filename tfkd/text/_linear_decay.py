"""The learning rate of transformers: linear warm-up, then linear decay to 0."""

import keras
from keras import ops

from tfkd._core.checks import check_int, check_number


@keras.saving.register_keras_serializable(package="tfkd")
class LinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0 to the peak, then linear decay to 0.

    Args:
        peak: peak learning rate, above 0.
        updates: number of updates in the whole run, at least 1.
        warmup: fraction of the updates used for warm-up, in [0, 1).

    Raises:
        ValueError: if a number is out of its range.

    Example:
        >>> optimizer = keras.optimizers.AdamW(tfkd.text.LinearDecay(5e-5, updates=1000))

    Reference:
        Devlin et al., "BERT", 2019.
    """

    def __init__(self, peak: float, updates: int, warmup: float = 0.1) -> None:
        super().__init__()
        self.peak = check_number("peak", peak, above=0)
        self.updates = check_int("updates", updates)
        self.warmup = check_number("warmup", warmup, least=0, below=1)

    def __call__(self, step):
        # In a run with a single update, it is at the peak.
        done = (ops.cast(step, "float32") + 1.0) / (self.updates + 1.0)
        rising = done / max(self.warmup, 1e-9)
        falling = (1.0 - done) / (1.0 - self.warmup)
        return self.peak * ops.clip(ops.minimum(rising, falling), 0.0, 1.0)

    def get_config(self) -> dict:
        return {"peak": self.peak, "updates": self.updates, "warmup": self.warmup}
