"""Losses on attention layers: padding, masked scores, any number of heads, taps."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfkd
from tests.losses import oracles
from tests.losses.networks import attending_network
from tfkd import losses
from tfkd.distilling._forward import reduced_loss
from tfkd.losses import AttentionKL, AttentionScores, Batch, SelfAttentionRelations

RNG = np.random.default_rng(0)
LENGTHS = np.array([5, 1, 3])
MASK = np.arange(5) < LENGTHS[:, None]
# Of teacher and student; vectors have other widths.
SCORES = RNG.normal(0, 3, (2, 3, 4, 5, 5)).astype("float32")
VECTORS = [RNG.normal(0, 2, (3, 5, *sizes)).astype("float32") for sizes in ((4, 6), (4, 3))]
KINDS = {
    "attention_scores": (AttentionScores, losses.attention_scores, SCORES),
    "attention_kl": (AttentionKL, losses.attention_kl, SCORES),
    "self_attention_relations": (SelfAttentionRelations, losses.self_attention_relations, VECTORS),
}
every_kind = pytest.mark.parametrize("name", KINDS)


def at_padding(values, filling, mask=MASK):
    """The same values with others wherever a token is padding, as a query or as a key."""
    real = mask[:, None, :, None] & mask[:, None, None, :]
    if values.shape[1] == mask.shape[1]:
        real = mask[:, :, None, None]
    return np.where(real, values, filling).astype("float32")


@every_kind
@pytest.mark.parametrize("filling", [0.0, 50.0, -1e9, np.inf])
def test_padding_does_not_count(name, filling):
    _, function, values = KINDS[name]
    teacher, student = (tf.constant(at_padding(each, filling)) for each in values)
    with tf.GradientTape() as tape:
        tape.watch(student)
        received = function(teacher, student, mask=tf.constant(MASK))
    expected = getattr(oracles, name)(*(each.astype("float64") for each in values), mask=MASK)
    np.testing.assert_allclose(received, expected, rtol=2e-5, atol=1e-7)
    gradient = tape.gradient(received, student).numpy()
    assert np.isfinite(gradient).all() and (gradient == at_padding(gradient, 0.0)).all()
    assert np.abs(gradient[0]).max() > 0


@every_kind
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_a_batch_padded_further_has_the_same_value_and_gradient(name, jit_compile):
    kind, _, values = KINDS[name]
    loss, behind = kind("a", "b"), 4

    @tf.function(jit_compile=jit_compile)
    def step(teacher, student, mask):
        with tf.GradientTape() as tape:
            tape.watch(student)
            value = reduced_loss(loss, teacher, student, Batch(mask=mask))
        return value, tape.gradient(value, student)

    def longer(x):
        tokens = [(0, behind) if size == 5 else (0, 0) for size in x.shape]
        return np.pad(x, tokens, constant_values=7)

    value, gradient = step(*values, MASK)
    mask = np.pad(MASK, [(0, 0), (0, behind)])
    padded, other = step(*map(longer, values), mask)
    assert float(value) > 0
    np.testing.assert_allclose(padded, value, rtol=1e-6)
    cut = other[:, :5] if name == "self_attention_relations" else other[:, :, :5, :5]
    np.testing.assert_allclose(cut, gradient, rtol=1e-4, atol=1e-7)


@every_kind
def test_a_sequence_of_nothing_but_padding_teaches_nothing(name):
    _, function, values = KINDS[name]
    student = tf.constant(values[1])
    with tf.GradientTape() as tape:
        tape.watch(student)
        received = function(values[0], student, mask=tf.zeros((3, 5), bool))
    np.testing.assert_array_equal(received, np.zeros(3))
    np.testing.assert_array_equal(tape.gradient(received, student), np.zeros_like(student))


@every_kind
def test_layers_add_up_each_with_its_mask(name):
    kind, function, values = KINDS[name]
    others = MASK[::-1]
    several = kind(["a", "b"], ["c", "d"])
    value = several([values[0]] * 2, [values[1]] * 2, mask=[tf.constant(MASK), tf.constant(others)])
    expected = sum(function(*values, mask=mask) for mask in (MASK, others))
    np.testing.assert_allclose(value, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("function", [losses.attention_scores, losses.attention_kl])
def test_what_a_query_may_not_see_has_no_share(function, dtype):
    """Of causal attention: the same as of the lower triangles alone; -1e9 is infinite in float16."""
    teacher, student = tf.cast(tf.round(8 * SCORES) / 8, dtype)
    causal = np.tril(np.ones((5, 5), bool))
    far = tf.cast(-1e9, dtype)
    with tf.GradientTape() as tape:
        tape.watch(student)
        value = function(*(tf.where(causal, x, far) for x in (teacher, student)))
    oracle = getattr(oracles, function.__name__)
    expected = oracle(*(np.where(causal, tf.cast(x, "float64"), -1e9) for x in (teacher, student)))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    gradient = tf.cast(tape.gradient(value, student), "float32").numpy()
    assert np.isfinite(gradient).all() and (gradient[..., ~causal] == 0).all()
    assert (gradient[..., 1:, :][..., causal[1:]] != 0).any()


def test_scores_at_or_below_minus_100_count_as_0_in_either_network():
    teacher = np.array([[[[3.0, -100.0], [-99.5, -1e9]]]], "float32")
    student = np.array([[[[-150.0, 2.0], [-99.0, -100.1]]]], "float32")
    # 3 and 0, 0 and 2, -99.5 and -99, 0 and 0.
    np.testing.assert_allclose(losses.attention_scores(teacher, student), [(9 + 4 + 0.25) / 4])


def test_attention_on_one_token_alone_keeps_its_exact_value_and_gradient():
    teacher = np.array([[[[300.0, 0.0], [0.0, 0.0]]]], "float32")
    student = tf.constant([[[[0.0, 400.0], [0.0, 0.0]]]])
    with tf.GradientTape() as tape:
        tape.watch(student)
        value = losses.attention_kl(teacher, student)
    # Two rows, of which the first is 400 off.
    np.testing.assert_allclose(value, [200.0])
    np.testing.assert_allclose(tape.gradient(value, student), [[[[-0.5, 0.5], [0, 0]]]])


@pytest.mark.parametrize("heads", [1, 2, 3, 6, 12])
def test_relation_heads_are_cut_anew_from_all_heads_together(heads):
    received = losses.self_attention_relations(*VECTORS, heads=heads, mask=MASK)
    expected = oracles.self_attention_relations(*(x.astype("float64") for x in VECTORS), heads, MASK)
    np.testing.assert_allclose(received, expected, rtol=2e-5)


def test_with_relation_heads_any_heads_can_be_compared():
    """Such as keys and values that groups of queries share."""
    teacher, student = VECTORS[0], VECTORS[1][:, :, :2]
    assert np.all(losses.self_attention_relations(teacher, student, heads=6) > 0)
    message = "`heads` must be given.*heads=None, teacher with 4, student with 2"
    with pytest.raises(ValueError, match=message):
        losses.self_attention_relations(teacher, student)
    one_head = VECTORS[0].reshape(3, 5, 1, -1)
    joined = losses.self_attention_relations(one_head, teacher, heads=4)
    np.testing.assert_allclose(joined, 0, atol=1e-6)


def test_relations_of_several_kinds_add_up():
    loss = SelfAttentionRelations("a", "b", of=("queries", "keys", "values"), heads=3)
    assert loss.teacher_layer == ["a:queries", "a:keys", "a:values"]
    assert loss.student_layer == ["b:queries", "b:keys", "b:values"]
    teachers, students = ([x, 2 * x, x[::-1]] for x in VECTORS)
    expected = sum(
        losses.self_attention_relations(t, s, heads=3) for t, s in zip(teachers, students, strict=True)
    )
    np.testing.assert_allclose(loss(teachers, students), expected, rtol=1e-6)


@every_kind
def test_paths_get_their_suffix_once(name):
    kind, suffix = KINDS[name][0], ":values" if name == "self_attention_relations" else ":scores"
    loss = kind("a/attention", "b")
    assert (loss.teacher_layer, loss.student_layer) == (f"a/attention{suffix}", f"b{suffix}")
    several = kind(["a", f"b{suffix}"], ["c", "d"])
    assert several.teacher_layer == [f"a{suffix}", f"b{suffix}"]
    for each in (loss, several):
        assert kind.from_config(each.get_config()).get_config() == each.get_config()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: AttentionKL("a:probabilities", "b"), "':scores' appended.*'a:probabilities'"),
        (lambda: SelfAttentionRelations("a:scores", "b"), "':values' appended.*'a:scores'"),
        (lambda: AttentionScores(["a", "b"], ["c"]), "the same number of layers"),
        (lambda: SelfAttentionRelations("a", "b", of=("scores",)), "`of` must be one of 'queries', 'keys'"),
        (lambda: SelfAttentionRelations("a", "b", of=()), "`of` must name at least one"),
        (lambda: SelfAttentionRelations("a", "b", of=("keys", "keys")), "each once"),
        (lambda: SelfAttentionRelations("a", "b", heads=0), "`heads` must be an integer of at least 1"),
    ],
)
def test_bad_options(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("function", [losses.attention_scores, losses.attention_kl])
def test_scores_that_cannot_match(function):
    fewer = SCORES[1][:, :2]
    with pytest.raises(
        ValueError, match=r"teacher \(3, 4, 5, 5\), student \(3, 2, 5, 5\).*same number of heads"
    ):
        function(SCORES[0], fewer)
    with pytest.raises(ValueError, match=r"`student` must be attention scores.*\(3, 4, 5\)"):
        function(SCORES[0], SCORES[1][..., 0])


def test_vectors_that_cannot_match():
    with pytest.raises(ValueError, match=r"`heads` must divide the 24 numbers.*heads=5"):
        losses.self_attention_relations(*VECTORS, heads=5)
    with pytest.raises(ValueError, match=r"`teacher` must be queries, keys or values"):
        losses.self_attention_relations(VECTORS[0][..., 0], VECTORS[1])


def test_what_layers_show_is_what_the_formulas_say():
    """Scores and values of a layer, by its own weights."""
    teacher, student = attending_network(8), attending_network(4)
    x = RNG.uniform(size=(2, 12, 12, 1)).astype("float32")
    kinds = AttentionKL, AttentionScores, SelfAttentionRelations
    made = [kind("attention", "attention") for kind in kinds]
    distiller = tfkd.Distiller(teacher, student, made, student_loss_weight=0.0)
    distiller.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=True)
    logs = distiller.fit(x, np.zeros((2, 4)), verbose=0).history
    scores, values = [], []
    for network in (teacher, student):
        layer = network.get_layer("attention")
        tokens = keras.Model(network.input, layer.input[0])(x)
        q, k, v = (part(tokens) for part in (layer.query_dense, layer.key_dense, layer.value_dense))
        values.append(np.array(v, "float64"))
        scores.append(np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(q.shape[-1]))
    assert logs["attention_kl"][0] == pytest.approx(oracles.attention_kl(*scores).mean(), rel=1e-4)
    assert logs["attention_scores"][0] == pytest.approx(oracles.attention_scores(*scores).mean(), rel=1e-4)
    expected = oracles.self_attention_relations(*values).mean()
    assert logs["self_attention_relations"][0] == pytest.approx(expected, rel=1e-4)


def test_heads_that_share_keys_and_values_count_each():
    """Grouped-query attention beside multi-head attention."""
    tokens = RNG.normal(size=(2, 5, 8)).astype("float32")
    networks = []
    for layer in (
        keras.layers.MultiHeadAttention(4, 6, name="attention"),
        keras.layers.GroupQueryAttention(3, 4, 2, name="attention"),
    ):
        inputs = keras.Input((5, 8))
        networks.append(keras.Model(inputs, layer(inputs, inputs)))
    loss = SelfAttentionRelations("attention", "attention", of=("keys", "values"), heads=6)
    seen = []
    for network, names in zip(networks, (loss.teacher_layer, loss.student_layer), strict=True):
        with tfkd.taps.record(network, names) as record:
            network(tokens)
        seen.append([record[name] for name in names])
    shared = [[each[:, :, ::2] for each in seen[1]], [each[:, :, 1::2] for each in seen[1]]]
    np.testing.assert_array_equal(*shared)
    doubled = [np.repeat(each, 2, axis=2).astype("float64") for each in shared[0]]
    pairs = zip(seen[0], doubled, strict=True)
    expected = sum(oracles.self_attention_relations(t.numpy().astype("float64"), s, 6) for t, s in pairs)
    np.testing.assert_allclose(loss(*seen), expected, rtol=1e-4)


def test_a_layer_of_the_student_may_teach_another():
    loss = losses.within(AttentionKL("a", "b"))
    assert (loss.teacher_layer, loss.student_layer) == ("a:scores", "b:scores")
    np.testing.assert_allclose(loss(*SCORES), losses.attention_kl(*SCORES))
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert copy.teacher_layer == "a:scores"
