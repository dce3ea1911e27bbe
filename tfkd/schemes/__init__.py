"""Schemes: who teaches whom, and in which order."""

from tfkd.schemes._assistants import assistants
from tfkd.schemes._chain import Chain
from tfkd.schemes._choosing import TeacherChoice, choose_teacher
from tfkd.schemes._generations import generations
from tfkd.schemes._stages import Stage, Stages

__all__ = [
    "Chain",
    "Stage",
    "Stages",
    "TeacherChoice",
    "assistants",
    "choose_teacher",
    "generations",
]
