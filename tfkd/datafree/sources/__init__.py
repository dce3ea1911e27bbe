"""Sources of a student's inputs, one per file."""

from tfkd.datafree._lesson import Lesson
from tfkd.datafree.sources import inversion
from tfkd.datafree.sources._base import Batch, Source, TrainedNetwork
from tfkd.datafree.sources._examples import ExamplesSource
from tfkd.datafree.sources._generator import GeneratorSource
from tfkd.datafree.sources._inversion import InversionSource
from tfkd.datafree.sources._mixed import Mixed
from tfkd.datafree.sources._prior import PriorSource

__all__ = [
    "Batch",
    "ExamplesSource",
    "GeneratorSource",
    "InversionSource",
    "Lesson",
    "Mixed",
    "PriorSource",
    "Source",
    "TrainedNetwork",
    "inversion",
]
