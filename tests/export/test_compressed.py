"""TFLite files of students that are pruned, clustered or quantization-aware."""

import keras
import numpy as np
import pytest

import tfkd
from tests.conftest import blobs
from tfkd import compression, export
from tfkd.compression import prune, quantize_aware, strip

pytestmark = pytest.mark.slow

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def fitted(student, epochs=2):
    student.compile(keras.optimizers.Adam(3e-3), LOSS)
    student.fit(*blobs(200), batch_size=20, epochs=epochs, verbose=0)
    return student


@pytest.fixture(scope="module")
def sparse_model(trained):
    return strip(fitted(prune(tfkd.load_teacher(trained), 0.8, schedule=(0, 10))))


def floats_inside(path):
    """The tensors of a file that are floats, input and output apart."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    ends = {d["index"] for d in interpreter.get_input_details() + interpreter.get_output_details()}
    tensors = interpreter.get_tensor_details()
    return [t["name"] for t in tensors if t["dtype"] == np.float32 and t["index"] not in ends]


@pytest.mark.parametrize("interface", ["float32", "int8"])
def test_quantization_aware_files_have_the_ranges_of_training(trained, tmp_path, interface):
    student = fitted(quantize_aware(tfkd.load_teacher(trained)))
    path, (x, y) = tmp_path / "student.tflite", blobs(100, 1)
    check = export.export_tflite(
        student, path, "int8", interface=interface, evaluation_data=(x, y), verification_data=x
    )
    assert check.agreement > 0.97 and check.accuracy > 0.9
    # Rounding in another order moves a logit by a step or two.
    step = np.ptp(student.predict(x, verbose=0)) / 255
    assert check.max_difference <= 3 * step
    assert floats_inside(path) == []
    with pytest.raises(ValueError, match=r"is quantization-aware.*strip"):
        export.export_tflite(student, path, "float32")


def test_an_interface_of_8_bits_needs_ends_that_are_quantized(trained):
    student = quantize_aware(tfkd.load_teacher(trained), layers=["conv2"])
    export.export_tflite(student, None, "int8")
    with pytest.raises(ValueError, match="computes in float"):
        export.export_tflite(student, None, "int8", interface="int8")


@pytest.mark.parametrize("quantization", ["float32", "float16"])
def test_sparse_files_are_small(sparse_model, quantization):
    x, y = blobs(100, 1)
    options = {"quantization": quantization, "evaluation_data": (x, y)}
    dense = export.export_tflite(sparse_model, None, **options)
    sparse = export.export_tflite(sparse_model, None, sparse=True, **options)
    assert sparse.size_bytes < 0.75 * dense.size_bytes
    assert dense.gzip_bytes < 0.75 * dense.size_bytes
    assert sparse.agreement == dense.agreement == 1.0


def test_wrapped_students_are_stripped(trained, tmp_path):
    model = tfkd.load_teacher(trained)
    for student in (fitted(prune(model, 0.5, schedule=(0, 2)), 1), compression.cluster(model, 8)):
        check = export.export_tflite(student, tmp_path / "m.tflite")
        assert check.agreement == 1.0 and check.max_difference < 1e-3


def test_zeros_and_clusters_zip_well_in_8_bits(sparse_model):
    plain = export.export_tflite(quantize_aware(sparse_model), None, "int8")
    student = fitted(quantize_aware(sparse_model, preserve="sparsity"), 1)
    kept = export.export_tflite(student, None, "int8")
    assert kept.gzip_bytes <= 1.05 * plain.gzip_bytes
    assert compression.sparsity(student) == compression.sparsity(sparse_model)
    clustered = strip(compression.cluster(sparse_model, 8, preserve_sparsity=True))
    both = fitted(quantize_aware(clustered, preserve=["sparsity", "clusters"]), 1)
    assert export.export_tflite(both, None, "int8").gzip_bytes < plain.gzip_bytes
