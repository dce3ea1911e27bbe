"""The losses of `keras.distillation`, which Keras has since 3.12; unused stand-ins for older versions."""

from typing import Any

try:
    from keras.distillation import DistillationLoss, FeatureDistillation, LogitsDistillation
except ImportError:

    class DistillationLoss:
        """Stands for the base class of losses."""

        loss: Any
        temperature: Any
        compute_loss: Any
        validate_outputs: Any
        validate_model_compatibility: Any

    class FeatureDistillation(DistillationLoss):
        """Stands for the loss of inner layers."""

    class LogitsDistillation(DistillationLoss):
        """Stands for the loss of logits."""


__all__ = ["DistillationLoss", "FeatureDistillation", "LogitsDistillation"]
