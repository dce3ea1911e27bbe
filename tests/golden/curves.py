"""Thirty steps of every recipe and scheme, with fixed seeds, on tiny networks."""

import json
import pathlib
from collections.abc import Callable

import keras
import numpy as np

import tfkd
from tests.conftest import blobs, small_network, small_vit
from tests.datafree import recipes, test_text
from tests.schemes import killed
from tests.schemes.registry import CASES
from tfkd import datafree

PLACE = pathlib.Path(__file__).parent
_EPOCHS, _STEPS = 6, 5
# What other registries leave out, since it needs examples, or another teacher.
MORE_RECIPES = {
    "bss": datafree.BSS(**{**recipes.TINY, "batch_size": 8}, attack_steps=2),
    "psaq_vit": datafree.PSAQViT(**recipes.TINY_INVERSION, view_shift=2),
    "procedural_text": test_text.RECIPES["walked"],
}
RECIPES = {**recipes.RECIPES, **MORE_RECIPES}

# How many epochs are the same within rounding where it decides which inputs are taken, which class a label
# is, or what half precision keeps: measured with TF_ENABLE_ONEDNN_OPTS=0, other kernels for convolutions
# and matrix products. Of the others all are.
FIRM_EPOCHS = {
    "procedural": 3,
    "procedural, three priors, hard": 3,
    "dafl": 1,
    "gdfq": 2,
    "black box": 2,
    "adaptive deep inversion from the prior": 0,
    "fast": 1,
    "nayer": 4,
    "zero_q": 2,
}

Curves = dict[str, list[float]]


def teacher() -> keras.Model:
    """A teacher whose weights are in a file: training one would not give the same on another machine."""
    network = small_network(8, "softmax", "trained")
    with np.load(PLACE / "teacher.npz") as kept:
        network.set_weights([kept[name] for name in kept])
    return tfkd.load_teacher(network)


def of_recipe(name: str) -> Curves:
    """The loss and the agreement of each epoch of five steps."""
    recipe = RECIPES[name].with_options(epochs=_EPOCHS, steps_per_epoch=_STEPS)
    keras.utils.set_random_seed(1)
    by_whom, student = _networks(name)
    distiller = tfkd.DataFreeDistiller(by_whom, student, recipe, seed=1)
    distiller.compile()
    if name == "bss":
        # A batch of examples goes with each step.
        x, size = blobs(_STEPS * recipe.batch_size)[0], recipe.batch_size
        history = distiller.fit(x, epochs=_EPOCHS, batch_size=size, shuffle=False, verbose=0)
    else:
        history = distiller.fit(verbose=0)
    return {figure: history.history[figure] for figure in ("loss", "agreement")}


def of_scheme(name: str) -> Curves:
    """The loss of each epoch of three steps, and each student's agreement with the teacher at the end."""
    by_whom = teacher()
    ran = killed.run(name, by_whom, epochs=10)
    x, _ = blobs(64, seed=2)
    expected = np.argmax(by_whom(x), -1)
    agreement = [float(np.mean(_answers(student, x) == expected)) for student in ran.students]
    return {"loss": ran.history.history["loss"], "agreement": agreement}


def kept(kind: str) -> dict[str, Curves]:
    """The golden curves of "recipes" or "schemes"."""
    return json.loads((PLACE / f"{kind}.json").read_text())


KINDS: dict[str, tuple[list[str], Callable[[str], Curves]]] = {
    "recipes": ([*RECIPES], of_recipe),
    "schemes": ([*CASES], of_scheme),
}


def _networks(name):
    if name == "psaq_vit":
        return small_vit(), small_network(4)
    if name == "procedural_text":
        return test_text.classifier(), test_text.classifier(name="student")
    return teacher(), small_network(4)


def _answers(student, x):
    outputs = student(x)
    # A network with exits answers at the last of them.
    last = outputs[-1] if isinstance(outputs, (list, tuple)) else outputs
    return np.argmax(last, -1)
