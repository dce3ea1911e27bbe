"""Visual concepts and their growth against loops over images and epochs."""

import keras
import numpy as np
import pytest

import tfkd
from tests.conftest import CLASSES, SHAPE, blobs, small_network
from tfkd.analysis import EntropyProbe, KeepSnapshots, knowledge, visual_concepts

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
ENTROPIES = RNG.normal(size=(5, 6, 7))
FOREGROUND = RNG.uniform(size=(5, 6, 7)) < 0.4


def concepts_by_loops(entropies, foreground, threshold):
    where = np.zeros(entropies.shape, bool)
    for n, (values, ahead) in enumerate(zip(entropies, foreground, strict=True)):
        background = np.mean([values[p] for p in np.ndindex(values.shape) if not ahead[p]])
        for p in np.ndindex(values.shape):
            where[n][p] = background - values[p] > threshold
    return where


def test_visual_concepts():
    found = visual_concepts(ENTROPIES, FOREGROUND, 0.3)
    where = concepts_by_loops(ENTROPIES, FOREGROUND, 0.3)
    ahead, behind = (
        [sum(where[n][FOREGROUND[n]]) for n in range(5)],
        [sum(where[n][~FOREGROUND[n]]) for n in range(5)],
    )
    assert (found.where == where).all()
    assert found.foreground.tolist() == ahead and found.background.tolist() == behind
    assert found.ratio == pytest.approx(np.mean([a / (a + b) for a, b in zip(ahead, behind, strict=True)]))


def test_images_without_concepts_are_left_out_of_the_ratio():
    entropies = np.zeros((2, 2, 2))
    entropies[0, 0] = -1
    foreground = np.zeros((2, 2, 2), bool)
    foreground[:, 0, 0] = True
    # Background mean -1/3: both pixels of the first row are concepts, one of them in front.
    assert visual_concepts(entropies, foreground).ratio == 0.5
    assert np.isnan(visual_concepts(entropies[1:], foreground[1:]).ratio)


class _Told:
    """A probe that knows the entropies of each snapshot by a weight's value."""

    def __init__(self, by_epoch):
        self.by_epoch = by_epoch
        self.model = keras.Sequential(
            [keras.Input((2,)), keras.layers.BatchNormalization(), keras.layers.Dense(2)]
        )

    def __call__(self, images):
        return self.by_epoch[int(self.model.layers[-1].bias.numpy()[0])]


def test_knowledge_over_training():
    by_epoch = RNG.normal(size=(4, 5, 6, 7))
    probe = _Told(by_epoch)
    before = probe.model.get_weights()
    snapshots = [[RNG.normal(size=w.shape).astype("float32") for w in before] for _ in range(4)]
    for epoch, weights in enumerate(snapshots):
        weights[-1][0] = epoch
    found = knowledge(probe, snapshots, np.zeros((5, 6, 7, 1)), FOREGROUND, 0.3)

    where = [concepts_by_loops(entropies, FOREGROUND, 0.3) & FOREGROUND for entropies in by_epoch[1:]]
    counts = np.array([each.sum(axis=(1, 2)) for each in where])
    assert (found.foreground == counts).all()
    # gamma, beta, kernel and bias; the moving statistics between them are not trained.
    flat = [np.concatenate([w.ravel() for w in (*weights[:2], *weights[4:])]) for weights in snapshots]
    steps = [np.linalg.norm(flat[k] - flat[k - 1]) / np.linalg.norm(flat[0]) for k in (1, 2, 3)]
    distances = [sum(steps[: np.argmax(counts[:, n]) + 1]) for n in range(5)]
    assert found.distance == pytest.approx(np.cumsum(steps), rel=1e-5)
    assert found.distance_mean == pytest.approx(np.mean(distances), rel=1e-5)
    assert found.distance_std == pytest.approx(np.std(distances), rel=1e-5)
    union = where[0] | where[1] | where[2]
    assert found.stability == pytest.approx(np.mean(counts[-1] / union.sum(axis=(1, 2))))
    assert found.ratio == visual_concepts(by_epoch[-1], FOREGROUND, 0.3).ratio
    for now, then in zip(probe.model.get_weights(), before, strict=True):
        assert (now == then).all()


def test_snapshots_of_a_student():
    x, y = blobs(32)
    student = small_network(4)
    start = student.get_weights()
    distiller = tfkd.Distiller(small_network(8), student, tfkd.losses.SoftTargets())
    distiller.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    snapshots = KeepSnapshots(student)
    distiller.fit(x, y, epochs=2, batch_size=16, verbose=0, callbacks=[snapshots])
    assert len(snapshots.weights) == 3
    for kept, expected in ((snapshots.weights[0], start), (snapshots.weights[-1], student.get_weights())):
        assert all((a == b).all() for a, b in zip(kept, expected, strict=True))
    distiller.fit(x, y, epochs=1, batch_size=16, verbose=0, callbacks=[snapshots])
    assert len(snapshots.weights) == 4

    found = knowledge(
        EntropyProbe(student, "relu1", steps=3), snapshots.weights, x[:4], x[:4, ..., 0] > 0.3
    )
    assert found.foreground.shape == found.background.shape == (3, 4)
    assert (np.diff(found.distance) > 0).all()


def test_snapshots_of_the_trained_model_itself():
    model, snapshots = (
        keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(CLASSES)]),
        KeepSnapshots(),
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*blobs(32), epochs=1, verbose=0, callbacks=[snapshots])
    assert (snapshots.weights[0][0] != snapshots.weights[1][0]).any()


def test_bad_input():
    probe, images = _Told(ENTROPIES[None]), np.zeros((5, 6, 7, 1))
    with pytest.raises(ValueError, match="`snapshots` must be the weights before training and after"):
        knowledge(probe, [probe.model.get_weights()], images, FOREGROUND)
    with pytest.raises(ValueError, match="`threshold`"):
        visual_concepts(ENTROPIES, FOREGROUND, 0)
    for wrong in (FOREGROUND[1:], FOREGROUND.astype("float32")):
        with pytest.raises(ValueError, match="`foreground` must be bool"):
            visual_concepts(ENTROPIES, wrong)
    with pytest.raises(ValueError, match="all foreground in images"):
        visual_concepts(ENTROPIES, np.ones_like(FOREGROUND))
