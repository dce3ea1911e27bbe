"""The losses of `keras.distillation`, available since Keras 3.12; unused placeholders for older
versions."""

from typing import Any

try:
    from keras.distillation import DistillationLoss, FeatureDistillation, LogitsDistillation
except ImportError:

    class DistillationLoss:
        """Placeholder for the base class of losses."""

        loss: Any
        temperature: Any
        compute_loss: Any
        validate_outputs: Any
        validate_model_compatibility: Any

    class FeatureDistillation(DistillationLoss):
        """Placeholder for the loss on inner layers."""

    class LogitsDistillation(DistillationLoss):
        """Placeholder for the loss on logits."""


__all__ = ["DistillationLoss", "FeatureDistillation", "LogitsDistillation"]
