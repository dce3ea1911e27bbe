"""Training as examples show it, cut down: two epochs of one step, small batches, a small memory."""

import inspect

import keras
import pytest

import tfkd
from tfkd.datafree import InversionRecipe, Recipe
from tfkd.text import GeneratedText

EPOCHS = 2


@pytest.fixture
def short_training(monkeypatch):
    """Cuts `fit` short, whoever calls it, and makes recipes small."""
    shorten(monkeypatch)


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the fixture does."""
    fit, build = keras.Model.fit, tfkd.DataFreeDistiller.__init__
    signature = inspect.signature(fit)

    def short_fit(*args, **options):
        given = signature.bind(*args, **options).arguments
        epochs = min(given.get("epochs", 1), EPOCHS)
        return fit(**given | {"epochs": epochs, "steps_per_epoch": 1, "verbose": 0})

    def build_small(self, teacher, student, recipe=None, **options):
        build(self, teacher, student, None if recipe is None else _small(recipe), **options)

    monkeypatch.setattr(keras.Model, "fit", short_fit)
    monkeypatch.setattr(tfkd.DataFreeDistiller, "__init__", build_small)


def _small(recipe: Recipe) -> Recipe:
    smaller = {"batch_size": 16, "warmup_steps": min(recipe.warmup_steps, 1)}
    if recipe.memory != 0:
        smaller["memory"] = 32
    if isinstance(recipe, InversionRecipe):
        smaller |= {"inversion_batch": 8, "generator_steps": 2, "replay_steps": 1}
    if isinstance(recipe, GeneratedText):
        smaller["length"] = 4
    return recipe.with_options(**smaller)
