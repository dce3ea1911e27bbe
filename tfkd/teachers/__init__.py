"""Any trained network as a teacher: from images in [0, 1] to logits or numbers."""

from tfkd._core.renames import renamed as _renamed
from tfkd.teachers._black_box import BlackBoxTeacher
from tfkd.teachers._diagnosis import diagnose
from tfkd.teachers._finding_scaling import find_scaling
from tfkd.teachers._input_scaling import Scaling
from tfkd.teachers._loading import TaskWarning, TeacherWarning, load_teacher, probabilities_ending

__getattr__ = _renamed(__name__, {"suspicion": "diagnose"})

__all__ = [
    "BlackBoxTeacher",
    "Scaling",
    "TaskWarning",
    "TeacherWarning",
    "diagnose",
    "find_scaling",
    "load_teacher",
    "probabilities_ending",
]
