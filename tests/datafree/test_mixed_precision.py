"""Networks compute in half precision, losses and images are float32."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfkd
from tests.conftest import small_network
from tests.datafree.recipes import RECIPES


class Noting(keras.optimizers.SGD):
    """Notes what it is given to scale."""

    def scale_loss(self, loss):
        self.scaled = loss
        return super().scale_loss(loss)


@pytest.fixture(params=["dfad with prior and memory", "procedural"])
def distiller(request):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        teacher, student = small_network(), small_network(4)
        return tfkd.DataFreeDistiller(teacher, student, RECIPES[request.param], seed=0)
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.eager
def test_losses_are_float32(distiller):
    optimizer, of_generator = Noting(0.01), Noting(0.01)
    trained = distiller.source.trained
    distiller.compile(optimizer, of_generator if trained else None)
    with tfkd.taps.record(distiller.student, ["conv2"]) as record:
        metrics = distiller.train_step(None)
    assert record["conv2"].dtype == tf.bfloat16
    for scaled in [optimizer.scaled, *([of_generator.scaled] if trained else [])]:
        assert scaled.dtype == tf.float32 and np.isfinite(scaled).all()
    assert metrics["loss"].dtype == tf.float32 and np.isfinite(metrics["loss"])


@pytest.mark.parametrize("distiller", ["dfad with prior and memory"], indirect=True)
def test_every_convolution_is_bfloat16(distiller):
    """Those of teacher, student and generator, and their gradients."""
    distiller.compile()
    graph = tf.function(distiller.train_step).get_concrete_function(None).graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    dtypes = {node.op: set() for node in nodes if node.op.startswith("Conv2D")}
    assert len(dtypes) == 3
    for node in nodes:
        if node.op in dtypes:
            dtypes[node.op].add(node.attr["T"].type)
    assert set.union(*dtypes.values()) == {tf.bfloat16.as_datatype_enum}
