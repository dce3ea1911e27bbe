"""Schemes: which networks teach which, and in which order."""

from tfkd.schemes._assistants import assistants
from tfkd.schemes._chain import Chain
from tfkd.schemes._choosing import TeacherChoice, choose_teacher
from tfkd.schemes._early_exit import EarlyExit, early_exit
from tfkd.schemes._ensemble_teacher import EnsembleTeacher
from tfkd.schemes._exit_curve import ExitCurve, choose_thresholds, exit_curve
from tfkd.schemes._exit_methods import IMTA, BeYourOwnTeacher, ExitEnsemble, ExitMethod, Lesson, MultiExit
from tfkd.schemes._exits import attach_exits, drop_exits
from tfkd.schemes._generations import generations
from tfkd.schemes._mutual import MutualDistiller
from tfkd.schemes._noisy_student import NoisyStudent
from tfkd.schemes._pseudo_labels import pseudo_labels
from tfkd.schemes._rand_augment import rand_augment
from tfkd.schemes._self_distiller import SelfDistiller
from tfkd.schemes._stages import Stage, Stages

__all__ = [
    "IMTA",
    "BeYourOwnTeacher",
    "Chain",
    "EarlyExit",
    "EnsembleTeacher",
    "ExitCurve",
    "ExitEnsemble",
    "ExitMethod",
    "Lesson",
    "MultiExit",
    "MutualDistiller",
    "NoisyStudent",
    "SelfDistiller",
    "Stage",
    "Stages",
    "TeacherChoice",
    "assistants",
    "attach_exits",
    "choose_teacher",
    "choose_thresholds",
    "drop_exits",
    "early_exit",
    "exit_curve",
    "generations",
    "pseudo_labels",
    "rand_augment",
]
