import keras
import numpy as np
import pytest
import tensorflow as tf

import tfkd
from tests import harness
from tests.conftest import blobs, small_network
from tfkd.optimizers import DOT, Muon, OptimizerGroup, orthogonalized


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (40, 4), (1, 6)], ids=str)
def test_orthogonalized_keeps_directions_and_evens_sizes(shape):
    matrix = np.random.default_rng(0).normal(size=shape).astype("float32")
    ours = orthogonalized(tf.constant(matrix)).numpy()
    u, _, vt = np.linalg.svd(matrix, full_matrices=False)
    inside = u.T @ ours @ vt.T
    np.testing.assert_allclose(inside, np.diag(np.diag(inside)), atol=1e-3)
    assert np.diag(inside).min() > 0.6 and np.diag(inside).max() < 1.3


def test_first_update_by_hand():
    kernel = keras.Variable(np.zeros((2, 2, 3, 4), "float32"))
    bias = keras.Variable(np.zeros(4, "float32"))
    rng = np.random.default_rng(1)
    gradients = [rng.normal(size=v.shape).astype("float32") for v in (kernel, bias)]
    Muon(0.1).apply([tf.constant(g) for g in gradients], [kernel, bias])
    # The scale of a matrix does not change its orthogonalization; 12 inputs, 4 outputs.
    direction = orthogonalized(tf.constant(gradients[0].reshape(12, 4))).numpy().reshape(2, 2, 3, 4)
    np.testing.assert_allclose(kernel, -0.1 * 0.2 * np.sqrt(12) * direction, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(bias, -0.1 * np.sign(gradients[1]), rtol=1e-3)


def test_momentum_is_carried_over_and_saved(teacher, tmp_path):
    def fresh():
        keras.utils.set_random_seed(0)
        model = small_network(4)
        model.compile(Muon(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.optimizer.build(model.trainable_variables)
        return model

    x, y = blobs(64)
    whole, first, second = fresh(), fresh(), fresh()
    whole.fit(x, y, epochs=2, shuffle=False, verbose=0)
    first.fit(x, y, epochs=1, shuffle=False, verbose=0)
    first.save_weights(tmp_path / "half.weights.h5")
    second.load_weights(tmp_path / "half.weights.h5")
    second.fit(x, y, epochs=1, shuffle=False, verbose=0)
    for expected, weight in zip(whole.weights, second.weights, strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_trains(jit_compile):
    model = small_network(4)
    before = harness.snapshot(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(Muon(0.01), loss, metrics=["accuracy"], jit_compile=jit_compile)
    x, y = blobs(256)
    history = model.fit(x, y, epochs=6, batch_size=32, verbose=0).history
    assert history["accuracy"][-1] > 0.9
    harness.assert_other_weights(before, model.weights)


# Of one matrix's shape: two that stand and one that lies, all of them kernels of other ranks.
ALIKE = [(2, 3, 2, 4), (12, 4), (4, 12)]
KERNELS = [*ALIKE, (3, 3), (5,), (1, 6), ()]


def by_hand(kernel, gradients, rate=0.1, momentum=0.9):
    """Updates of one kernel, in float64."""
    kernel, velocity = kernel.astype("float64"), 0.0
    for gradient in gradients:
        velocity = momentum * velocity + gradient
        x = (gradient + momentum * velocity).reshape(-1, kernel.shape[-1])
        size = 0.2 * max(x.shape) ** 0.5
        x = x / np.linalg.norm(x)
        for _ in range(5):
            gram = x @ x.T
            x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
        kernel = kernel - rate * size * x.reshape(kernel.shape)
    return kernel


def moved(update_by, strategy, **options):
    """Kernels before, their gradients of three updates, and the kernels after them."""
    rng = np.random.default_rng(2)
    before = [rng.normal(size=shape).astype("float32") for shape in KERNELS]
    gradients = [[rng.normal(size=shape).astype("float32") for shape in KERNELS] for _ in range(3)]
    with strategy.scope():
        variables = [keras.Variable(value) for value in before]
        optimizer = Muon(0.1, momentum=0.9, **options)
        optimizer.build(variables)
    share = 1 / strategy.num_replicas_in_sync

    def update(*given):
        strategy.run(lambda: optimizer.apply([share * g for g in given], variables))

    update = update_by(update)
    for given in gradients:
        update(*map(tf.constant, given))
    return before, gradients, variables


WAYS = {
    "eager": lambda update: update,
    "graph": tf.function,
    "xla": lambda update: tf.function(update, jit_compile=True),
}


@pytest.mark.parametrize("way", WAYS)
def test_kernels_of_one_shape_move_as_each_would_alone(way):
    before, gradients, after = moved(WAYS[way], tf.distribute.get_strategy())
    for i, variable in enumerate(after):
        if len(variable.shape) > 1:
            expected = by_hand(before[i], [given[i] for given in gradients])
            np.testing.assert_allclose(variable, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1, "global_clipnorm": 1.0}], ids=str)
def test_replicas_move_as_one(options, strategy):
    *_, one = moved(tf.function, tf.distribute.get_strategy(), **options)
    *_, several = moved(tf.function, strategy, **options)
    for expected, mirrored in zip(one, several, strict=True):
        for copy in strategy.experimental_local_results(mirrored.value):
            np.testing.assert_allclose(copy, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("shape", [(3, 4, 6), (3, 6, 4)], ids=str)
def test_a_stack_is_orthogonalized_matrix_by_matrix(shape):
    stack = np.random.default_rng(3).normal(size=shape).astype("float32")
    each = [orthogonalized(tf.constant(matrix)) for matrix in stack]
    np.testing.assert_allclose(orthogonalized(tf.constant(stack)), np.stack(each), atol=1e-5)


def test_kernels_of_one_shape_share_their_products():
    def products(shapes):
        variables = [keras.Variable(np.ones(shape, "float32")) for shape in shapes]
        optimizer = Muon(0.1)
        optimizer.build(variables)
        step = tf.function(lambda: optimizer.apply([v.value for v in variables], variables))
        operations = step.get_concrete_function().graph.get_operations()
        return sum("MatMul" in operation.type for operation in operations)

    assert products(ALIKE) == products(ALIKE[:1]) == 15


def test_zero_gradients_move_nothing():
    kernel = keras.Variable(np.ones((3, 4), "float32"))
    Muon(0.1).apply([tf.zeros((3, 4))], [kernel])
    np.testing.assert_array_equal(kernel, np.ones((3, 4)))


def test_serialization_and_bad_momentum():
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(Muon(0.3, momentum=0.8)))
    assert copy.momentum == 0.8 and float(copy.learning_rate.numpy()) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="`momentum` must be in"):
        tfkd.optimizers.Muon(momentum=1.0)


LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def test_dot_keeps_two_momenta():
    variable = keras.Variable([1.0, -2.0])
    optimizer = DOT(keras.optimizers.SGD(0.1, momentum=0.5, nesterov=False), delta=0.2)
    rng = np.random.default_rng(0)
    weight, of_labels, of_teacher = np.array([1.0, -2.0]), np.zeros(2), np.zeros(2)
    optimizer.build([variable])
    for _ in range(3):
        g, h = rng.normal(size=(2, 2))
        optimizer.apply_terms([tf.constant(g, "float32")], [tf.constant(h, "float32")], [variable])
        of_labels, of_teacher = 0.3 * of_labels + g, 0.7 * of_teacher + h
        weight = weight - 0.1 * (of_labels + of_teacher)
        np.testing.assert_allclose(variable, weight, rtol=1e-5)


def trained_by(optimizer, teacher, share=0.3, **kwargs):
    keras.utils.set_random_seed(5)
    student = small_network(4)
    distiller = tfkd.Distiller(teacher, student, tfkd.losses.SoftTargets(2.0), student_loss_weight=share)
    distiller.compile(optimizer, LABELS_LOSS, **kwargs)
    x, y = blobs(32)
    distiller.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    return distiller


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_dot_without_a_difference_is_sgd(jit_compile, teacher):
    plain = trained_by(keras.optimizers.SGD(0.05, momentum=0.9), teacher)
    split = trained_by(DOT(keras.optimizers.SGD(0.05, momentum=0.9), 0.0), teacher, jit_compile=jit_compile)
    for a, b in zip(plain.student.weights, split.student.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    other = trained_by(DOT(keras.optimizers.SGD(0.05, momentum=0.9)), teacher)
    harness.assert_other_weights(harness.snapshot(plain.student), other.student.weights)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_dot_decays_weights_whichever_loss_there_is(share, teacher):
    def sgd():
        return keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=0.5)

    plain, split = (trained_by(each, teacher, share) for each in (sgd(), DOT(sgd(), 0.0)))
    assert int(split.optimizer.iterations) == 4
    for a, b in zip(plain.student.weights, split.student.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_dot_is_saved_with_both_momenta(teacher, tmp_path):
    distiller = trained_by(DOT(keras.optimizers.SGD(0.05, momentum=0.9)), teacher)
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    loaded.teacher = teacher
    momenta = [[v.numpy() for v in each.optimizer.variables] for each in (distiller, loaded)]
    assert len(momenta[0]) == 2 + 2 * (2 + len(distiller.student.trainable_variables))
    for a, b in zip(*momenta, strict=True):
        np.testing.assert_array_equal(a, b)
    x, y = blobs(32)
    fit = {"batch_size": 16, "shuffle": False, "verbose": 0}
    logs = [each.fit(x, y, **fit).history["loss"] for each in (distiller, loaded)]
    np.testing.assert_allclose(*logs, rtol=1e-5)


def test_dot_where_it_cannot_work(teacher):
    with pytest.raises(TypeError, match=r"`optimizer` must be a keras.optimizers.SGD"):
        DOT(keras.optimizers.Adam())
    with pytest.raises(ValueError, match=r"both momenta in \[0, 1\)"):
        DOT(keras.optimizers.SGD(0.1))
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = small_network(2)
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(ValueError, match="DOT does not support loss scaling"):
        tfkd.Distiller(teacher, half, tfkd.losses.SoftTargets()).compile(
            DOT(keras.optimizers.SGD(0.1, 0.9)), LABELS_LOSS
        )
    model = small_network(2)
    model.compile(DOT(keras.optimizers.SGD(0.1, 0.9)), LABELS_LOSS)
    with pytest.raises(TypeError, match=r"needs separate gradients of labels and teacher"):
        model.fit(*blobs(8), verbose=0)


def test_a_group_sets_rates_in_proportion_and_is_made_again():
    group = OptimizerGroup([keras.optimizers.Adam(1e-3), keras.optimizers.SGD(0.1)])
    group.learning_rate = 5e-4
    assert [float(each.learning_rate) for each in group.members] == pytest.approx([5e-4, 0.05])
    again = OptimizerGroup.from_config(group.get_config())
    assert [type(each).__name__ for each in again.members] == ["Adam", "SGD"]
    with pytest.raises(ValueError, match="`optimizers` is empty"):
        OptimizerGroup([])


@pytest.mark.parametrize("warmup", [0, 1, 7])
def test_a_warmed_up_cosine_is_keras_own_without_a_conditional(warmup):
    options = {"decay_steps": 30, "alpha": 0.1, "warmup_target": 0.5, "warmup_steps": warmup}
    ours = tfkd.optimizers.WarmedUpCosine(0.1, **options)
    ours = type(ours).from_config(ours.get_config())
    rates = tf.function(ours)
    theirs = keras.optimizers.schedules.CosineDecay(0.1, **options)
    for step in (0, 1, 6, 7, 8, 20, 36, 37, 60):
        step = tf.constant(step, "int64")
        np.testing.assert_allclose(rates(step), theirs(step), rtol=1e-5, atol=1e-7)
    operations = rates.get_concrete_function(step).graph.get_operations()
    assert not any("If" in operation.type for operation in operations)
