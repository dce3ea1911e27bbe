"""Published settings, and the traps of the published codes that are none here."""

import keras
import numpy as np
import pytest

import tfkd
from tests import harness
from tests.conftest import CLASSES, SHAPE, small_network
from tests.datafree.recipes import RECIPES, TINY_GENERATOR, make
from tfkd import datafree, taps
from tfkd.datafree import objectives
from tfkd.datafree.sources import Lesson
from tfkd.pipelines._recipes import data_free_recipes
from tfkd.tasks import Classification, Segmentation

pytestmark = pytest.mark.slow

TASK = Classification((CLASSES,))

PUBLISHED = {
    datafree.DAFL: {
        "batch_size": 512,
        "latent_size": 100,
        "one_hot": 1,
        "class_balance": 5,
        "activation": 0.1,
    },
    datafree.DFAD: {"batch_size": 512, "student_steps": 5, "generator_steps": 1, "weight_decay": 1e-4},
    datafree.ZSKT: {
        "batch_size": 128,
        "student_steps": 10,
        "attention": 250,
        "student_learning_rate": 2e-3,
    },
    datafree.DFQ: {"batch_size": 256, "latent_size": 512, "student_steps": 10, "statistics": 0.01},
    datafree.DeepInversion: {
        "generator_steps": 2000,
        "pixel_learning_rate": 0.1,
        "statistics": 10,
        "total_variation": 2.5e-5,
        "view_shift": 2,
        "inversion_batch": 256,
        "temperature": 3,
    },
    datafree.CMI: {
        "generator_steps": 200,
        "generator_learning_rate": 1e-3,
        "adversarial": 0.5,
        "statistics": 1,
        "one_hot": 1,
        "contrastive": 0.8,
        "contrast_temperature": 0.1,
        "temperature": 20,
        "batch_size": 128,
        "inversion_batch": 256,
        "replay_steps": 400,
    },
    datafree.Fast: {
        "generator_steps": 5,
        "statistics": 10,
        "momentum": 0.9,
        "adversarial": 1.1,
        "one_hot": 0.4,
        "temperature": 20,
        "student_learning_rate": 0.2,
        "warmup_steps": 20,
        "reset_first_layer_at": 140,
        "replay_steps": 400,
    },
    datafree.NAYER: {
        "generator_steps": 30,
        "generator_learning_rate": 4e-3,
        "statistics": 10,
        "adversarial": 1.33,
        "one_hot": 0.5,
        "noise_size": 1000,
        "inversion_batch": 400,
        "batch_size": 512,
        "temperature": 20,
        "epochs": 400,
    },
    datafree.GDFQ: {
        "one_hot": 1,
        "statistics": 0.1,
        "batch_size": 200,
        "latent_size": 100,
        "temperature": 20,
    },
    datafree.ZeroQ: {"generator_steps": 500, "pixel_learning_rate": 0.5},
    datafree.PSAQViT: {
        "patch_similarity": 1,
        "one_hot": 1,
        "total_variation": 0.05,
        "pixel_learning_rate": 0.2,
        "generator_steps": 1000,
        "view_shift": 30,
        "inversion_batch": 32,
    },
    datafree.BlackBox: {"step": 1e-3, "directions": 1, "batch_size": 256, "generator_learning_rate": 1e-4},
    datafree.BSS: {"attack_steps": 10, "attack_step_size": 0.3, "temperature": 3},
}


@pytest.mark.parametrize("recipe", PUBLISHED, ids=lambda cls: cls.__name__)
def test_defaults_are_the_published_ones(recipe):
    made = recipe()
    for name, value in PUBLISHED[recipe].items():
        assert getattr(made, name) == pytest.approx(value), name


def test_terms_have_the_published_form():
    """Norms of the statistics differ by orders of magnitude, and weights go with them."""
    norms = {"DFQ": "gaussian_kl", "GDFQ": "mse", "ZeroQ": "per_image"}
    for recipe in (
        *(datafree.DeepInversion, datafree.CMI, datafree.Fast, datafree.NAYER),
        *(datafree.DFQ, datafree.GDFQ, datafree.ZeroQ),
    ):
        terms = [o for o in recipe().build_objectives() if isinstance(o, objectives.BatchStatistics)]
        assert [term.norm for term in terms] == [norms.get(recipe.__name__, "l2")]
    adversaries = {
        datafree.CMI(): ("kl", True),
        datafree.Fast(): ("kl", True),
        datafree.NAYER(): ("kl", True),
        datafree.DFQ(): ("kl", False),
        datafree.ZSKT(): ("mean_kl", False),
        datafree.DFAD(): ("l1", False),
        datafree.DeepInversion(adaptive_weight=1.0): ("jsd", False),
    }
    for recipe, form in adversaries.items():
        (term,) = (o for o in recipe.build_objectives() if isinstance(o, objectives.Adversarial))
        assert (term.distance, term.only_where_agreeing) == form
        assert term.temperature == (3 if form[0] == "jsd" else 1)


@pytest.mark.parametrize(("given", "distance"), [(None, "log_l1"), ("l1", "l1")])
def test_dfad_of_segmentation_has_the_logarithm(given, distance):
    inputs = keras.Input(SHAPE)
    maps = keras.Model(inputs, keras.layers.Conv2D(CLASSES, 1)(inputs))
    recipe = datafree.DFAD(distance=given)
    (term,) = recipe.for_teacher(maps, Segmentation((*SHAPE[:2], CLASSES))).build_objectives()
    assert term.distance == distance
    (term,) = recipe.for_teacher(maps, TASK).build_objectives()
    assert term.distance == "l1"


def test_generators_have_the_published_epsilon():
    for recipe, epsilon in ((datafree.DAFL, 0.8), (datafree.GDFQ, 0.8), (datafree.DFAD, 1e-5)):
        generator = recipe(latent_size=4, filters=2).build_generator(SHAPE, TASK)
        inner = [
            layer.epsilon
            for layer in taps.named_layers(generator).values()
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        assert epsilon in [pytest.approx(value) for value in inner]


def test_nayer_asks_for_classes_in_equal_parts():
    targets = datafree.NAYER(inversion_batch=10).draw_targets(TASK, keras.random.SeedGenerator(0))
    counts = np.bincount(keras.ops.convert_to_numpy(targets), minlength=4)
    assert counts.max() - counts.min() <= 1


def test_every_recipe_can_be_asked_for_by_name():
    """NAYER's program does not let one choose NAYER."""
    known = {cls().name for cls in datafree.known_recipes().values()}
    assert set(data_free_recipes()) == known - {"bss"} and len(known) == len(datafree.known_recipes())


def test_temperature_is_not_ignored():
    """CMI's and Fast's codes overwrite the criterion in some methods, and T with it."""
    for recipe in (datafree.CMI(), datafree.Fast(), datafree.NAYER(), datafree.GDFQ()):
        assert recipe.build_student_loss(TASK).temperature == 20
    assert datafree.DAFL().build_student_loss(TASK).temperature == 1


def test_zskt_divides_its_divergence_by_the_classes_and_clips_the_whole_gradient(teacher, student):
    recipe = datafree.ZSKT()
    (divergence, share), (attention, weight) = recipe.build_student_losses(teacher, student, TASK)
    assert divergence.temperature == 1 and share == pytest.approx(1 / CLASSES) and weight == 250
    # The last layer of each size of maps.
    assert attention.teacher_layer == ["relu1", "conv2"] == attention.student_layer
    for optimizer in (recipe.student_optimizer(100), recipe.generator_optimizer(100)):
        # `clipnorm` would clip each variable by itself.
        assert optimizer.global_clipnorm == 5 and optimizer.clipnorm is None
        assert float(optimizer._learning_rate(100)) == pytest.approx(0, abs=1e-9)
    own = datafree.ZSKT(attention_layers=(("conv1", "conv1"),))
    assert own.build_student_losses(teacher, student, TASK)[1][0].teacher_layer == ["conv1"]
    assert len(datafree.ZSKT(attention=0.0).build_student_losses(teacher, student, TASK)) == 1


def test_fast_has_a_rate_for_each_number_of_steps(teacher):
    for steps, (of_latents, of_generator) in {2: (0.015, 5e-3), 5: (0.01, 3e-3), 10: (0.01, 2e-3)}.items():
        for reptile in (False, True):
            recipe = datafree.Fast(generator_steps=steps, latent_size=4, filters=2, reptile=reptile)
            maker = recipe.build_inversion(Lesson(teacher, teacher, TASK, keras.random.SeedGenerator(0)))
            assert float(maker.latent_optimizer.learning_rate) == pytest.approx(of_latents)
            assert float(maker.optimizer.learning_rate) == pytest.approx(of_generator)
            meta = of_generator if reptile else steps * of_generator
            assert float(maker.meta_optimizer.learning_rate) == pytest.approx(meta)


def test_rates_do_not_decay_in_warm_up_nor_rise_again():
    """DFQAD's code steps the generator's schedule in warm-up, past its end."""
    recipe = datafree.DFQ(warmup_steps=100, generator_steps=2)
    schedule = recipe.generator_optimizer(2000)._learning_rate
    rates = [float(schedule(step)) for step in (0, 100, 200, 800, 1999)]
    np.testing.assert_allclose(rates[:3], 1e-3, rtol=1e-4)
    assert rates[2] > rates[3] > rates[4]


def test_the_students_schedule_begins_after_warm_up(teacher):
    distiller = make(teacher, RECIPES["fast"])
    distiller.fit(epochs=2, steps_per_epoch=2, verbose=0)
    taught = (4 - 1) * RECIPES["fast"].replay_steps
    assert distiller.optimizer.iterations.numpy() == taught
    peak = RECIPES["fast"].student_learning_rate
    assert float(distiller.optimizer.learning_rate) == pytest.approx(1e-3 * peak, rel=1e-3)


def test_black_box_rates_fall_three_times():
    optimizer = datafree.BlackBox().student_optimizer(1000)
    rates = [float(optimizer._learning_rate(step)) for step in (50, 200, 400, 900)]
    np.testing.assert_allclose(rates, [0.1, 0.03, 0.009, 0.0027], rtol=1e-5)


def test_black_box_asks_as_often_as_published(teacher):
    """Two questions an image of the generator's batch and one of each of the student's."""
    seen = []

    def answer(x):
        seen.append((np.min(x), np.max(x)))
        return keras.ops.convert_to_numpy(teacher(x))

    box = tfkd.BlackBoxTeacher(answer, SHAPE, CLASSES, True)
    recipe = datafree.BlackBox(**{**TINY_GENERATOR, "student_steps": 5})
    distiller = make(box, recipe)
    before = box.queries
    distiller.fit(epochs=1, steps_per_epoch=3, verbose=0)
    assert box.queries - before == 3 * 16 * 7
    # All of the range that a teacher knows, not half of it, and nothing beyond.
    low, high = np.array(seen[-10:]).T
    assert low.min() >= 0 and high.max() <= 1 and high.max() - low.min() > 0.5


def test_student_and_teacher_statistics_stay_while_images_are_made(teacher):
    """DFAD and ZSKT let these batches move the student's batch normalization."""
    for name in ("zskt", "cmi", "adaptive deep inversion from the prior"):
        distiller = make(teacher, RECIPES[name])
        norm = distiller.student.get_layer("norm1")
        before = norm.moving_mean.numpy(), teacher.get_layer("norm1").moving_mean.numpy()
        distiller.source.before(keras.ops.ones(()))
        np.testing.assert_array_equal(before[0], norm.moving_mean)
        np.testing.assert_array_equal(before[1], teacher.get_layer("norm1").moving_mean)


def test_student_statistics_stay_while_hard_examples_are_chosen_and_refined(teacher):
    for name in ("procedural, three priors, hard", "black box"):
        distiller = make(teacher, RECIPES[name])
        before = harness.snapshot(distiller.student)
        distiller.source.draw(16)
        distiller.source.after(keras.ops.ones(()))
        harness.assert_same_weights(before, distiller.student)


def test_generators_are_sampled_with_the_statistics_of_the_batch(teacher):
    """Their moving statistics lag, or were never updated (Fast's copies)."""
    distiller = make(teacher, RECIPES["dfad"])
    for variable in distiller.source.generator.non_trainable_variables:
        if variable.name == "moving_variance":
            variable.assign(keras.ops.full_like(variable, 1e6))
    assert keras.ops.std(distiller.source.draw(16).images) > 0.1


def test_recipes_for_statistics_lean_on_the_prior_where_there_are_none(student):
    inputs = keras.Input(SHAPE)
    plain = keras.Model(inputs, keras.layers.Dense(CLASSES)(keras.layers.Flatten()(inputs)))
    for name in ("cmi", "dfq"):
        with pytest.warns(datafree.ObjectiveWarning, match="BatchStatistics is left out"):
            distiller = tfkd.DataFreeDistiller(plain, small_network(4), RECIPES[name])
        assert distiller.recipe.prior_share == 0.5
        assert getattr(distiller.recipe, "start", "prior") == "prior"
    with_own = datafree.DFQ(**TINY_GENERATOR, prior_share=0.25)
    with pytest.warns(datafree.ObjectiveWarning):
        assert tfkd.DataFreeDistiller(plain, small_network(4), with_own).recipe.prior_share == 0.25


def test_uint8_memory_is_for_pixels_in_range():
    with pytest.raises(
        ValueError, match="`memory_dtype` must be 'float32' or 'float16' with output='normalized'"
    ):
        datafree.DFAD(memory=1024, memory_dtype="uint8")
    with pytest.raises(ValueError, match="`memory_dtype` must be one of"):
        datafree.Procedural(memory_dtype="int4")
    with pytest.raises(ValueError, match="with clip=False"):
        datafree.DeepInversion(memory_dtype="uint8", clip=False)
    assert datafree.DeepInversion(memory_dtype="uint8").clip
