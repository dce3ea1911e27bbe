"""EnsembleTeacher: its answers, and that it is a teacher like any other."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd
from tests import harness
from tests.conftest import CLASSES, SHAPE, blobs, small_network
from tests.losses.oracles import log_softmax
from tests.schemes.cases import Setting
from tests.schemes.cases_ensemble import CASES
from tfkd import losses, tasks
from tfkd._core.fingerprints import fingerprint
from tfkd.schemes import EnsembleTeacher

pytestmark = [pytest.mark.slow, pytest.mark.eager]

LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
X, Y = blobs(32)
WEIGHTS = [2.0, 1.0, 1.0]


def of_labels(width: int, name: str, task: str) -> keras.Model:
    """A network of four labels or numbers, as `load_teacher` returns it."""
    ending = "sigmoid" if task == "multi_label" else None
    # The task is known, and these networks are not trained.
    return tfkd.load_teacher(small_network(width, ending, name), input_range=(0, 1), task=task)


@pytest.fixture(scope="module")
def members():
    keras.utils.set_random_seed(11)
    return [small_network(width, name=name) for width, name in ((4, "net"), (6, "net"), (8, "other"))]


@pytest.fixture(scope="module")
def ensemble(members):
    return EnsembleTeacher(members, WEIGHTS)


def answers(members, x=X):
    return [np.asarray(member(x), "float64") for member in members]


def mean(values):
    return sum(w / 4 * value for w, value in zip(WEIGHTS, values, strict=True))


@pytest.mark.parametrize("scale", [1.0, 200.0], ids=["ordinary", "saturated"])
def test_means_of_logits_and_of_probabilities(members, scale):
    scaled = [
        keras.Sequential([keras.Input(SHAPE), member, layers.Rescaling(scale)], name=f"scaled_{i}")
        for i, member in enumerate(members)
    ]
    logits = answers(scaled)
    of_logits, of_probabilities = (
        EnsembleTeacher(scaled, WEIGHTS, of)(X) for of in ("logits", "probabilities")
    )
    np.testing.assert_allclose(of_logits, mean(logits), rtol=1e-5, atol=1e-5)
    # Logarithms of numbers that float64 may not hold are compared where it does.
    with np.errstate(divide="ignore"):
        expected = np.log(mean([np.exp(log_softmax(z)) for z in logits]))
    held = np.isfinite(expected)
    assert held.mean() > 0.5 and np.isfinite(of_probabilities).all()
    np.testing.assert_allclose(np.asarray(of_probabilities)[held], expected[held], rtol=2e-5, atol=2e-5)


@pytest.mark.filterwarnings("ignore::tfkd.TeacherWarning")
def test_independent_labels_and_numbers_are_averaged_as_such():
    labels = [of_labels(width, f"labels_{width}", "multi_label") for width in (4, 6, 8)]
    p = mean([1 / (1 + np.exp(-z)) for z in answers(labels)])
    ensemble = EnsembleTeacher(labels, WEIGHTS, "probabilities")
    np.testing.assert_allclose(ensemble(X), np.log(p / (1 - p)), rtol=1e-4, atol=1e-5)
    assert tasks.task_of(ensemble).name == "multi_label"
    numbers = [of_labels(width, f"numbers_{width}", "regression") for width in (4, 6, 8)]
    ensemble = EnsembleTeacher(numbers, WEIGHTS, "probabilities")
    np.testing.assert_allclose(ensemble(X), mean(answers(numbers)), rtol=1e-5, atol=1e-6)
    assert tasks.task_of(ensemble).name == "regression"


@pytest.mark.filterwarnings("ignore::tfkd.TeacherWarning")
def test_a_distiller_takes_the_loss_of_the_task(tmp_path):
    labels = [of_labels(width, f"labels_{width}", "multi_label") for width in (4, 6)]
    ensemble, student = EnsembleTeacher(labels, of="probabilities"), small_network(4)
    distiller = tfkd.Distiller(ensemble, student, losses.SoftTargets(2.0))
    assert isinstance(distiller.distillation_losses[0], losses.BernoulliTargets)
    each = ensemble.per_teacher(losses.SoftTargets(2.0))
    with pytest.raises(ValueError, match=r"WeightedTeachers\(SoftTargets\).*Use tfkd.losses.Bernoulli"):
        tfkd.Distiller(ensemble, student, each)
    distiller = tfkd.Distiller(ensemble, student, ensemble.per_teacher(losses.BernoulliTargets(2.0)))
    distiller.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    before = harness.snapshot(student)
    distiller.fit(X, np.eye(CLASSES)[Y], verbose=0)
    harness.assert_other_weights(before, student.weights)
    ensemble.save(tmp_path / "ensemble.keras")
    # A file says the task too.
    assert tasks.task_of(keras.models.load_model(tmp_path / "ensemble.keras")).name == "multi_label"


def test_taps_begin_with_the_names_of_members(members, ensemble):
    assert [member.name for member in ensemble.teachers] == ["net", "net_1", "other"]
    # The models that were given keep their names.
    assert [member.name for member in members] == ["net", "net", "other"]
    taps = ["net", "net/conv2", "net_1/conv2", "other/logits:input"]
    with tfkd.taps.record(ensemble, taps) as seen:
        ensemble(X)
    with tfkd.taps.record(members[1], ["conv2"]) as own:
        members[1](X)
    np.testing.assert_allclose(seen["net"], members[0](X), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(seen["net_1/conv2"], own["conv2"], rtol=1e-5, atol=1e-6)
    assert tfkd.taps.shape(ensemble, "net_1/conv2") == (None, 6, 6, 12)
    with pytest.raises(ValueError, match=r"No layer 'net_2/conv2'.*net_1/conv2"):
        tfkd.taps.resolve(ensemble, "net_2/conv2")


def test_names_that_are_taken_get_numbers_that_are_not():
    names = ["a", "a_1", "a", "mean", "image"]
    ensemble = EnsembleTeacher([small_network(2 + i, name=name) for i, name in enumerate(names)])
    assert [member.name for member in ensemble.teachers] == ["a", "a_1", "a_2", "mean", "image_1"]
    assert np.isfinite(ensemble(X)).all()


def test_members_of_their_own_scaling_and_files(teacher_file, trained, tmp_path):
    keras.Sequential([keras.Input(SHAPE), layers.Rescaling(1 / 255), trained], name="of_bytes").save(
        tmp_path / "of_bytes.keras"
    )
    of_bytes = tfkd.load_teacher(tmp_path / "of_bytes.keras", input_range=(0, 255))
    alone = tfkd.load_teacher(teacher_file)
    both = EnsembleTeacher([of_bytes, teacher_file])
    # A softmax's logits are known up to a constant, which the same ending takes off the same way.
    np.testing.assert_allclose(
        log_softmax(both(X).numpy()), log_softmax(alone(X).numpy()), rtol=1e-3, atol=1e-4
    )


def test_fingerprints_tell_ensembles_apart(members):
    made = [
        EnsembleTeacher(members, WEIGHTS),
        EnsembleTeacher(members),
        EnsembleTeacher(members, WEIGHTS, "probabilities"),
        EnsembleTeacher(members[:2]),
        EnsembleTeacher(members[1:]),
    ]
    assert len({fingerprint(each) for each in made}) == 5
    assert fingerprint(EnsembleTeacher(members, [4, 2, 2], name="again")) == fingerprint(made[0])


@pytest.mark.slow
def test_saved_loaded_exported(ensemble, tmp_path):
    expected = ensemble.predict(X, verbose=0)
    ensemble.save(tmp_path / "ensemble.keras")
    loaded = keras.models.load_model(tmp_path / "ensemble.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), expected)
    assert isinstance(loaded, EnsembleTeacher) and fingerprint(loaded) == fingerprint(ensemble)
    assert [member.name for member in loaded.teachers] == ["net", "net_1", "other"]
    with pytest.warns(tfkd.TeacherWarning, match="untrained"):
        teacher = tfkd.load_teacher(tmp_path / "ensemble.keras")
    np.testing.assert_allclose(teacher(X), expected, rtol=1e-5, atol=1e-6)
    ensemble.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(served.serve(X), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_cached_ensemble_teaches_the_same(ensemble):
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
    weights = small_network(4).get_weights()

    def trained(dataset):
        student = small_network(4)
        student.set_weights(weights)
        loss = ensemble.per_teacher(losses.SoftTargets(2.0), "confidence")
        distiller = tfkd.Distiller(ensemble, student, [losses.SoftTargets(2.0), loss])
        distiller.compile(keras.optimizers.SGD(0.1), LABELS_LOSS)
        distiller.fit(dataset, verbose=0)
        return student.get_weights()

    cached = tfkd.cache_teacher(data, ensemble, taps=["net", "net_1", "other"])
    for ours, theirs in zip(trained(cached), trained(data), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert any(np.any(w != v) for w, v in zip(trained(data), weights, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_members_stay_as_they_are_and_the_student_learns(name, jit_compile, teacher):
    made = {}

    def student(name):
        keras.utils.set_random_seed(5)
        made["student"] = small_network(4, name=name)
        made["before"] = harness.snapshot(made["student"])
        return made["student"]

    before = harness.snapshot(teacher)
    ran = CASES[name].run(Setting(teacher, X, Y, student, jit_compile=jit_compile))
    harness.assert_same_weights(before, teacher)
    harness.assert_other_weights(made["before"], ran.students[0].weights)
    assert ran.history.history["loss"][-1] < ran.history.history["loss"][0]


@pytest.mark.slow
def test_half_precision(teacher):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = small_network(6, name="half")
        student = small_network(4, name="student")
    finally:
        keras.config.set_dtype_policy("float32")
    ensemble = EnsembleTeacher([teacher, half], of="probabilities")
    output = ensemble(X)
    assert output.dtype == "float32"
    p = [
        np.exp(log_softmax(np.asarray(tf.cast(each(X), "float32"), "float64"))) for each in (teacher, half)
    ]
    np.testing.assert_allclose(output, np.log(sum(p) / 2), rtol=1e-3, atol=1e-2)
    loss = ensemble.per_teacher(losses.SoftTargets(), "learned")
    distiller = tfkd.Distiller(ensemble, student, [losses.SoftTargets(2.0), loss])
    distiller.compile(keras.optimizers.Adam(1e-2), LABELS_LOSS)
    before = harness.snapshot(student)
    logs = distiller.fit(X, Y, epochs=2, verbose=0).history
    assert logs["loss"][1] < logs["loss"][0]
    harness.assert_other_weights(before, student.weights)
    assert loss.importance.dtype == "float32"


@pytest.mark.slow
def test_replicas_share_a_batch(strategy, members):
    """Two replicas, each with half of the batch, make the step of one with all of it."""
    kinds = [keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(CLASSES)]) for _ in "abc"]
    weights, after = [kind.get_weights() for kind in kinds], []
    for scope in (strategy.scope, tf.init_scope):
        with scope():
            *teachers, student = [
                keras.Sequential(
                    [keras.Input(SHAPE), layers.Flatten(), layers.Dense(CLASSES)], name=f"m{i}"
                )
                for i in range(3)
            ]
            for model, values in zip((*teachers, student), weights, strict=True):
                model.set_weights(values)
            ensemble = EnsembleTeacher(teachers, [3, 1], "probabilities")
            kinds = [losses.SoftTargets(2.0), ensemble.per_teacher(losses.SoftTargets(), "confidence")]
            distiller = tfkd.Distiller(ensemble, student, kinds)
            distiller.compile(keras.optimizers.SGD(0.1), LABELS_LOSS)
        distiller.fit(X, Y, batch_size=32, shuffle=False, verbose=0)
        after.append(student.get_weights())
    for ours, theirs, start in zip(*after, weights[-1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
        assert np.abs(ours - start).max() > 1e-3


@pytest.fixture
def black_box(members):
    def ask(x):
        return np.asarray(members[0](x))

    return tfkd.BlackBoxTeacher(ask, SHAPE, CLASSES, from_logits=True)


@pytest.mark.slow
def test_a_black_box_among_the_members(black_box, members, teacher_file, tmp_path):
    ensemble = EnsembleTeacher([black_box, members[1], teacher_file])
    assert black_box.queries == 0
    each = answers([members[0], members[1], tfkd.load_teacher(teacher_file)])
    np.testing.assert_allclose(ensemble.predict(X, verbose=0), sum(each) / 3, rtol=1e-4, atol=1e-5)
    student = small_network(4)
    kinds = [losses.SoftTargets(2.0), losses.Hint("net/conv2", "conv2", projector=True)]
    distiller = tfkd.Distiller(ensemble, student, kinds)
    distiller.compile("adam", LABELS_LOSS)
    before = harness.snapshot(student)
    distiller.fit(X, Y, verbose=0)
    harness.assert_other_weights(before, student.weights)
    with pytest.raises(ValueError, match="'ensemble' cannot be saved: it has a black box"):
        ensemble.save(tmp_path / "ensemble.keras")
    other = EnsembleTeacher([black_box, members[1]])
    assert fingerprint(other) != fingerprint(ensemble)


@pytest.mark.slow
def test_without_data(ensemble, black_box, members):
    tiny = {"batch_size": 16, "steps_per_epoch": 2, "epochs": 1}
    with_black_box = EnsembleTeacher([black_box, members[1]])
    dfad = tfkd.datafree.DFAD(**tiny, latent_size=6, filters=4, student_steps=2)
    with pytest.raises(
        ValueError, match="DFAD needs gradients of the teacher, but 'ensemble' is a black box"
    ):
        tfkd.DataFreeDistiller(with_black_box, small_network(4), dfad)
    procedural = tfkd.datafree.Procedural(**tiny, memory=64, refine_steps=0)
    for teacher, recipe in ((ensemble, dfad), (with_black_box, procedural)):
        student = small_network(4)
        distiller = tfkd.DataFreeDistiller(teacher, student, recipe, seed=1)
        distiller.compile()
        before = harness.snapshot(student)
        distiller.fit(verbose=0)
        harness.assert_other_weights(before, student.weights)


def test_a_member_of_weight_0_has_taps_but_no_say(members):
    ensemble = EnsembleTeacher(members[1:], [0, 1], "probabilities")
    np.testing.assert_allclose(ensemble(X), log_softmax(answers(members)[2]), rtol=1e-4, atol=1e-5)
    assert tfkd.taps.resolve(ensemble, "net/conv1") is members[1].get_layer("conv1")


def test_several_inputs_and_ensembles_of_ensembles(members, ensemble):
    def of_two(name):
        inputs = {key: keras.Input((3,), name=key) for key in ("a", "b")}
        x = layers.Concatenate()([inputs["a"], inputs["b"]])
        return keras.Model(inputs, layers.Dense(2)(x), name=name)

    networks = [of_two("first"), of_two("first")]
    x = {key: np.random.default_rng(0).normal(size=(5, 3)).astype("float32") for key in ("a", "b")}
    expected = sum(np.asarray(network(x)) for network in networks) / 2
    np.testing.assert_allclose(EnsembleTeacher(networks)(x), expected, rtol=1e-5, atol=1e-6)
    nested = EnsembleTeacher([ensemble, small_network(4, name="more")], [3, 1])
    assert "ensemble/net_1/conv1" in tfkd.taps.named_layers(nested)


def test_members_that_do_not_go_together(members):
    resized = keras.Sequential([keras.Input((16, 16, 1)), layers.Flatten(), layers.Dense(4)], name="larger")
    with pytest.raises(ValueError, match=r"same inputs.*'net' with \(None, 12, 12, 1\), 'larger' with"):
        EnsembleTeacher([members[0], resized])
    # What the message recommends works.
    in_front = keras.Sequential([keras.Input(SHAPE), layers.Resizing(16, 16), resized], name="in_front")
    assert EnsembleTeacher([members[0], in_front])(X).shape == (32, CLASSES)

    three = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(3)], name="three")
    with pytest.raises(
        ValueError, match=r"same task and classes.*'net' with Classification\(\(4,\)\), 'three' with"
    ):
        EnsembleTeacher([members[0], three])
    labels = tasks.mark(small_network(4, name="labels"), tasks.MultiLabel((4,)))
    with pytest.raises(
        ValueError, match=r"the same task.*'net' with Classification.*'labels' with MultiLabel"
    ):
        EnsembleTeacher([members[0], labels])
    for ending, message in (("softmax", "'ended' ends in a softmax"), ("sigmoid", "'ended' ends in a sig")):
        with pytest.raises(ValueError, match=message):
            EnsembleTeacher([members[0], small_network(4, ending, "ended")])
    with pytest.raises(ValueError, match=r"share weights.*'net' \(teachers\[0\]\).*larger weight"):
        EnsembleTeacher([members[0], members[0]])


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.dense = layers.Dense(CLASSES)

    def call(self, inputs):
        return self.dense(layers.Flatten()(inputs))


def test_a_member_without_a_graph_is_wrapped():
    member = Subclassed()
    member(X)
    with pytest.raises(ValueError, match="'subclassed' has unknown inputs"):
        EnsembleTeacher([member])
    inputs = keras.Input(SHAPE)
    wrapped = keras.Model(inputs, member(inputs), name="wrapped")
    np.testing.assert_allclose(EnsembleTeacher([wrapped])(X), member(X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("teachers", "options", "message"),
    [
        ([], {}, "`teachers` must be a list of at least one"),
        ("teacher.keras", {}, "`teachers` must be a list"),
        ([3], {}, r"`teachers\[0\]` must be a keras.Model"),
        (2, {"weights": [1]}, "one weight for each of the 2 teachers"),
        (2, {"weights": [1, -1]}, "`weights` must be at least 0 and finite. Received: weights=-1"),
        (2, {"weights": [0, 0]}, "must have one above 0"),
        (2, {"weights": [1, float("nan")]}, "`weights` must be at least 0 and finite"),
        (2, {"of": "logit"}, "Unknown value of `of` 'logit'. Did you mean 'logits'"),
    ],
)
def test_bad_arguments(teachers, options, message, members):
    teachers = members[:teachers] if isinstance(teachers, int) else teachers
    with pytest.raises(ValueError, match=message):
        EnsembleTeacher(teachers, **options)
    with pytest.raises(FileNotFoundError):
        EnsembleTeacher(["no_such_file.keras"])
