"""What is transferred: one method a file, a pure function and a thin Keras-serializable class.

Functions take the teacher first, then the student, and return float32 values, one per example.
"""

from tfkd.losses.base import KnowledgeLoss
from tfkd.losses.l1_logits import L1Logits, l1_logits
from tfkd.losses.soft_targets import SoftTargets, soft_targets

__all__ = ["KnowledgeLoss", "L1Logits", "SoftTargets", "l1_logits", "soft_targets"]
