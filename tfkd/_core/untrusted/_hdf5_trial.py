"""Reads an HDF5 file from one end to the other, in a process of its own.

The HDF5 library can run in circles, or crash, over a damaged file; nothing in Python can stop it then. This
is a script: it is run by its path, so that it starts without TensorFlow.
"""

import contextlib
import math
import sys

import h5py


def read_all(path: str, most: int) -> None:
    """Reads every attribute, and every array as long as there are no more than `most` bytes of them."""
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
    # Whoever opens the file next says what is wrong with it.
    with contextlib.suppress(Exception):
        read_all(sys.argv[1], int(sys.argv[2]))
