"""`check_loss` passes what is right, and says of each fault which clause it breaks."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from tfkd import losses
from tfkd.losses import as_float32_pair
from tfkd.testing import check_loss

SEQUENCES = np.random.default_rng(0).normal(0, 3, (2, 5, 7, 4)).astype("float32")


def pearson_features(teacher, student, mask=None, sample_weight=None):
    """One less the correlation of each channel, over batch and positions; the mean of the channels."""
    teacher, student = as_float32_pair(teacher, student)
    weights = ops.ones_like(teacher[..., :1])
    if mask is not None:
        weights = ops.cast(mask, "float32")[..., None]
    if sample_weight is not None:
        weights = weights * sample_weight[:, None, None]
    total = ops.sum(weights)

    def standardized(values):
        values = values - ops.divide_no_nan(ops.sum(weights * values, axis=(0, 1)), total)
        variance = ops.divide_no_nan(ops.sum(weights * values**2, axis=(0, 1)), total)
        return values * ops.rsqrt(variance + 1e-6)

    products = weights * standardized(teacher) * standardized(student)
    return 1 - ops.divide_no_nan(ops.mean(ops.sum(products, axis=(0, 1))), total)


@keras.saving.register_keras_serializable(package="tests")
class Pearson(losses.FeatureLoss):
    """PKD, Pearson features: statistics over batch and positions."""

    def __init__(self, teacher_layer=None, student_layer=None, factor=1.0, **kwargs):
        super().__init__(teacher_layer, student_layer, **kwargs)
        self.factor = factor

    def compare(self, teacher, student, batch):
        return self.factor * pearson_features(teacher, student, batch.mask, batch.sample_weight)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@pytest.mark.xla
def test_a_good_loss_passes_and_is_left_as_it_was():
    loss = Pearson("a", "b", factor=3.0, projector=True)
    loss.build((None, 7, 4), (None, 7, 4))
    start = [v.numpy() for v in loss.variables]
    check_loss(loss, *SEQUENCES)
    assert start
    for kept, variable in zip(start, loss.variables, strict=True):
        np.testing.assert_array_equal(kept, variable)


@pytest.mark.xla
def test_a_good_function_passes():
    check_loss(pearson_features, *SEQUENCES)


def right(teacher, student, batch):
    return pearson_features(teacher, student, batch.mask, batch.sample_weight)


def raw_mean(teacher, student, batch):
    return ops.mean((teacher - student) ** 2, axis=(1, 2))


def per_channel(teacher, student, batch):
    teacher, student = as_float32_pair(teacher, student)
    return ops.abs(teacher - student)


def of_graphs_only(teacher, student, batch):
    return right(teacher, student, batch) * (1 if tf.executing_eagerly() else 2)


def with_root(teacher, student, batch):
    teacher, student = as_float32_pair(teacher, student)
    return ops.sqrt(ops.sum((teacher - student) ** 2, axis=(1, 2)))


def unbiased(teacher, student, batch):
    return right(teacher, student, batch) / ops.cast(ops.shape(student)[0] - 1, "float32")


def nan_to_zero(teacher, student, batch):
    return right(teacher, ops.where(student == student, student, 0.0), batch)


def without_mask(teacher, student, batch):
    return pearson_features(teacher, student, sample_weight=batch.sample_weight)


def without_weights(teacher, student, batch):
    return pearson_features(teacher, student, batch.mask)


def with_gradient(gradient):
    """The right value, with a gradient of its own."""

    @tf.custom_gradient
    def value(teacher, student):
        return pearson_features(teacher, student), lambda upstream: (None, upstream * gradient(student))

    return lambda teacher, student, batch: value(*as_float32_pair(teacher, student))


BROKEN = [
    (raw_mean, "precision", "Values of float16 must be float32. Received: float16"),
    (per_channel, "precision", "must be a scalar, or one for each example or position"),
    (with_gradient(lambda s: np.nan * s), "gradient", "by the student's values must be finite"),
    (with_gradient(lambda s: s), "gradient", "must be that of the values. Received: slope"),
    (lambda t, s, batch: 0 * ops.sum(ops.cast(t, "float32")), "gradient", "must be a gradient"),
    (of_graphs_only, "compiled", "in a graph must be those of eager calls"),
    (unbiased, "one_example", "Values must be finite for a batch of one"),
    (with_root, "extremes", "must be finite where all of teacher and student is 0"),
    (nan_to_zero, "not_finite", "NaN in the student's values must raise a ValueError"),
    (without_mask, "padding", "must have the same value as without padding"),
    (without_weights, "sample_weight", "count an example of weight w as w copies"),
]


@pytest.mark.parametrize(("compare", "clause", "sentence"), BROKEN)
def test_a_broken_computation_is_refused_by_name(compare, clause, sentence):
    @keras.saving.register_keras_serializable(package="tests")
    class Broken(losses.FeatureLoss):
        def compare(self, teacher, student, batch):
            return compare(teacher, student, batch)

    # XLA takes most of the time.
    slow = set() if clause == "compiled" else {"compiled"}
    with pytest.raises(AssertionError, match=f"^broken fails {clause!r}: .*{sentence}"):
        check_loss(Broken("a", "b"), *SEQUENCES, leave_out=slow)


def test_a_trained_part_without_a_gradient_is_refused():
    class Unused(Pearson):
        def build(self, teacher_shape, student_shape):
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    with pytest.raises(AssertionError, match=r"unused fails 'training': .*trained part '.*scale'"):
        check_loss(Unused("a", "b"), *SEQUENCES, leave_out=["compiled"])


def test_a_configuration_that_forgets_is_refused():
    @keras.saving.register_keras_serializable(package="tests")
    class Forgetful(Pearson):
        def get_config(self):
            return losses.FeatureLoss.get_config(self)

    with pytest.raises(
        AssertionError, match=r"forgetful fails 'configuration': .*must have the same values"
    ):
        check_loss(Forgetful("a", "b", factor=3.0), *SEQUENCES, leave_out=["compiled"])


def test_a_class_that_is_not_registered_is_refused():
    class Unregistered(Pearson):
        """As in a file that forgets the decorator."""

    with pytest.raises(AssertionError, match=r"unregistered fails 'configuration': .*Unregistered"):
        check_loss(Unregistered("a", "b"), *SEQUENCES, leave_out=["compiled"])


def test_an_oracle_that_says_otherwise_is_believed():
    def doubled(teacher, student):
        return 2 * ((teacher - student) ** 2).mean(-1)

    sentence = "mean_squared_error fails 'values': Values must equal the oracle's"
    with pytest.raises(AssertionError, match=sentence):
        check_loss(losses.mean_squared_error, *SEQUENCES, oracle=doubled)


def test_labels_are_padded_and_repeated_with_the_examples():
    labels = np.argmax(SEQUENCES[0], axis=-1)
    check_loss(losses.DecoupledKnowledge(beta=2.0), *SEQUENCES, labels=labels, leave_out=["compiled"])
    with pytest.raises(AssertionError, match="needs labels"):
        check_loss(losses.DecoupledKnowledge(), *SEQUENCES)


def test_an_unknown_clause_is_refused_with_close_ones():
    with pytest.raises(ValueError, match=r"Unknown clause 'paddings'\. Did you mean 'padding'"):
        check_loss(losses.SoftTargets(), *SEQUENCES, leave_out=["paddings"])
