"""The losses of `keras.distillation`, which Keras has since 3.12; before, nothing is one of them."""

try:
    from keras.distillation import DistillationLoss, FeatureDistillation, LogitsDistillation
except ImportError:

    class DistillationLoss:
        """Stands for the base class of losses."""

        def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
            raise NotImplementedError

    class FeatureDistillation(DistillationLoss):
        """Stands for the loss of inner layers."""

    class LogitsDistillation(DistillationLoss):
        """Stands for the loss of logits."""


__all__ = ["DistillationLoss", "FeatureDistillation", "LogitsDistillation"]
