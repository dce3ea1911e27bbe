"""Any trained file as a teacher: images in [0, 1] in, logits out."""

from tfkd.teachers._black_box import BlackBoxTeacher
from tfkd.teachers._diagnosis import barely_chance, suspicion
from tfkd.teachers._loading import TeacherWarning, load_teacher, probabilities_ending

__all__ = [
    "BlackBoxTeacher",
    "TeacherWarning",
    "barely_chance",
    "load_teacher",
    "probabilities_ending",
    "suspicion",
]
