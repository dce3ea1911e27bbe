"""The process in which LiteRT's `CompiledModel` runs a file: `python running_compiled.py FOLDER`.

It imports nothing from tfkd, and therefore no TensorFlow.
"""

import pathlib
import sys
from typing import Any

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel


def run(folder: pathlib.Path) -> None:
    """Runs the file `model.tflite` in a folder on the CPU with one thread.

    Args:
        folder: holds `inputs.npz` with an array of whole batches for each input, by name; the outputs are
            written to `outputs.npz` in the same way.
    """
    model = CompiledModel.from_buffer((folder / "model.tflite").read_bytes())
    (key,) = model.get_signature_list()
    targets = model.get_output_tensor_details(key)
    names = model.get_signature_list()[key]["inputs"]
    sources = {name: model.create_input_buffer_by_name(key, name) for name in names}
    buffers = {name: model.create_output_buffer_by_name(key, name) for name in targets}
    outputs: dict[str, Any] = {name: [] for name in targets}
    with np.load(folder / "inputs.npz") as saved:
        inputs = {name: saved[name] for name in sources}
    batch = next(iter(model.get_input_tensor_details(key).values()))["shape"][0]
    for start in range(0, len(next(iter(inputs.values()))), batch):
        for name, buffer in sources.items():
            buffer.write(np.ascontiguousarray(inputs[name][start : start + batch]))
        model.run_by_name(key, sources, buffers)
        for name, buffer in buffers.items():
            shape = targets[name]["shape"]
            values = buffer.read(int(np.prod(shape)), np.dtype(targets[name]["dtype"]).type)
            outputs[name].append(values.reshape(shape))
    whole: dict[str, Any] = {name: np.concatenate(parts) for name, parts in outputs.items()}
    np.savez(folder / "outputs.npz", **whole)


if __name__ == "__main__":
    run(pathlib.Path(sys.argv[1]))
