"""What a person leaves with: TFLite files, checked against the model, and the report."""

from tfkd.export.compression_report import write_compression_report
from tfkd.export.metadata import read_metadata
from tfkd.export.report import write_report
from tfkd.export.tflite import QUANTIZATIONS, export_tflite
from tfkd.export.verification import TFLiteCheck, run_tflite, verify_tflite

__all__ = [
    "QUANTIZATIONS",
    "TFLiteCheck",
    "export_tflite",
    "read_metadata",
    "run_tflite",
    "verify_tflite",
    "write_compression_report",
    "write_report",
]
