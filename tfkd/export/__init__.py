"""Export of TFLite files, verified against their models, and of reports."""

from tfkd.export._calibration import read_calibration
from tfkd.export._compression_report import write_compression_report
from tfkd.export._distillation_report import write_distillation_report
from tfkd.export._example_texts import ExampleText, example_texts
from tfkd.export._exits import ExitFile, export_exits
from tfkd.export._inspection_report import write_inspection_report
from tfkd.export._label_files import read_labels
from tfkd.export._metadata import read_metadata
from tfkd.export._report import write_report
from tfkd.export._requirements import QUANTIZATIONS
from tfkd.export._search_report import write_search_report
from tfkd.export._tflite import export_tflite
from tfkd.export._verification import TFLiteCheck, run_tflite, verify_tflite
from tfkd.export._vocabulary import read_vocabulary

__all__ = [
    "QUANTIZATIONS",
    "ExampleText",
    "ExitFile",
    "TFLiteCheck",
    "example_texts",
    "export_exits",
    "export_tflite",
    "read_calibration",
    "read_labels",
    "read_metadata",
    "read_vocabulary",
    "run_tflite",
    "verify_tflite",
    "write_compression_report",
    "write_distillation_report",
    "write_inspection_report",
    "write_report",
    "write_search_report",
]
