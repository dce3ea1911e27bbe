"""What tests of many things look at: the weights of a model before and after."""

import numpy as np


def snapshot(model) -> list[np.ndarray]:
    return [weight.numpy() for weight in model.weights]


def assert_same_weights(before, model):
    for kept, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(kept, weight.numpy(), err_msg=weight.path)


def assert_other_weights(before, variables):
    pairs = zip(before, variables, strict=True)
    assert any(not np.array_equal(kept, weight.numpy()) for kept, weight in pairs)
