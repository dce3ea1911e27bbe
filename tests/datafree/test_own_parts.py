"""Tasks, generators, sources and recipes of one's own: each is one class, and nothing else knows it."""

import dataclasses
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfkd
from generators import Generator
from tests import harness
from tests.conftest import CLASSES, small_network
from tests.datafree.recipes import TINY
from tfkd import datafree, tasks
from tfkd.datafree import objectives
from tfkd.datafree.sources import Batch, Source, TrainedNetwork
from tfkd.losses import SoftTargets, soft_targets

pytestmark = pytest.mark.slow

FEATURES = (6,)


class Maps(tasks.Task):
    """A class for each place of a map: logits `(height, width, classes)`."""

    def check_output_shape(self):
        if len(self.output_shape) != 3:
            raise ValueError("Maps have three axes.")

    def agreement(self, teacher, student):
        same = ops.argmax(teacher, axis=-1) == ops.argmax(student, axis=-1)
        return ops.mean(ops.cast(same, "float32"), axis=(1, 2))

    def divergence(self, teacher, student):
        return ops.mean(soft_targets(teacher, student), axis=(1, 2))

    def draw_targets(self, n, seed, answers=None):
        return keras.random.shuffle(ops.softmax(answers), axis=0, seed=seed)

    def target_loss(self, targets, outputs):
        return -ops.mean(ops.sum(targets * ops.log_softmax(outputs), axis=-1), axis=(1, 2))

    def soft_loss(self, temperature=1.0):
        return SoftTargets(temperature)

    def label_loss(self):
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def metric(self):
        return keras.metrics.SparseCategoricalAccuracy()

    def check_labels(self, labels, n, argument):
        return labels

    def score(self, outputs, labels):
        return {"accuracy": float(np.mean(outputs.argmax(-1) == labels))}

    def is_chance(self, outputs, labels):
        return False

    def constant(self, outputs):
        return outputs.mean(axis=0)


class Vectors(Generator):
    """The six lines that the interface asks for."""

    def __init__(self):
        super().__init__(FEATURES, latent_size=4)
        self.dense = layers.Dense(FEATURES[0], activation="sigmoid")

    def call(self, latent, labels=None, training=None):
        return self.dense(latent)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mine(datafree.GeneratorRecipe):
    """Vectors on which the networks disagree."""

    def own_objectives(self):
        return (objectives.Adversarial(1.0, "kl"),)

    def build_generator(self, input_shape, task):
        return Vectors()


class TwoGenerators(Source):
    """Trains two generators, each by its own optimizer, to make what the teacher answers most strongly."""

    def __init__(self, lesson):
        super().__init__(lesson)
        self.first, self.second = Vectors(), Vectors()
        for each in (self.first, self.second):
            each.build_from_example()

    @property
    def trained(self):
        return {"first": TrainedNetwork(self.first, 1), "second": TrainedNetwork(self.second, 1)}

    @property
    def optimizers(self):
        return list(self.by_name.values())

    def compile(self, optimizers):
        self.by_name = optimizers

    def before(self, adversarial_weight):
        for name, (generator, _) in self.trained.items():
            with tf.GradientTape() as tape:
                answers = self.lesson.ask(generator.sample(8, self.lesson.seed, True))
                weakness = -ops.mean(answers**2)
            gradients = tape.gradient(weakness, generator.trainable_variables)
            self.by_name[name].apply_gradients(zip(gradients, generator.trainable_variables, strict=True))

    def draw(self, n, made=None, examples=None):
        halves = [each.sample(n // 2, self.lesson.seed, True) for each in (self.first, self.second)]
        images = tf.stop_gradient(ops.concatenate(halves))
        return Batch(images, self.lesson.answers(images))


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfTwo(datafree.Recipe):
    """A recipe whose source trains two networks."""

    student_steps: int = 1

    def build_source(self, lesson):
        return TwoGenerators(lesson)

    def network_optimizer(self, network, updates):
        return keras.optimizers.SGD({"first": 0.1, "second": 0.2}[network])


def of_vectors(outputs, width=8, name="of_vectors"):
    inputs = keras.Input(FEATURES)
    x = layers.Dense(width, activation="relu", name="hidden")(inputs)
    return keras.Model(inputs, layers.Dense(outputs, name="answers")(x), name=name)


def of_maps(width):
    inputs = keras.Input((8, 8, 1))
    x = layers.BatchNormalization()(layers.Conv2D(width, 3, padding="same")(inputs))
    return keras.Model(inputs, layers.Conv2D(3, 3, padding="same")(layers.ReLU()(x)))


def trained(teacher, student, recipe, task=None, **options):
    """A distiller after a run in which the student changed and the teacher did not."""
    distiller = tfkd.DataFreeDistiller(teacher, student, recipe, seed=1, task=task)
    distiller.compile(**options)
    before = harness.snapshot(teacher), harness.snapshot(student)
    history = distiller.fit(epochs=2, steps_per_epoch=2, verbose=0).history
    assert np.isfinite(history["loss"]).all() and 0 <= history["agreement"][-1] <= 1
    harness.assert_same_weights(before[0], teacher)
    harness.assert_other_weights(before[1], student.weights)
    return distiller


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_a_generator_and_a_recipe_of_ones_own(jit_compile):
    recipe = Mine(**TINY, memory=32, replay_steps=2, generator_steps=2)
    distiller = trained(of_vectors(3), of_vectors(3, 4), recipe, jit_compile=jit_compile)
    assert distiller.synthesize(5).shape == (5, *FEATURES)
    assert int(distiller.memory.size) == 32


@pytest.mark.parametrize(
    "recipe",
    [
        datafree.Procedural(**TINY, memory=32, replay_steps=1, disagreement=1.0, prior=("smooth_noise",)),
        datafree.DFAD(**TINY, latent_size=4, filters=2, memory=32, memory_dtype="float16"),
    ],
    ids=lambda recipe: recipe.name,
)
def test_a_task_of_ones_own(recipe):
    """Maps with a class for each place: nobody but the task looks at what an answer is."""
    with warnings.catch_warnings():
        # Options that are about classes are left out.
        warnings.simplefilter("ignore", datafree.ObjectiveWarning)
        distiller = trained(of_maps(8), of_maps(4), recipe, task=Maps((8, 8, 3)))
    assert distiller.memory.logits.shape == (32, 8, 8, 3)
    with pytest.raises(ValueError, match="`labels` must be None"):
        distiller.synthesize(3, [0, 1, 2])


def test_a_source_trains_several_networks_each_by_its_own_optimizer(tmp_path):
    recipe = OfTwo(**TINY)
    teacher = of_vectors(3)

    def made(**options):
        keras.utils.set_random_seed(2)
        distiller = tfkd.DataFreeDistiller(teacher, of_vectors(3, 4), recipe, seed=3)
        distiller.compile("adam", **options)
        return distiller

    whole, first, second = made(), made(), made()
    rates = {name: float(o.learning_rate) for name, o in whole.source.by_name.items()}
    assert rates == pytest.approx({"first": 0.1, "second": 0.2})
    before = [harness.snapshot(each.model) for each in whole.source.trained.values()]
    whole.fit(epochs=2, verbose=0)
    for kept, each in zip(before, whole.source.trained.values(), strict=True):
        harness.assert_other_weights(kept, each.model.weights)
    first.fit(epochs=1, verbose=0)
    first.save_weights(tmp_path / "state.weights.h5")
    second.load_weights(tmp_path / "state.weights.h5")
    second.fit(epochs=2, initial_epoch=1, verbose=0)
    for expected, ours in zip(whole.variables, second.variables, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6, err_msg=expected.path)
    given = made(generator_optimizer={"second": keras.optimizers.SGD(0.5)})
    assert float(given.source.by_name["second"].learning_rate) == pytest.approx(0.5)
    with pytest.raises(
        ValueError, match="`generator_optimizer` must be a separate optimizer for each network"
    ):
        made(generator_optimizer=keras.optimizers.SGD(0.5))


def test_several_labels_are_taught_independently():
    """A teacher of independent labels: Bernoulli targets, and classes balanced by labels."""
    teacher, student = of_vectors(5), of_vectors(5, 4)
    tasks.mark(teacher, tasks.MultiLabel((5,)))
    recipe = datafree.Procedural(**TINY, memory=32, prior=("smooth_noise",))
    distiller = trained(teacher, student, recipe)
    assert isinstance(distiller.task, tasks.MultiLabel)
    (loss,) = distiller.distillation_losses
    assert isinstance(loss, tfkd.losses.BernoulliTargets) and loss.temperature == recipe.temperature
    images = distiller.synthesize(8, np.arange(8) % 5)
    assert images.shape == (8, *FEATURES)


@pytest.mark.parametrize("recipe", [datafree.DAFL, datafree.DFQ, datafree.CMI, datafree.BSS])
def test_recipes_with_class_terms_teach_several_labels(teacher, recipe):
    keras.utils.set_random_seed(1)
    tagger = keras.models.clone_model(teacher)
    tagger.set_weights(teacher.get_weights())
    options = {
        name: 4 for name in ("latent_size", "filters", "generator_steps") if name in recipe.options()
    }
    if recipe is datafree.CMI:
        options.update(inversion_batch=8, replay_steps=1, memory=32)
    distiller = tfkd.DataFreeDistiller(
        tagger, small_network(4), recipe(**TINY, **options), task="multi_label"
    )
    distiller.compile()
    x = {"x": np.random.default_rng(0).uniform(size=(16, 12, 12, 1)).astype("float32")}
    data = x if recipe is datafree.BSS else {"steps_per_epoch": 1}
    assert np.isfinite(distiller.fit(epochs=1, verbose=0, **data).history["loss"]).all()


def test_numbers_are_taught_by_their_squared_error():
    teacher, student = of_vectors(2), of_vectors(2, 4)
    recipe = datafree.Procedural(**TINY, memory=32, prior=("smooth_noise",))
    with pytest.warns(datafree.ObjectiveWarning, match=r"`temperature`, `balance`.*has no classes"):
        distiller = trained(teacher, student, recipe, task="regression")
    (loss,) = distiller.distillation_losses
    assert isinstance(loss, tfkd.losses.MeanSquaredError)
    # Nothing is left to choose by, so nothing is drawn in vain.
    assert (distiller.recipe.balance, distiller.recipe.candidates_per_image) == (0, 1)


def test_class_terms_mean_nothing_to_numbers():
    with pytest.warns(datafree.ObjectiveWarning) as caught:
        recipe = datafree.DAFL(**TINY, latent_size=4)
        trained(of_vectors(2), of_vectors(2, 4), recipe, task="regression")
    said = " ".join(str(each.message) for each in caught)
    assert "OneHot is left out" in said and "ClassBalance is left out" in said
    for refused in (datafree.GDFQ(**TINY), datafree.CMI(), datafree.BSS()):
        with pytest.raises(ValueError, match="makes images for classes"):
            tfkd.DataFreeDistiller(of_vectors(2), of_vectors(2), refused, task="regression")


VECTORS, SERIES, SPECTRA = (7,), (9, 2), (6, 10, 2)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("procedural", VECTORS),
        ("procedural", SPECTRA),
        ("guided_prior", SERIES),
        ("dfad", VECTORS),
        ("dfad", SERIES),
        ("dfad", SPECTRA),
        ("recovery", VECTORS),
    ],
)
def test_inputs_of_any_rank(name, shape):
    inputs = keras.Input(shape)

    def network(width):
        x = layers.BatchNormalization()(layers.Dense(width, activation="relu")(layers.Flatten()(inputs)))
        return keras.Model(inputs, layers.Dense(3)(x))

    options = {
        "procedural": {"memory": 32, "replay_steps": 1},
        "guided_prior": {
            "memory": 32,
            "replay_steps": 1,
            "chains": 64,
            "chain_moves": 1,
            "warmup_steps": 1,
        },
        "dfad": {"latent_size": 4, "filters": 2},
        "recovery": {"latent_size": 4, "filters": 2, "features": 0.0, "memory": 32, "warmup_steps": 1},
    }[name]
    recipe = datafree.known_recipes()[name](**TINY, **options)
    if len(shape) < 3:
        with pytest.warns(datafree.ObjectiveWarning) as caught:
            distiller = trained(network(8), network(4), recipe)
        if name in ("procedural", "guided_prior"):
            prior = "uniform" if shape == VECTORS else "signals"
            assert any(f"all of `prior` except ('{prior}',)" in str(each.message) for each in caught)
    else:
        distiller = trained(network(8), network(4), recipe)
    assert distiller.synthesize(3, [0, 1, 2]).shape == (3, *shape)


@pytest.mark.parametrize(
    ("prior", "shape"),
    [("signals", SERIES), ("signals", SPECTRA), ("uniform", VECTORS), ("gaussian", VECTORS)],
)
def test_priors_of_other_inputs_by_name(prior, shape):
    inputs = keras.Input(shape)
    teacher, student = (keras.Model(inputs, layers.Dense(3)(layers.Flatten()(inputs))) for _ in range(2))
    recipe = datafree.Procedural(**TINY, memory=32, replay_steps=1, prior=prior)
    assert trained(teacher, student, recipe).synthesize(3, [0, 1, 2]).shape == (3, *shape)


def test_a_generator_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="must make inputs of shape"):
        tfkd.DataFreeDistiller(small_network(4), small_network(4), Mine(**TINY))


def test_a_task_that_does_not_fit_is_refused(teacher, student):
    with pytest.raises(ValueError, match="Maps have three axes"):
        tfkd.DataFreeDistiller(teacher, student, task=Maps)
    with pytest.raises(ValueError, match=r"Unknown task 'regresion'\. Did you mean 'regression'"):
        tfkd.DataFreeDistiller(teacher, student, task="regresion")
    assert tfkd.DataFreeDistiller(teacher, student).task.classes == CLASSES
