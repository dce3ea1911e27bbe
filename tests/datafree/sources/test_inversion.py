"""What images are made from, and that the best of them are kept."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import generators
from tests.conftest import CLASSES, SHAPE, small_network
from tests.datafree.recipes import RECIPES, TINY_INVERSION, make
from tfkd import datafree
from tfkd.datafree import objectives as terms_of
from tfkd.datafree.objectives._image_objective import ImageObjective
from tfkd.datafree.sources import Lesson
from tfkd.datafree.sources.inversion import Latents, Meta, Pixels
from tfkd.tasks import Classification


def lesson(teacher, student=None):
    return Lesson(teacher, student or teacher, Classification((CLASSES,)), keras.random.SeedGenerator(0))


TARGETS = np.arange(8, dtype="int32") % CLASSES


class Recorded:
    """An objective that likes images the better the nearer they are to a middle grey; notes what it was
    shown."""

    def __init__(self, totals=None):
        self.shown, self.totals = [], totals

    def value_and_gradients(self, images, targets, adversarial_weight):
        self.shown.append(images.numpy())
        total = tf.reduce_mean((images - 0.5) ** 2)
        if self.totals:
            total = tf.constant(self.totals[len(self.shown) - 1])
        return total, 2 * (images - 0.5) / tf.size(images, tf.float32), []

    def learn(self, gradients):
        assert gradients == []

    def finish(self):
        pass


def pixels(steps, rate=0.1, **options):
    random = keras.random.SeedGenerator(0)
    return Pixels(SHAPE, 8, steps, random, optimizer=keras.optimizers.Adam(rate), **options)


def test_the_best_images_are_kept_whatever_comes_after():
    """Not the last, and not an alias of what goes on changing."""
    objective = Recorded([3.0, 1.0, 2.0, 5.0])
    images = pixels(4).make(objective, TARGETS).numpy()
    np.testing.assert_array_equal(images, objective.shown[1])
    assert not np.array_equal(images, objective.shown[3])


def test_pixels_restart_from_noise_or_given_images():
    maker = pixels(1, noise=0.5)
    first, second = (maker.make(Recorded(), TARGETS).numpy() for _ in range(2))
    assert not np.array_equal(first, second)
    np.testing.assert_allclose([first.mean(), first.std()], [0.5, 0.5 * 0.25], atol=0.02)
    # Two steps of Adam of the same size: had its state been kept, the second batch's would differ.
    objective = Recorded()
    start = tf.constant(np.random.default_rng(0).uniform(size=(8, *SHAPE)).astype("float32"))
    maker = pixels(2)
    for _ in range(2):
        maker.make(objective, TARGETS, start)
    np.testing.assert_allclose(objective.shown[0], start, atol=1e-6)
    np.testing.assert_allclose(objective.shown[3], objective.shown[1], atol=1e-6)
    assert np.abs(objective.shown[1] - start).mean() == pytest.approx(0.1 * 0.25, rel=0.1)


def test_pixels_stay_in_range_where_asked():
    for clip in (True, False):
        objective = Recorded()
        pixels(2, clip=clip, noise=4.0).make(objective, TARGETS)
        for shown in objective.shown:
            assert (shown.min() >= 0 and shown.max() <= 1) == clip


class Faint(Recorded):
    """An objective whose slopes are too small for half precision."""

    def value_and_gradients(self, images, targets, adversarial_weight):
        total, slope, none = super().value_and_gradients(images, targets, adversarial_weight)
        return total, 1e-7 * slope, none


def test_faint_slopes_reach_generators_in_half_precision():
    moved = {}
    for policy in ("mixed_float16", "float32"):
        keras.config.set_dtype_policy(policy)
        try:
            generator = generators.ConvGenerator(SHAPE, 5, 4, name="generator")
        finally:
            keras.config.set_dtype_policy("float32")
        optimizer, random = keras.optimizers.SGD(1.0), keras.random.SeedGenerator(0)
        maker = Latents(SHAPE, 8, 1, random, generator=generator, optimizer=optimizer)
        maker.apply_gradients = lambda gradients, policy=policy: moved.setdefault(policy, gradients)
        maker.make(Faint(), TARGETS)
    # One number for each weight; those of biases before a normalization are nothing but rounding.
    half, whole = (np.concatenate([np.ravel(g) for g in moved[p]]) for p in ("mixed_float16", "float32"))
    np.testing.assert_allclose(half, whole, atol=0.05 * np.abs(whole).max())


def meta(reptile, rate=0.01):
    def generator(name):
        return generators.ConvGenerator(SHAPE, 5, 2, name=name)

    return Meta(
        SHAPE,
        8,
        3,
        keras.random.SeedGenerator(0),
        generator=generator("meta"),
        fast_generator=generator("copy"),
        optimizer=keras.optimizers.SGD(rate),
        latent_optimizer=keras.optimizers.SGD(0.0),
        meta_optimizer=keras.optimizers.SGD(1.0),
        reptile=reptile,
    )


@pytest.mark.parametrize("reptile", [False, True], ids=["fomaml", "reptile"])
def test_the_meta_generator_learns_from_its_copy(reptile):
    """With plain SGD in the copy, its way is the sum of the gradients times the rate."""
    maker = meta(reptile)
    before = [v.numpy() for v in maker.generator.trainable_variables]
    maker.make(Recorded(), TARGETS)
    scale = Meta.REPTILE_SCALE if reptile else 1 / 0.01
    for old, new, copy in zip(
        before, maker.generator.trainable_variables, maker.fast_generator.trainable_variables, strict=True
    ):
        way = old - copy.numpy()
        np.testing.assert_allclose(old - new.numpy(), scale * way, rtol=1e-2, atol=1e-5)
    for ours, theirs in zip(
        maker.generator.non_trainable_variables, maker.fast_generator.non_trainable_variables, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert maker.generator.sample(4, seed=0).numpy().std() > 0


def test_fast_forgets_its_first_layer_once(teacher):
    distiller = make(teacher, RECIPES["fast"])
    maker = distiller.source.inversion
    kernel = next(v for v in maker.generator.trainable_variables if v.name == "kernel")
    seen = []
    for _ in range(3):
        before = kernel.numpy()
        maker._reset_first_layer()
        seen.append(not np.array_equal(before, kernel.numpy()))
        maker.batches.assign_add(1)
    assert seen == [False, True, False]


def test_cmi_redraws_generator_and_latents(teacher):
    maker = make(teacher, RECIPES["cmi"]).source.inversion
    maker.reset(None)
    first = [v.numpy() for v in maker.trainables]
    maker.reset(None)
    kernels = [i for i, v in enumerate(maker.trainables) if v.name in ("kernel", "latents")]
    assert all(not np.array_equal(first[i], maker.trainables[i].numpy()) for i in kernels)
    assert maker.trainables[kernels[0]].numpy().std() == pytest.approx(0.02, rel=0.2)


def test_nayer_redraws_noise_for_each_batch_and_the_generator_in_the_end(teacher):
    maker = make(teacher, RECIPES["nayer"]).source.inversion
    kernel = next(v for v in maker.generator.trainable_variables if v.name == "kernel")
    noises, kernels = [], []
    for _ in range(5):
        maker.reset(None)
        noises.append(maker.generator.noise.numpy())
        kernels.append(kernel.numpy())
        maker.end_batch()
    assert all(not np.array_equal(a, b) for a, b in itertools.pairwise(noises))
    changed = [not np.array_equal(a, b) for a, b in itertools.pairwise(kernels)]
    assert changed == [False, True, False, True]


def test_nayer_takes_embeddings_of_the_users(teacher):
    names = np.random.default_rng(0).normal(size=(CLASSES, 7))
    recipe = datafree.NAYER(**TINY_INVERSION, filters=4, embeddings=names.tolist(), noise_size=5)
    maker = recipe.build_inversion(lesson(teacher))
    np.testing.assert_allclose(maker.generator.embeddings, names, rtol=1e-6)
    assert maker.generator.noise.shape == (2, 7, 5)
    with pytest.raises(ValueError, match=f"`embeddings` must have one row for each .* {CLASSES} classes"):
        datafree.NAYER(embeddings=names[:2].tolist()).build_inversion(lesson(teacher))
    with pytest.raises(ValueError, match="`embeddings` must be finite numbers"):
        generators.NoisyLabelGenerator(SHAPE, [[float("nan")]], 4)


def test_inversion_moves_the_statistics_towards_the_teachers(teacher):
    """What it is all about: the objectives fall."""
    student = small_network(4)
    terms = (terms_of.BatchStatistics(1.0), terms_of.OneHot(1.0))
    objective = ImageObjective(lesson(teacher, student), terms, 8)
    maker = pixels(60)
    totals = []

    class Noting:
        learn, finish = objective.learn, objective.finish

        def value_and_gradients(self, *arguments):
            judged = objective.value_and_gradients(*arguments)
            totals.append(float(judged[0]))
            return judged

    images = maker.make(Noting(), TARGETS)
    assert min(totals) < 0.3 * totals[0]
    assert (teacher(images).numpy().argmax(-1) == TARGETS).mean() > 0.8
