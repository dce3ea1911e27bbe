"""Checks untrusted files against lists of what is safe, before Keras or TensorFlow reads them."""

from tfkd._core.untrusted._configuration import check_configuration
from tfkd._core.untrusted._containers import (
    check_archive,
    check_array,
    check_arrays,
    check_folder_size,
    check_hdf5,
    check_hdf5_can_be_read,
    check_hdf5_entry,
    hdf5_version,
    read_configuration,
    read_hdf5_configuration,
    read_metadata,
)
from tfkd._core.untrusted._limits import LIMIT_VARIABLE, check_size, size_limit, weights_within
from tfkd._core.untrusted._messages import LONGEST_MESSAGE, RefusedFile, in_one_line, refusal
from tfkd._core.untrusted._saved_models import check_saved_model
from tfkd._core.untrusted._tflite import check_tflite

__all__ = [
    "LIMIT_VARIABLE",
    "LONGEST_MESSAGE",
    "RefusedFile",
    "check_archive",
    "check_array",
    "check_arrays",
    "check_configuration",
    "check_folder_size",
    "check_hdf5",
    "check_hdf5_can_be_read",
    "check_hdf5_entry",
    "check_saved_model",
    "check_size",
    "check_tflite",
    "hdf5_version",
    "in_one_line",
    "read_configuration",
    "read_hdf5_configuration",
    "read_metadata",
    "refusal",
    "size_limit",
    "weights_within",
]
