"""Pruning in rounds, and masks that any training keeps."""

import keras
import numpy as np
import pytest

import tfkd
from tests import harness
from tests.conftest import blobs, small_network
from tfkd import compression
from tfkd.compression import iterative_pruning, magnitude_masks, masked
from tfkd.compression._iterative import step_decay
from tfkd.compression._sparse import kernels

pytestmark = pytest.mark.slow

X, Y = blobs(200)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def quiet(**options):
    return {"epochs": 3, "rewind_epoch": 1, "learning_rate": lambda epoch: 0.02, "verbose": 0, **options}


def test_masks_take_the_smallest_weights_of_all_kernels_together():
    model = small_network()
    kernels(model)[0].assign(0.001 * kernels(model)[0])
    masks = magnitude_masks(model, 0.3)
    sizes = np.concatenate([np.abs(kernel.numpy()).ravel() for kernel in kernels(model)])
    flat = np.concatenate([mask.ravel() for mask in masks]).astype(bool)
    assert np.sum(~flat) == round(0.3 * len(sizes))
    assert sizes[~flat].max() <= sizes[flat].min()
    # The layer whose weights are small loses all of them.
    assert masks[0].max() == 0
    assert all(mask.min() == 1 for mask in magnitude_masks(model, 0.0))


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_zeros_stay_under_any_training_and_leave_with_the_block(jit_compile, teacher):
    model = small_network()
    before = model.get_layer("conv2").kernel.constraint
    with masked(model, magnitude_masks(model, 0.5)):
        distiller = tfkd.Distiller(teacher, model, tfkd.losses.SoftTargets(4.0))
        distiller.compile("adam", LOSS, jit_compile=jit_compile)
        distiller.fit(X, Y, batch_size=50, verbose=0)
        assert compression.sparsity(model) == pytest.approx(0.5, abs=1e-3)
    assert model.get_layer("conv2").kernel.constraint is before
    model.compile("adam", LOSS)
    model.fit(X[:50], Y[:50], verbose=0)
    assert compression.sparsity(model) < 0.1


def test_rounds_prune_and_rewind_the_learning_rate(teacher):
    rates, kept = [], harness.snapshot(teacher)

    class Notes(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            rates.append((epoch, round(float(self.model.optimizer.learning_rate), 6)))

        def on_train_end(self, logs=None):
            sparsities.append(compression.sparsity(self.model))

    sparsities = []
    schedule = [0.03, 0.02, 0.01]
    pruned = iterative_pruning(
        teacher, X, Y, 2, 0.5, **quiet(learning_rate=lambda epoch: schedule[epoch], callbacks=[Notes()])
    )
    assert rates == [(1, 0.02), (2, 0.01)] * 2
    assert sparsities == pytest.approx([0.5, 0.75], abs=1e-3)
    harness.assert_same_weights(kept, teacher)
    x, y = blobs(100, 1)
    assert np.mean(pruned.predict(x, verbose=0).argmax(-1) == y) > 0.9
    assert compression.sparsity(pruned) == sparsities[-1]


def test_the_published_learning_rate():
    rates = [step_decay(epoch, 130) for epoch in (0, 38, 39, 83, 84, 85, 129)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 0.001], rel=1e-6)


def test_bad_masks():
    model = small_network()
    before = harness.snapshot(model)
    for share in (1.0, -0.5):
        with pytest.raises(ValueError, match="`sparsity` must be at least 0"):
            magnitude_masks(model, share)
    with pytest.raises(ValueError, match="`masks` must have the shapes"), masked(model, []):
        pass
    with pytest.raises(TypeError, match="strip"), masked(compression.prune(model), []):
        pass
    harness.assert_same_weights(before, model)
    with pytest.raises(ValueError, match="no trainable kernel"):
        magnitude_masks(keras.Sequential([keras.Input((3,)), keras.layers.ReLU()]), 0.5)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rounds": 0}, ValueError, "`rounds` must be at least 1"),
        ({"rounds": 1.5}, TypeError, "`rounds` must be an integer"),
        ({"per_round": 1.0}, ValueError, "`per_round` must be above 0 and below 1"),
        ({"rewind_epoch": 3}, ValueError, "`rewind_epoch` must be one of the 3 epochs"),
        ({"y": Y[:5]}, ValueError, "200 inputs and 5 labels"),
    ],
)
def test_bad_input(options, error, message):
    arguments = {"model": small_network(), "x": X, "y": Y, "rounds": 1, **quiet(), **options}
    with pytest.raises(error, match=message):
        iterative_pruning(**arguments)
