"""Analysis of networks: similarity, calibration, fidelity, and what distillation changes."""

from tfkd._core.flops import count_flops, flops_of_layers
from tfkd.analysis._alignment import cka, cka_plot
from tfkd.analysis._calibration import (
    Reliability,
    expected_calibration_error,
    reliability,
    reliability_plot,
)
from tfkd.analysis._entropies import EntropyProbe, entropy_plot
from tfkd.analysis._fidelity import Fidelity, agreement, fidelity
from tfkd.analysis._keep_snapshots import KeepSnapshots
from tfkd.analysis._knowledge import Concepts, Knowledge, knowledge, visual_concepts
from tfkd.analysis._likelihood import log_likelihood

__all__ = [
    "Concepts",
    "EntropyProbe",
    "Fidelity",
    "KeepSnapshots",
    "Knowledge",
    "Reliability",
    "agreement",
    "cka",
    "cka_plot",
    "count_flops",
    "entropy_plot",
    "expected_calibration_error",
    "fidelity",
    "flops_of_layers",
    "knowledge",
    "log_likelihood",
    "reliability",
    "reliability_plot",
    "visual_concepts",
]
