"""A teacher of labels or numbers is not taught as if exactly one class were right."""

import contextlib
import warnings

import keras
import numpy as np
import pytest
from keras import layers

import tfkd
from tfkd import losses

# Keras before 3.12 has none.
distillation = pytest.importorskip("keras.distillation")


def network(outputs, ending=None):
    inputs = keras.Input((6,))
    hidden = layers.Dense(5, activation="tanh", name="hidden")(inputs)
    return keras.Model(inputs, layers.Dense(outputs, activation=ending)(hidden))


@pytest.fixture
def tagger():
    """Three sigmoids, loaded: independent labels."""
    return tfkd.load_teacher(network(3, "sigmoid"), task="multi_label")


def x():
    return np.random.default_rng(0).normal(size=(16, 6)).astype("float32")


def test_soft_targets_become_those_of_each_label(tagger):
    student = network(3)
    distiller = tfkd.Distiller(tagger, student, losses.SoftTargets(2.0), student_loss_weight=0.0)
    distiller.compile("adam")
    expected = losses.bernoulli_targets(tagger(x()), student(x()), 2.0)
    logs = distiller.evaluate(x(), return_dict=True, verbose=0)
    assert logs["bernoulli_targets"] == pytest.approx(float(np.mean(expected)), rel=1e-4)


def test_numbers_are_compared_as_numbers():
    teacher = tfkd.load_teacher(network(2), task="regression")
    distiller = tfkd.Distiller(teacher, network(2), losses.SoftTargets())
    assert isinstance(distiller.distillation_losses[0], losses.MeanSquaredError)


def test_classifiers_and_unmarked_models_keep_what_was_asked_for():
    for teacher in (tfkd.load_teacher(network(3, "softmax")), network(3)):
        loss = losses.SoftTargets()
        assert tfkd.Distiller(teacher, network(3), loss).distillation_losses == [loss]


@pytest.mark.parametrize(
    "loss",
    [
        losses.DecoupledKnowledge(),
        losses.DIST(),
        losses.LogitStandardization(),
        losses.MultiLevelLogits(),
        losses.GradientAttention(),
        distillation.LogitsDistillation(),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_other_losses_over_a_softmax_are_refused_with_a_remedy_that_works(loss, tagger):
    with pytest.raises(ValueError, match=r"one softmax.*'multi_label'.*tfkd\.losses\.BernoulliTargets"):
        tfkd.Distiller(tagger, network(3), loss)
    tfkd.Distiller(tagger, network(3), losses.BernoulliTargets())


@pytest.mark.parametrize("tap", ["hidden", ["hidden"]], ids=["one_layer", "a_list"])
@pytest.mark.parametrize("kind", [losses.Hint, losses.SoftTargets])
def test_losses_of_inner_layers_stay(kind, tap, tagger):
    loss = kind(teacher_layer=tap, student_layer=tap)
    assert tfkd.Distiller(tagger, network(3), loss).distillation_losses == [loss]


OVER_ONE_SOFTMAX = [
    losses.SoftTargets,
    losses.DecoupledKnowledge,
    losses.DIST,
    losses.LogitStandardization,
    losses.MultiLevelLogits,
    losses.TeacherFree,
    losses.GradientAttention,
    distillation.LogitsDistillation,
]


@pytest.mark.parametrize("ending", [None, "sigmoid"])
@pytest.mark.parametrize("kind", OVER_ONE_SOFTMAX)
def test_a_softmax_of_one_output_is_refused_by_name(kind, ending):
    with pytest.raises(ValueError, match=rf"{kind.__name__} compares.*always 1.*BernoulliTargets"):
        tfkd.Distiller(network(1, ending), network(1, ending), kind())


def test_a_softmax_of_one_output_is_refused_where_only_a_step_shows_it():
    class Hidden(keras.Model):
        def __init__(self):
            super().__init__()
            self.last = layers.Dense(1)

        def call(self, inputs):
            return self.last(inputs)

    distiller = tfkd.Distiller(Hidden(), Hidden(), losses.SoftTargets(), student_loss_weight=0.0)
    distiller.compile("sgd")
    with pytest.raises(ValueError, match="SoftTargets compares softmaxes"):
        distiller.fit(x(), verbose=0)


def one_mask(ending=None):
    inputs = keras.Input((4, 4, 2))
    return keras.Model(inputs, layers.Conv2D(1, 3, padding="same", activation=ending)(inputs))


def test_masks_of_one_channel():
    with pytest.raises(ValueError, match="SoftTargets compares softmaxes"):
        tfkd.Distiller(one_mask(), one_mask(), losses.SoftTargets())
    teacher, student = one_mask(), one_mask()
    images = np.random.default_rng(0).normal(size=(3, 4, 4, 2)).astype("float32")
    distiller = tfkd.Distiller(teacher, student, losses.BernoulliTargets(), student_loss_weight=0.0)
    distiller.compile("sgd")
    p, q = (1 / (1 + np.exp(-np.asarray(m(images), "float64"))) for m in (teacher, student))
    expected = np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))
    assert distiller.evaluate(images, verbose=0)[0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("ending", [None, "sigmoid"])
def test_the_advice_on_independent_labels_works_to_the_letter(outputs, ending):
    teacher, student = network(outputs, ending), network(outputs)
    labels = np.random.default_rng(1).integers(0, 2, (16, outputs))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    with pytest.raises(ValueError, match=r'tfkd\.load_teacher\(teacher, task="multi_label"\)'):
        tfkd.Distiller(teacher, student, losses.SoftTargets()).compile("sgd", loss)
    taught = tfkd.load_teacher(teacher, task="multi_label")
    distiller = tfkd.Distiller(taught, student, losses.BernoulliTargets())
    distiller.compile(keras.optimizers.Adam(0.02), loss)
    with warnings.catch_warnings():
        warnings.simplefilter("error", tfkd.LogitsWarning)
        history = distiller.fit(x(), labels, epochs=30, verbose=0).history["bernoulli_targets"]
    assert 0 < history[-1] < history[0]


def test_who_says_that_one_class_is_right_may_use_binary_cross_entropy():
    teacher = tfkd.load_teacher(network(3), task="classification")
    distiller = tfkd.Distiller(teacher, network(3), losses.SoftTargets())
    distiller.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match="binary cross-entropy"):
        tfkd.Distiller(network(3), network(3), losses.SoftTargets()).compile("sgd", "binary_crossentropy")


@pytest.mark.parametrize(
    ("ending", "loss", "kind"),
    [
        ("softmax", losses.SoftTargets, keras.losses.SparseCategoricalCrossentropy),
        ("sigmoid", losses.BernoulliTargets, keras.losses.BinaryCrossentropy),
    ],
)
def test_the_advice_of_warnings_works_to_the_letter(ending, loss, kind):
    teacher, student = network(3, ending), network(3, ending)
    with pytest.warns(tfkd.LogitsWarning) as seen:
        tfkd.Distiller(teacher, student, loss())
    assert "tfkd.load_teacher(teacher)" in str(seen[0].message)
    assert "last layer without an activation" in str(seen[1].message)
    with pytest.warns(tfkd.teachers.TaskWarning) if ending == "sigmoid" else contextlib.nullcontext():
        teacher = tfkd.load_teacher(teacher)
    with warnings.catch_warnings():
        warnings.simplefilter("error", tfkd.LogitsWarning)
        distiller = tfkd.Distiller(teacher, network(3), loss())
        with pytest.raises(tfkd.LogitsWarning, match=rf"{kind.__name__}\(from_logits=True\)"):
            distiller.compile("sgd", kind())
        distiller.compile("sgd", kind(from_logits=True))


def two_heads():
    inputs = keras.Input((6,))
    hidden = layers.Dense(5, activation="tanh")(inputs)
    return keras.Model(inputs, {"kind": layers.Dense(3)(hidden), "on": layers.Dense(1)(hidden)})


def test_each_of_several_outputs_has_a_loss_of_its_own_kind():
    teacher, student = two_heads(), two_heads()
    both = {"kind": "kl_divergence", "on": "binary_crossentropy"}
    distiller = tfkd.Distiller(teacher, student, distillation.LogitsDistillation(loss=both))
    sparse = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile("sgd", {"kind": sparse, "on": keras.losses.BinaryCrossentropy(from_logits=True)})
    labels = {"kind": np.zeros(16, "int32"), "on": np.ones((16, 1))}
    assert np.isfinite(distiller.fit(x(), labels, verbose=0).history["loss"][0])
    with pytest.raises(ValueError, match="SoftTargets compares softmaxes"):
        tfkd.Distiller(teacher, student, losses.SoftTargets())


def test_the_advice_on_masks_works_to_the_letter():
    teacher, student = one_mask("sigmoid"), one_mask()
    with pytest.raises(ValueError, match="last layers of teacher and student without an activation"):
        tfkd.Distiller(teacher, student, losses.SoftTargets())
    rebuilt = one_mask()
    rebuilt.set_weights(teacher.get_weights())
    distiller = tfkd.Distiller(rebuilt, student, losses.BernoulliTargets(), student_loss_weight=0.0)
    distiller.compile(keras.optimizers.Adam(0.05))
    images = np.random.default_rng(0).normal(size=(8, 4, 4, 2)).astype("float32")
    history = distiller.fit(images, epochs=20, verbose=0).history["loss"]
    assert 0 < history[-1] < history[0]
