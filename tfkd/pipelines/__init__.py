"""Complete workflows as functions: from a trained network to students, files and a report."""

from tfkd.pipelines._compress import compress
from tfkd.pipelines._diagnosis import Diagnosis, diagnose
from tfkd.pipelines._distil import distil
from tfkd.pipelines._distil_text import distil_text
from tfkd.pipelines._distil_with_data import distil_with_data
from tfkd.pipelines._examples import load_examples
from tfkd.pipelines._inspect import inspect_model
from tfkd.pipelines._inspection import Finding, Inspection
from tfkd.pipelines._recipes import recipe_named
from tfkd.pipelines._results import Compressed, Distilled, Searched
from tfkd.pipelines._search import search

__all__ = [
    "Compressed",
    "Diagnosis",
    "Distilled",
    "Finding",
    "Inspection",
    "Searched",
    "compress",
    "diagnose",
    "distil",
    "distil_text",
    "distil_with_data",
    "inspect_model",
    "load_examples",
    "recipe_named",
    "search",
]
