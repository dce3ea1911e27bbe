import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import blobs
from tests.losses.oracles import log_softmax
from tfkd import taps
from tfkd.datafree import objectives
from tfkd.datafree.objectives._batch_statistics import BatchStatistics
from tfkd.datafree.objectives._moments import measure, moments, normalization_taps

RNG = np.random.default_rng(0)
TEACHER, STUDENT = (RNG.normal(0, 3, (8, 5)).astype("float32") for _ in range(2))
LOG_P, LOG_Q = log_softmax(TEACHER.astype("float64")), log_softmax(STUDENT.astype("float64"))
P, Q = np.exp(LOG_P), np.exp(LOG_Q)
MEAN = P.mean(0)
KL = (P * (LOG_P - LOG_Q)).sum(-1)
AGREE = TEACHER.argmax(-1) == STUDENT.argmax(-1)
SOFT_P, SOFT_Q = (np.exp(log_softmax(x.astype("float64") / 3)) for x in (TEACHER, STUDENT))
MIDDLE = (SOFT_P + SOFT_Q) / 2
JSD = sum((p * np.log(p / MIDDLE)).sum(-1) for p in (SOFT_P, SOFT_Q)) / 2
TARGETS = np.array([0, 1, 2, 3, 4, 0, 1, 2])
IMAGES = RNG.uniform(size=(3, 6, 5, 2)).astype("float32")
WIDE = IMAGES.astype("float64")
UNIT = RNG.normal(size=(2, 6, 4)).astype("float32")
UNIT /= np.linalg.norm(UNIT, axis=-1, keepdims=True)
COSINES = log_softmax(UNIT[0].astype("float64") @ UNIT[1].T / 0.1)

# name: (function of tensors, its arguments, expected value)
CASES = {
    "adversarial l1": (
        objectives.adversarial,
        (TEACHER, STUDENT),
        -np.abs(TEACHER - STUDENT).mean(),
    ),
    "adversarial log l1": (
        lambda t, s: objectives.adversarial(t, s, "log_l1"),
        (TEACHER, STUDENT),
        -np.log(np.abs(TEACHER - STUDENT).mean() + 1),
    ),
    "adversarial kl": (
        lambda t, s: objectives.adversarial(t, s, "kl"),
        (TEACHER, STUDENT),
        -KL.mean(),
    ),
    "adversarial mean kl": (
        lambda t, s: objectives.adversarial(t, s, "mean_kl"),
        (TEACHER, STUDENT),
        -KL.mean() / 5,
    ),
    "adversarial kl where both agree": (
        lambda t, s: objectives.adversarial(t, s, "kl", only_where_agreeing=True),
        (TEACHER, STUDENT),
        -(KL * AGREE).mean(),
    ),
    "adversarial jsd": (
        lambda t, s: objectives.adversarial(t, s, "jsd", temperature=3.0),
        (TEACHER, STUDENT),
        -JSD.mean(),
    ),
    "one hot": (objectives.one_hot, (TEACHER,), -LOG_P.max(-1).mean()),
    "one hot with targets": (
        lambda t: objectives.one_hot(t, TARGETS),
        (TEACHER,),
        -LOG_P[np.arange(8), TARGETS].mean(),
    ),
    "entropy": (objectives.entropy, (TEACHER,), -(P * LOG_P).sum(-1).mean()),
    "class balance": (objectives.class_balance, (TEACHER,), (MEAN * np.log(MEAN)).sum()),
    "class balance, base 10": (
        lambda t: objectives.class_balance(t, 10.0),
        (TEACHER,),
        (MEAN * np.log10(MEAN)).sum(),
    ),
    "activation": (objectives.activation, (TEACHER,), -np.abs(TEACHER).mean()),
    "total variation": (
        objectives.total_variation,
        (IMAGES,),
        sum(
            np.linalg.norm(a - b)
            for a, b in (
                (WIDE[:, :, 1:], WIDE[:, :, :-1]),
                (WIDE[:, 1:], WIDE[:, :-1]),
                (WIDE[:, 1:, 1:], WIDE[:, :-1, :-1]),
                (WIDE[:, 1:, :-1], WIDE[:, :-1, 1:]),
            )
        ),
    ),
    "pixel statistics": (
        objectives.pixel_statistics,
        (IMAGES,),
        sum(
            ((ours - known) ** 2).sum() / 3
            for ours, known in ((WIDE.mean((1, 2)), 0), (WIDE.std((1, 2), ddof=1), np.sqrt(1 + 1e-6)))
        ),
    ),
    "l2": (objectives.l2, (IMAGES,), np.sqrt((WIDE**2).sum((1, 2, 3))).mean()),
    "contrastive": (
        lambda a, b: keras.ops.mean(objectives.contrastive(a, b)),
        tuple(UNIT),
        -np.diagonal(COSINES).mean(),
    ),
}


@pytest.mark.parametrize("jit_compile", [None, False, True], ids=["eager", "graph", "xla"])
@pytest.mark.parametrize("case", CASES)
def test_values(case, jit_compile):
    function, arguments, expected = CASES[case]
    if jit_compile is not None:
        function = tf.function(function, jit_compile=jit_compile)
    np.testing.assert_allclose(function(*arguments), expected, rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("scale", [0.0, 1e4], ids=["zeros", "saturated"])
def test_gradients_are_finite_at_extremes(case, scale):
    function, arguments, _ = CASES[case]
    tensors = [tf.constant(scale * argument) for argument in arguments]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = function(*tensors)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in tape.gradient(value, tensors))


def test_class_balance_knows_its_extremes():
    even = np.eye(5, dtype="float32") * 100
    np.testing.assert_allclose(objectives.class_balance(even), -np.log(5), rtol=1e-6)
    np.testing.assert_allclose(objectives.class_balance(np.tile(even[:1], (7, 1))), 0, atol=1e-6)


def test_jensen_shannon_is_not_clipped():
    """With 100 classes DeepInversion's code clips nearly all probabilities."""
    logits = np.zeros((1, 100), "float32")
    other = logits.copy()
    logits[0, 0], other[0, 1] = 50.0, 50.0
    np.testing.assert_allclose(objectives.jensen_shannon(logits, other), np.log(2), rtol=1e-5)
    near = np.zeros((1, 100), "float32")
    near[0, :50] = 0.5
    assert 0 < float(objectives.jensen_shannon(near, np.zeros((1, 100), "float32"))[0]) < 0.1


def saw(teacher, images, term):
    """What a term on batch statistics gets to see of some images."""
    stored = term.stored(teacher)
    with taps.record(teacher, stored) as record:
        logits = teacher(images)
    found = tuple(moments(values, *kept) for tap, kept in stored.items() for values in record.calls[tap])
    return objectives.Synthesized(images, logits, moments=found)


def statistics(images, teacher):
    """Mean, biased variance and what is stored, of what enters the teacher's normalization, by NumPy."""
    layer = teacher.get_layer("norm1")
    with taps.record(teacher, ["norm1:input"]) as record:
        teacher(images)
    values = record["norm1:input"].numpy().astype("float64")
    return values, layer.moving_mean.numpy(), layer.moving_variance.numpy()


def test_norms_of_batch_statistics(teacher):
    images, _ = blobs(6)
    values, stored_mean, stored_variance = statistics(images, teacher)
    mean, variance = values.mean((0, 1, 2)), values.var((0, 1, 2))
    ratio = variance / stored_variance
    kl = ratio + (mean - stored_mean) ** 2 / stored_variance - 1 - np.log(ratio)
    of_images = values.mean((1, 2)), values.std((1, 2), ddof=1)
    expected = {
        "l2": np.linalg.norm(variance - stored_variance) + np.linalg.norm(mean - stored_mean),
        "mse": ((variance - stored_variance) ** 2).mean() + ((mean - stored_mean) ** 2).mean(),
        "gaussian_kl": 0.5 * kl.sum(),
        "per_image": sum(
            ((ours - stored) ** 2).sum() / 6
            for ours, stored in zip(of_images, (stored_mean, np.sqrt(stored_variance + 1e-6)), strict=True)
        ),
    }
    for norm, value in expected.items():
        term = BatchStatistics(norm=norm)
        np.testing.assert_allclose(term.value(saw(teacher, images, term)), value, rtol=1e-4, err_msg=norm)
    double = BatchStatistics(first_layer_multiplier=10.0)
    np.testing.assert_allclose(double.value(saw(teacher, images, double)), 10 * expected["l2"], rtol=1e-4)


def test_statistics_that_match_cost_nothing():
    """The teacher's own data, with a moving average that is over, give next to nothing."""
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(2)(keras.layers.BatchNormalization(name="norm")(inputs))
    network = keras.Model(inputs, outputs)
    data = RNG.normal(3, 2, (64, 4)).astype("float32")
    layer = network.get_layer("norm")
    layer.moving_mean.assign(data.mean(0))
    layer.moving_variance.assign(data.var(0))
    for norm in ("l2", "mse", "gaussian_kl"):
        term = BatchStatistics(norm=norm)
        assert float(term.value(saw(network, data, term))) < 1e-3
        assert float(term.value(saw(network, data + 1, term))) > 0.1


def test_running_statistics_count_a_batch_once():
    """Of the steps on a batch only the last is remembered, and none before the first batch is done."""
    inputs = keras.Input((3,))
    network = keras.Model(inputs, keras.layers.BatchNormalization()(inputs))
    term = BatchStatistics(momentum=0.9)
    batches = [RNG.normal(i, 1 + i, (16, 3)).astype("float32") for i in range(3)]
    state = term.build(saw(network, batches[0], term), 16, None)
    plain = BatchStatistics()

    def value(batch, running):
        seen = saw(network, batch, term)
        seen = objectives.Synthesized(seen.images, seen.teacher_logits, moments=seen.moments, state=running)
        return float((term if running is not None else plain).value(seen))

    assert value(batches[0], state) == pytest.approx(value(batches[0], None), rel=1e-5)
    value(batches[1], state)
    term.finish(state)
    np.testing.assert_allclose(state.running[0], batches[1].mean(0), rtol=1e-5)
    np.testing.assert_allclose(state.running[1], batches[1].var(0), rtol=1e-4)
    mean = 0.1 * batches[2].mean(0) + 0.9 * batches[1].mean(0)
    variance = 0.1 * batches[2].var(0) + 0.9 * batches[1].var(0)
    expected = np.linalg.norm(variance - 1) + np.linalg.norm(mean)
    assert value(batches[2], state) == pytest.approx(expected, rel=1e-4)
    term.finish(state)
    np.testing.assert_allclose(state.running[0], mean, rtol=1e-4)


def test_dead_channels_weigh_no_more_than_others():
    inputs = keras.Input((4,))
    network = keras.Model(inputs, keras.layers.BatchNormalization(name="norm")(inputs))
    layer = network.get_layer("norm")
    layer.moving_variance.assign([1.0, 1.0, 1.0, 0.0])
    batch = tf.constant(RNG.normal(0, 1, (32, 4)).astype("float32"))
    for norm in ("l2", "mse", "gaussian_kl", "per_image"):
        term = BatchStatistics(norm=norm)
        with tf.GradientTape() as tape:
            tape.watch(batch)
            value = term.value(saw(network, batch, term))
        gradient = tape.gradient(value, batch).numpy()
        assert np.isfinite(value) and np.isfinite(gradient).all()
        # A division by the stored variance would make this very large.
        assert np.abs(gradient[:, 3]).max() < 10 * np.abs(gradient[:, :3]).max()


def test_nested_and_shared_normalizations_are_found():
    norm = keras.layers.BatchNormalization(name="shared")
    block_input = keras.Input((5,))
    block = keras.Model(
        block_input, keras.layers.BatchNormalization(name="inner")(block_input), name="block"
    )
    inputs = keras.Input((5,))
    x = norm(keras.layers.Dense(5)(inputs))
    x = norm(keras.layers.Dense(5)(block(x)))
    network = keras.Model(inputs, keras.layers.Dense(3)(x))
    assert set(normalization_taps(network)) == {"shared:input", "block/inner:input"}
    term = BatchStatistics()
    seen = saw(network, RNG.normal(size=(4, 5)).astype("float32"), term)
    # The shared one is called twice.
    assert len(seen.moments) == 3


def test_statistics_of_tokens_stand_in_where_none_are_stored():
    """A small vision transformer: layer normalization only."""
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Reshape((16, 8))(keras.layers.Conv2D(8, 2, 2)(inputs))
    x = keras.layers.LayerNormalization()(x + keras.layers.MultiHeadAttention(2, 4)(x, x))
    x = keras.layers.Dense(8, name="block")(x)
    network = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling1D()(x)))
    assert BatchStatistics().problem(network) == (
        "it has no batch normalization, so there are no statistics to match"
    )
    images = RNG.uniform(size=(6, 8, 8, 1)).astype("float32")
    term = BatchStatistics(given=measure(network, images, ["block"]))
    assert term.problem(network) is None
    assert float(term.value(saw(network, images, term))) < 1e-3
    assert float(term.value(saw(network, 1 - images, term))) > 0.01


def test_each_works_on_a_batch(teacher, student):
    images, _ = blobs(4)
    terms = (
        objectives.Adversarial(),
        objectives.Adversarial(distance="kl"),
        objectives.OneHot(),
        objectives.Activation(),
        objectives.Activation(layer="relu1"),
        objectives.ClassBalance(),
        objectives.Entropy(),
        objectives.TotalVariation(),
        objectives.L2(),
        objectives.PixelStatistics(),
    )
    tapped = [tap for term in terms for tap in term.taps(teacher)]
    assert tapped == ["logits:input", "relu1"]
    with taps.record(teacher, tapped) as seen:
        logits = teacher(images)
    values = []
    for term in terms:
        features = tuple(seen[tap] for tap in term.taps(teacher))
        batch = objectives.Synthesized(images, logits, student(images), teacher_seen=features)
        values.append(term.value(batch))
    assert all(np.isfinite(value) and value.shape == () for value in values)
    np.testing.assert_allclose(values[3], -np.abs(seen["logits:input"]).mean(), rtol=1e-5)
    np.testing.assert_allclose(values[4], -np.abs(seen["relu1"]).mean(), rtol=1e-5)


def test_names_and_bad_arguments():
    assert objectives.ClassBalance().name == "class_balance"
    for build in (
        lambda: objectives.adversarial(TEACHER, STUDENT, "l2"),
        lambda: objectives.Adversarial(distance="l2"),
    ):
        with pytest.raises(
            ValueError, match=r"`distance` must be one of \['jsd', 'kl', 'l1', 'log_l1', 'mean_kl'\]"
        ):
            build()
    for options, message in (
        ({"norm": "l3"}, "`norm` must be one of"),
        ({"momentum": 1.0}, r"`momentum` must be in \[0, 1\)"),
        ({"norm": "per_image", "momentum": 0.5}, "`momentum` must be 0 with norm='per_image'"),
    ):
        with pytest.raises(ValueError, match=message):
            BatchStatistics(**options)
    with pytest.raises(ValueError, match="`temperature` must be above 0"):
        objectives.ContrastiveInversion(temperature=0.0)
    for term in (objectives.L2, objectives.PixelStatistics):
        with pytest.raises(ValueError, match="`pixel_std` must be above 0"):
            term(pixel_std=0.0)


def test_pixel_statistics_are_of_normalized_pixels():
    """Images with the mean and deviation that were given cost nothing, brighter ones do."""
    fitting = 0.3 + 0.1 * (IMAGES - IMAGES.mean((1, 2), keepdims=True)) / IMAGES.std(
        (1, 2), keepdims=True, ddof=1
    )
    term = objectives.PixelStatistics(pixel_mean=0.3, pixel_std=0.1)
    assert float(term.value(objectives.Synthesized(fitting, None))) < 1e-6
    brighter = term.value(objectives.Synthesized(fitting + 0.1, None))
    np.testing.assert_allclose(brighter, IMAGES.shape[-1], rtol=1e-4)


def test_objectives_compare_by_value():
    assert objectives.OneHot(2.0) == objectives.OneHot(2.0) != objectives.OneHot(1.0)
    assert keras.tree.flatten([objectives.OneHot()]) == [objectives.OneHot()]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: objectives.Adversarial(1.0, "kl", agreeing=True), "only_where_agreeing"),
        (lambda: BatchStatistics(first=True), "first_layer_multiplier"),
    ],
)
def test_old_names_of_options(make, name):
    with pytest.warns(DeprecationWarning, match=f"is now called {name}"):
        assert getattr(make(), name) == True  # noqa: E712
