"""What a network answers: classes, independent labels or numbers, one task a file."""

from tfkd.tasks._classification import Classification
from tfkd.tasks._multi_label import MultiLabel
from tfkd.tasks._regression import Regression
from tfkd.tasks._task import ClassTask, Task

# Behind the tasks, which it finds by their names.
from tfkd.tasks._finding import as_task, known_tasks, mark, marked_task, output_shape_of, task_of  # isort: skip
from tfkd.tasks._reading import Reading, reading_of  # isort: skip

__all__ = [
    "ClassTask",
    "Classification",
    "MultiLabel",
    "Reading",
    "Regression",
    "Task",
    "as_task",
    "known_tasks",
    "mark",
    "marked_task",
    "output_shape_of",
    "reading_of",
    "task_of",
]
