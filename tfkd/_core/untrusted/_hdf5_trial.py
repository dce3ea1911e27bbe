"""Reads a whole HDF5 file, in a separate process.

The HDF5 library can loop forever or crash on a damaged file, and nothing in Python can stop it then. This
is a script, run by its path, so that it starts without TensorFlow.
"""

import contextlib
import math
import sys

import h5py


def read_all(path: str, most: int) -> None:
    """Reads every attribute, and arrays up to a total of `most` bytes."""
    left = most

    def read(_, part):
        nonlocal left
        for name in part.attrs:
            part.attrs.get(name)
        if isinstance(part, h5py.Dataset) and not (part.is_virtual or part.external):
            left -= math.prod(part.shape or ()) * part.dtype.itemsize
            if left >= 0:
                part[()]

    with h5py.File(path, "r") as file:
        read("", file)
        file.visititems(read)


if __name__ == "__main__":
    # The next step to open the file reports ordinary errors.
    with contextlib.suppress(Exception):
        read_all(sys.argv[1], int(sys.argv[2]))
