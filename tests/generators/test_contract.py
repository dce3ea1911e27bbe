"""Every generator keeps the whole contract, and the check of it finds what does not."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import generators
from generators import Draw, Generator, TokenGenerator
from tests.generators.registry import GENERATORS, TOKENS
from tfkd.testing._check_generator import check_generator

pytestmark = pytest.mark.slow

SHAPES = [(28, 28, 1), (64, 64, 3), (224, 224, 3), (30, 21, 2), (9, 14, 3)]
OTHER_SHAPES = [(7,), (20, 3), (2, 3, 4, 2)]


@pytest.fixture(params=GENERATORS)
def make(request):
    return GENERATORS[request.param]


def test_registry_has_all_kinds():
    public = [getattr(generators, name) for name in generators.__all__]
    kinds = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Generator)}
    made = [make((8, 8, 1)) for make in GENERATORS.values()] + [make(8) for make in TOKENS.values()]
    assert set(map(type, made)) == kinds - {Generator, TokenGenerator}


def test_contract(make):
    check_generator(make((12, 12, 3)))


@pytest.mark.parametrize("shape", OTHER_SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["dense", "smooth noise", "uniform", "gaussian"])
def test_contract_for_inputs_that_are_not_images(kind, shape):
    check_generator(GENERATORS[kind](shape))


@pytest.mark.parametrize("shape", [(20, 3), (3, 1), (2, 600, 1)], ids=str)
def test_contract_of_signals(shape):
    check_generator(GENERATORS["signals"](shape))


@pytest.mark.parametrize("name", TOKENS)
def test_contract_of_what_makes_tokens_xla(name):
    check_generator(TOKENS[name](9))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_and_range(make, shape):
    generator = make(shape)
    images = generator.sample(2, seed=0).numpy()
    assert images.shape == (2, *shape) and images.dtype == np.float32
    assert np.isfinite(images).all()
    if generator.procedural or generator.output_kind == "sigmoid":
        assert images.min() >= 0 and images.max() <= 1


def test_mixed_precision_generator_gives_float32(make):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        generator = make((8, 8, 1))
    finally:
        keras.config.set_dtype_policy("float32")
    images = generator.sample(2, seed=0)
    assert images.dtype == "float32" and np.isfinite(images).all()


class Mine(Generator):
    """What somebody else would write, and what can be broken about it below."""

    def __init__(self, **kwargs):
        super().__init__((6,), 4, **kwargs)
        self.dense = layers.Dense(6, activation="tanh")

    def call(self, latent, labels=None, training=None):
        return self.dense(latent)

    def get_config(self):
        config = super().get_config()
        del config["image_shape"]
        return config


class Told(Mine):
    classes = 3

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embed = layers.Embedding(3, 4)

    def call(self, latent, labels=None, training=None):
        return self.dense(latent * self.embed(labels))


@pytest.mark.parametrize("kind", [Mine, Told])
def test_contract_of_somebody_elses(kind):
    check_generator(kind())


class OtherShape(Mine):
    def call(self, latent, labels=None, training=None):
        return self.dense(latent)[:, :5]


class Floats(TokenGenerator):
    procedural = True

    def __init__(self):
        super().__init__(6, 4)

    def call(self, latent, labels=None, training=None):
        return ops.pad(latent, ((0, 0), (0, 2)))


class WithWeights(Mine):
    procedural = True


class Doubles(Mine):
    def draw_latent(self, n, seed=None):
        return ops.cast(super().draw_latent(n, seed), "float64")


class DrawsLabels(Mine):
    def draw(self, n, seed=None, labels=None):
        return Draw(self.draw_latent(n, seed), ops.zeros((n,), "int32"))


class LabelsOutOfRange(Told):
    def draw(self, n, seed=None, labels=None):
        return super().draw(n, seed, [3] * n)


class NotFinite(Mine):
    def call(self, latent, labels=None, training=None):
        return self.dense(latent) * np.float32("inf")


class Unseeded(Mine):
    def draw_latent(self, n, seed=None):
        return super().draw_latent(n)


class OneSeed(Mine):
    def draw_latent(self, n, seed=None):
        return super().draw_latent(n, 0)


class Collapsed(Mine):
    def draw_latent(self, n, seed=None):
        return ops.repeat(super().draw_latent(1, seed), n, axis=0)


class ForgetfulOfGenerators(Mine):
    def draw_latent(self, n, seed=None):
        return super().draw_latent(n, seed if isinstance(seed, int) else 0)


class Noisy(Mine):
    """Not of the latent alone: the calls are counted."""

    calls = 0

    def call(self, latent, labels=None, training=None):
        type(self).calls += 1
        return self.dense(latent) + float(type(self).calls)

    def sample(self, n, seed=None, training=False):
        return self.dense(self.draw(n, seed).latent)


class Batchwise(Mine):
    def call(self, latent, labels=None, training=None):
        made = self.dense(latent)
        return made - ops.mean(made, axis=0)


class EagerOnly(Mine):
    def call(self, latent, labels=None, training=None):
        return self.dense(np.asarray(latent))


class OtherInGraphs(Mine):
    def call(self, latent, labels=None, training=None):
        return self.dense(latent) + (0.0 if hasattr(latent, "numpy") else 1.0)


class UnknownShape(Mine):
    def call(self, latent, labels=None, training=None):
        made = self.dense(latent)
        return ops.reshape(made, (ops.shape(latent)[0], ops.size(made) // ops.shape(latent)[0]))


class DeafDraw(Told):
    def draw(self, n, seed=None, labels=None):
        return super().draw(n, seed)


class DeafCall(Told):
    def call(self, latent, labels=None, training=None):
        return self.dense(latent)


class TakesLabels(Mine):
    def draw(self, n, seed=None, labels=None):
        return super().draw(n, seed)


class LeftOut(Mine):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.unused = self.add_weight(shape=(1,), name="unused")


class ForgetfulConfig(Mine):
    def __init__(self, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, latent, labels=None, training=None):
        return self.scale * self.dense(latent)


class NoConfig(Mine):
    def get_config(self):
        return Generator.get_config(self)


class LosesItsGain(Mine):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.gain = self.add_weight(shape=(), initializer="random_normal", name="gain")

    def call(self, latent, labels=None, training=None):
        return self.gain * self.dense(latent)

    def save_own_variables(self, store):
        pass

    def load_own_variables(self, store):
        pass


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (layers.Dense(3), "declared: <Dense .* is not a tfkd.generators.Generator"),
        (OtherShape(), r"declared: .* `image_shape`, \(6,\). Received: inputs of shape \(5,\)"),
        (Floats(), "declared: .* must return an int32 tensor. Received: float32"),
        (WithWeights(), "declared: .* is `procedural`, but has 2 variables"),
        (Mine(trainable=False), "declared: .* must have trainable variables"),
        (Doubles(), r"drawn: .* draws latents .*float64.* not float32 \(4, 4\)"),
        (DrawsLabels(), "drawn: .* draws labels although its `classes` is None"),
        (LabelsOutOfRange(), "drawn: .* not 4 ints below its `classes`, 3"),
        (NotFinite(), "drawn: .* not finite"),
        (Unseeded(), "seeds: .* different inputs from the same seed"),
        (OneSeed(), "seeds: .* same inputs from another seed"),
        (Collapsed(), "seeds: .* same input twice"),
        (ForgetfulOfGenerators(), "seeds: .*SeedGenerator. advances"),
        (Noisy(), "seeds: .* different inputs from the same draw"),
        (Batchwise(), "batches of one: .* in a batch of one"),
        (EagerOnly(), "graphs: .* does not compile"),
        (OtherInGraphs(), "graphs: .* when compiled"),
        (UnknownShape(), r"graphs: .* of shape \(None,\) in a graph"),
        (DeafDraw(), "labels: .* not draw the given labels"),
        (DeafCall(), "labels: .* whatever the labels"),
        (TakesLabels(), "labels: .* not conditional, but `draw` takes labels"),
        (LeftOut(), "gradients: .* no gradient reaches: .*unused"),
        (ForgetfulConfig(scale=2.0), "configuration: .* makes different inputs with the same weights"),
        (NoConfig(), "configuration: .* cannot be rebuilt from its config"),
        (LosesItsGain(), "files: .* makes different inputs when loaded from a file"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, keras.Layer) else "",
)
def test_contract_finds_what_is_broken(broken, message):
    with pytest.raises(AssertionError, match=message):
        check_generator(broken)
