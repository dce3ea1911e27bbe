"""Every recipe at a size for tests; a new recipe is tested by adding a line."""

import keras

import tfkd
from tests.conftest import small_network
from tfkd import datafree
from tfkd.datafree import objectives

TINY = {"batch_size": 16, "steps_per_epoch": 2, "epochs": 2}
TINY_GENERATOR = {**TINY, "latent_size": 6, "filters": 4, "student_steps": 2}
TINY_INVERSION = {
    **TINY,
    "inversion_batch": 8,
    "generator_steps": 3,
    "replay_steps": 2,
    "memory": 64,
}
TINY_META = {**TINY_INVERSION, "latent_size": 6, "filters": 4}
RECIPES = {
    "procedural": datafree.Procedural(**TINY, memory=64, replay_steps=2),
    "procedural, three priors, hard": datafree.Procedural(
        **TINY,
        memory=0,
        prior=("smooth_noise", "dead_leaves", "strokes"),
        disagreement=0.5,
        refine_adversarial=1.0,
        refine_statistics=0.1,
    ),
    "guided prior": datafree.GuidedPrior(
        **TINY, memory=64, replay_steps=2, prior=("strokes",), chains=32, chain_moves=2, warmup_steps=1
    ),
    "picture prior": datafree.PicturePrior(**TINY, memory=64, replay_steps=2, candidates_per_image=2),
    "dfad": datafree.DFAD(**TINY_GENERATOR),
    "dfad with prior and memory": datafree.DFAD(
        **TINY_GENERATOR, prior_share=0.5, candidates_per_image=2, balance=1.0, memory=32, replay_steps=1
    ),
    "dafl": datafree.DAFL(**{**TINY_GENERATOR, "student_steps": 1}),
    "zskt": datafree.ZSKT(**TINY_GENERATOR),
    "dfq": datafree.DFQ(**TINY_GENERATOR, warmup_steps=1),
    "gdfq": datafree.GDFQ(**{**TINY_GENERATOR, "student_steps": 1}),
    "recovery": datafree.Recovery(**{**TINY_GENERATOR, "student_steps": 1}, warmup_steps=1, memory=32),
    "black box": datafree.BlackBox(**TINY_GENERATOR),
    "deep inversion": datafree.DeepInversion(**TINY_INVERSION, l2=1e-3, cosine=True),
    "adaptive deep inversion from the prior": datafree.DeepInversion(
        **TINY_INVERSION, adaptive_weight=1.0, start="prior", prior_share=0.5, memory_dtype="float16"
    ),
    "cmi": datafree.CMI(**TINY_META, remembered=16, compared=8, student_shift=1, student_flip=True),
    "fast": datafree.Fast(**TINY_META, warmup_steps=1, reset_first_layer_at=1, memory_dtype="uint8"),
    "fast by reptile": datafree.Fast(**TINY_META, warmup_steps=0, reptile=True, microbatches=2),
    "nayer": datafree.NAYER(
        **TINY_INVERSION, filters=4, warmup_steps=1, generator_lifetime=2, noise_size=5
    ),
    "zero_q": datafree.ZeroQ(**TINY_INVERSION),
    "by hand": datafree.Recipe(
        **TINY_GENERATOR,
        generator_steps=2,
        microbatches=2,
        objectives=[
            objectives.Adversarial(0.5, distance="kl"),
            objectives.ClassBalance(5.0),
            objectives.BatchStatistics(0.1, momentum=0.5),
            objectives.FeatureAlignment(-1.0, teacher_layer="relu1", student_layer="relu1"),
        ],
    ),
}

# Killed and resumed: what the other recipes keep is among what these keep.
RESUMED = [
    "procedural",
    "guided prior",
    "dfad with prior and memory",
    "dfq",
    "recovery",
    "black box",
    "adaptive deep inversion from the prior",
    "cmi",
    "fast",
    "nayer",
    "by hand",
]


def make(teacher, recipe, seed=1, **compile_options):
    """A compiled distiller with a small student."""
    keras.utils.set_random_seed(seed)
    distiller = tfkd.DataFreeDistiller(teacher, small_network(4), recipe, seed=seed)
    distiller.compile(metrics=["accuracy"], **compile_options)
    return distiller
