import itertools
import math
import types
import warnings

import keras
import numpy as np
import pytest

import tfkd
from tests import harness
from tests.conftest import CLASSES, SHAPE, blobs, small_network
from tests.datafree import recipes
from tfkd import datafree
from tfkd.datafree.watching._diagnostics import rms_distances, vital_signs

pytestmark = pytest.mark.slow

PLAIN = datafree.Recipe(batch_size=16, prior_share=1.0, steps_per_epoch=2, epochs=3)
GENERATOR = datafree.DAFL(batch_size=16, latent_size=6, filters=4, steps_per_epoch=1, epochs=3)


def make(teacher, recipe=PLAIN, seed=1):
    keras.utils.set_random_seed(seed)
    distiller = tfkd.DataFreeDistiller(teacher, small_network(4), recipe, seed=seed)
    distiller.compile()
    return distiller


@pytest.fixture
def distiller(teacher):
    return make(teacher)


def watch(distiller, monkeypatch, epochs, health, between=lambda epoch: None):
    """Takes the callback through epochs of given losses and images, without training.

    Every epoch is `(images, loss)`; returns the logs and the kinds that were warned of in each.
    """
    health.set_model(distiller)
    health.on_train_begin()
    all_logs, kinds = [], []
    for epoch, (images, loss) in enumerate(epochs):
        monkeypatch.setattr(datafree.DataFreeDistiller, "synthesize", lambda self, n, x=images: x)
        health.on_epoch_begin(epoch)
        between(epoch)
        logs, before = {"loss": loss}, len(health.findings)
        new = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            health.on_epoch_end(epoch, logs)
            new = [w for w in caught if w.category is datafree.HealthWarning]
        assert len(new) == len(health.findings) - before
        assert all(
            f["message"] in str(w.message) for f, w in zip(health.findings[before:], new, strict=True)
        )
        all_logs.append(logs)
        kinds.append([finding["kind"] for finding in health.findings[before:]])
    return all_logs, kinds


VARIED = blobs(32, seed=5)[0]
IDENTICAL = np.repeat(VARIED[:1], 32, axis=0)
GREY = 0.5 + 0.2 * (VARIED - 0.5)


def of_one_class(teacher):
    images = blobs(256, seed=6)[0]
    return images[teacher.predict(images, verbose=0).argmax(-1) == 2][:32]


def test_figures_are_those_of_numpy(teacher, student):
    synthetic, probes = np.concatenate([VARIED[:10], VARIED[:2] + 0.005]), blobs(20, seed=8)[0]
    figures = vital_signs(teacher, student, synthetic, probes, batch_size=7)
    t, s = (np.asarray(model(synthetic, training=False), "float64") for model in (teacher, student))
    p = np.exp(t) / np.exp(t).sum(-1, keepdims=True)
    share = np.bincount(t.argmax(-1), minlength=CLASSES) / 12
    apart = [
        math.sqrt(np.mean((a - b).astype("float64") ** 2)) for a, b in itertools.combinations(synthetic, 2)
    ]
    every = np.concatenate([synthetic, probes])
    spreads = [np.std(model(every, training=False), axis=0).mean() for model in (teacher, student)]
    on_probes = [np.asarray(model(probes, training=False)).argmax(-1) for model in (teacher, student)]
    expected = {
        "health_agreement": np.mean(on_probes[0] == on_probes[1]),
        "health_guess": np.bincount(on_probes[0]).max() / 20,
        "health_agreement_synthetic": np.mean(t.argmax(-1) == s.argmax(-1)),
        "health_class_entropy": -sum(q * math.log(q) for q in share if q) / math.log(CLASSES),
        "health_diversity": np.mean(apart),
        "health_duplicates": 4 / 12,
        "health_confidence": np.mean(p.max(-1)),
        "health_student_spread": spreads[1] / spreads[0],
    }
    assert figures == pytest.approx(expected, rel=1e-4)


def test_copies_are_told_from_near_neighbours_on_bright_images():
    image = np.full((1, 32, 32, 3), 0.97, "float32")
    distances = rms_distances(np.concatenate([image, image, image + 0.009, image + 0.011]))
    np.testing.assert_allclose(distances[0], [0, 0, 0.009, 0.011], atol=1e-5)


def test_a_healthy_run_finds_nothing(distiller):
    health = datafree.Health(images=32, entropy=0.0)
    best = datafree.KeepBest("health_confidence", mode="min")
    with warnings.catch_warnings():
        warnings.simplefilter("error", datafree.HealthWarning)
        history = distiller.fit(steps_per_epoch=100, verbose=0, callbacks=[health, best]).history
    assert health.findings == [] and health.healthy and health.last_healthy_epoch == 2
    names = [name for name in history if name.startswith("health_")]
    assert len(names) == 8 and all(len(history[name]) == 3 for name in names)
    # Nothing is trained to generate, so diversity is that of the prior throughout.
    assert np.ptp(history["health_diversity"]) < 0.2 * history["health_diversity"][0]
    assert best.best_value == min(history["health_confidence"])


def test_a_look_changes_nothing(distiller):
    health = datafree.Health(images=32)
    health.set_model(distiller)
    before = [v.numpy() for v in distiller.variables]
    health.on_train_begin()
    health.on_epoch_begin(0)
    figures = [{}, {}]
    for logs in figures:
        health.on_epoch_end(0, logs)
    for variable, value in zip(distiller.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)
    assert figures[0] == figures[1] and 0.1 < figures[0]["health_diversity"] < 0.7


def test_looks_every_so_many_epochs_at_the_same_probes(distiller, monkeypatch):
    logs, _ = watch(distiller, monkeypatch, [(VARIED, 1.0)] * 5, datafree.Health(every=2, images=32))
    assert [epoch for epoch in range(5) if "health_agreement" in logs[epoch]] == [0, 1, 3]
    # Nothing was trained, so that on the same images nothing changes.
    assert logs[0]["health_agreement"] == logs[1]["health_agreement"]


def test_identical_images_are_noticed_while_the_loss_falls(distiller, monkeypatch):
    """The collapse that is reported of trained generators; once, until it clears."""
    epochs = [(VARIED, 1.0), (VARIED, 0.9), (IDENTICAL, 1e-4), (IDENTICAL, 1e-6), (VARIED, 0.9)]
    health = datafree.Health(images=32)
    _, kinds = watch(distiller, monkeypatch, [*epochs, (IDENTICAL, 1e-6)], health)
    collapse = ["duplicates", "diversity_lost", "few_classes"]
    # The next-to-nothing loss of a collapse is no measure for that of varied images.
    assert kinds == [[], [], collapse, [], [], collapse]
    assert not health.healthy and health.last_healthy_epoch == 4 and health.findings[0]["epoch"] == 2
    assert "100% of the synthetic inputs" in health.findings[0]["message"]
    assert "usually helps" in health.findings[0]["message"]
    assert not distiller.stop_training


def test_lost_diversity_and_lost_classes_are_noticed(teacher, distiller, monkeypatch):
    epochs = [(VARIED, 1.0), (GREY, 1.0), (of_one_class(teacher), 1.0)]
    _, kinds = watch(distiller, monkeypatch, epochs, datafree.Health(images=32))
    assert kinds == [[], ["diversity_lost"], ["few_classes"]]


def test_few_classes_from_the_start_hide_no_explosion(teacher, distiller, monkeypatch):
    few = of_one_class(teacher)
    epochs = [(few, 1.0), (few, 9.0), (few, 11.0)]
    _, kinds = watch(distiller, monkeypatch, epochs, datafree.Health(images=32))
    assert kinds == [["few_classes"], [], ["loss_explosion"]]


def test_exploding_and_infinite_losses_are_noticed(distiller, monkeypatch):
    epochs = [(VARIED, 2.0), (VARIED, 0.5), (VARIED, 6.0), (VARIED, np.nan), (VARIED * np.nan, 0.5)]
    health = datafree.Health(images=32)
    _, kinds = watch(distiller, monkeypatch, epochs, health)
    assert kinds == [[], [], ["loss_explosion"], ["not_finite"], []]
    assert "12 times its best, 0.5" in health.findings[0]["message"]
    health = datafree.Health(images=32)
    assert watch(distiller, monkeypatch, [(VARIED, -1.0), (VARIED, 1.0)], health)[1] == [[], []]


def test_a_student_that_forgets_is_noticed(teacher, monkeypatch):
    # A student that is the teacher agrees wholly; without weights it says one class.
    distiller = tfkd.DataFreeDistiller(teacher, keras.models.clone_model(teacher), PLAIN)
    distiller.compile()
    distiller.student.set_weights(teacher.get_weights())

    def forget(epoch):
        if epoch == 1:
            distiller.student.set_weights([np.zeros_like(w) for w in teacher.get_weights()])

    health = datafree.Health(images=64)
    logs, kinds = watch(distiller, monkeypatch, [(VARIED, 1.0)] * 2, health, forget)
    assert kinds == [[], ["student_constant", "agreement_fall"]]
    assert logs[0]["health_agreement"] == 1 and logs[1]["health_agreement"] < 0.8


def test_stop_stops_and_keeps_the_student_as_it_is(distiller, monkeypatch):
    before = harness.snapshot(distiller.student)
    health = datafree.Health(images=32, action="stop")
    watch(distiller, monkeypatch, [(VARIED, 1.0), (IDENTICAL, 0.0)], health)
    assert distiller.stop_training and not health.healthy
    harness.assert_same_weights(before, distiller.student)


def test_a_student_that_died_is_noticed(distiller, monkeypatch):
    health = datafree.Health(images=32)

    def die(epoch):
        if epoch == 1:
            distiller.student.get_layer("conv2").bias.assign(np.full(8, -1e6))

    _, kinds = watch(distiller, monkeypatch, [(VARIED, 1.0)] * 3, health, die)
    assert kinds[0] == [] and "student_constant" in kinds[1] and not health.healthy


def test_a_run_that_taught_nothing_says_so_at_its_end(distiller, monkeypatch):
    health = datafree.Health(images=32)
    rows, _ = watch(distiller, monkeypatch, [(VARIED, 1.0)] * 2, health)
    rows = [{**row, "epoch": epoch, "health_agreement": 0.3} for epoch, row in enumerate(rows)]
    for guess, expected in ((0.3, ["no_better_than_guessing"]), (0.2, []), (1.0, [])):
        findings = health.review([{**row, "health_guess": guess} for row in rows])
        assert [f["kind"] for f in findings if f["epoch"] == 1] == expected
    health._examine({**rows[-1], "health_guess": 0.5})
    with pytest.warns(datafree.HealthWarning, match="the best constant prediction would agree on 50%"):
        health.on_train_end()
    assert not health.healthy and health.findings[-1]["kind"] == "no_better_than_guessing"


def test_roll_back_restores_exactly_and_stops_in_the_end(teacher, monkeypatch):
    distiller = make(teacher, GENERATOR)
    optimizers = distiller.optimizer, *distiller.source.optimizers
    moments = [v for optimizer in optimizers for v in optimizer.variables if len(v.shape)]
    restored = [*distiller.student.weights, *distiller.source.weights, *moments]
    starts = []

    def train(epoch):
        starts.append([v.numpy() for v in restored])
        for variable in [*restored, *(optimizer.iterations for optimizer in optimizers)]:
            variable.assign(variable + 1)

    health = datafree.Health(images=32, action="roll_back", patience=3)
    well, sick = (VARIED, 1.0), (IDENTICAL, 0.0)
    _, kinds = watch(distiller, monkeypatch, [well, sick, well, sick, sick], health, train)
    assert [bool(k) for k in kinds] == [False, True, False, True, True]
    for variable, *at_start in zip(restored, *starts, strict=True):
        np.testing.assert_array_equal(at_start[2], at_start[0] + 1)
        np.testing.assert_array_equal(at_start[4], at_start[2] + 1)
        np.testing.assert_array_equal(variable, at_start[4])
    # The clock of the learning rate goes on.
    assert [optimizer.iterations.numpy() for optimizer in optimizers] == [5, 5]
    assert health.roll_backs == 3 and health.last_healthy_epoch == 2 and distiller.stop_training


def test_roll_back_mends_what_inversions_start_from(teacher):
    distiller = recipes.make(teacher, recipes.RECIPES["fast"])
    anything = {"diversity": 0, "duplicates": 1, "entropy": 0, "explosion": 1e9, "fall": 1}
    health = datafree.Health(images=16, action="roll_back", **anything)
    own = [*distiller.student.weights, *distiller.source.weights]
    own = [variable for variable in own if variable.dtype == "float32"]

    class Poison(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                logs["loss"] = np.nan
                for variable in own:
                    variable.assign(np.full(variable.shape, np.nan))

    with pytest.warns(datafree.HealthWarning, match="No longer finite"):
        distiller.fit(epochs=3, verbose=0, callbacks=[Poison(), health])
    assert health.roll_backs
    assert all(np.isfinite(variable.numpy()).all() for variable in own)


def test_roll_back_before_any_healthy_epoch_is_to_the_start(distiller, monkeypatch):
    before = harness.snapshot(distiller.student)
    health = datafree.Health(images=32, action="roll_back", patience=1)

    def learn(epoch):
        distiller.student.set_weights([w + 1 for w in distiller.student.get_weights()])

    watch(distiller, monkeypatch, [(IDENTICAL, 1.0)], health, learn)
    harness.assert_same_weights(before, distiller.student)
    assert distiller.stop_training and health.last_healthy_epoch == -1


def test_review_of_rows_equals_what_was_found(distiller, monkeypatch):
    epochs = [(VARIED, 1.0), (GREY, 1.0), (VARIED, 20.0), (IDENTICAL, np.inf), (VARIED, 1.0)]
    health = datafree.Health(images=32)
    logs, _ = watch(distiller, monkeypatch, epochs, health)
    rows = [{"epoch": epoch, **row} for epoch, row in enumerate(logs)]
    with pytest.warns(datafree.HealthWarning, match="almost nothing"):
        health.on_train_end()
    found = list(health.findings)
    assert len(found) == 4
    assert health.review([*rows, {"epoch": 5, "loss": 1e9}]) == found == health.findings


@pytest.mark.parametrize(
    "arguments",
    [
        {"every": 0},
        {"images": 1},
        {"images": 32.0},
        {"patience": 0},
        {"action": "panic"},
        {"diversity": 1.5},
        {"duplicates": -0.1},
        {"entropy": np.nan},
        {"explosion": 1.0},
        {"fall": 20},
    ],
    ids=str,
)
def test_arguments_out_of_range_are_refused_by_name(arguments):
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}` must be"):
        datafree.Health(**arguments)


def test_models_that_it_cannot_watch_are_refused(teacher, student):
    student.compile(loss="mse")
    data = np.zeros((2, *SHAPE)), np.zeros((2, CLASSES))
    with pytest.raises(TypeError, match="Health is for distillers and schemes"):
        student.fit(*data, callbacks=[datafree.Health()], verbose=0)
    distiller = tfkd.Distiller(teacher, small_network(4), tfkd.losses.L1Logits(), student_loss_weight=0.0)
    distiller.compile("adam")
    with pytest.raises(TypeError, match="inputs that a model makes itself"):
        distiller.fit(data[0], callbacks=[datafree.Health()], verbose=0)
    health = datafree.Health()
    health.set_model(types.SimpleNamespace(students=[1, 2], loss_sets=[], sources=[1]))
    with pytest.raises(TypeError, match="compares one student with its teacher, but this scheme has 2"):
        health.on_train_begin()


def test_keep_best_gives_the_best_epochs_student_back(distiller):
    best = datafree.KeepBest("agreement")
    best.set_model(distiller)
    best.on_train_begin()
    taken = []
    for epoch, value in enumerate((0.5, 0.8, 0.8, np.nan, 0.7, None)):
        distiller.student.set_weights([w + 1 for w in distiller.student.get_weights()])
        taken.append(harness.snapshot(distiller.student))
        best.on_epoch_end(epoch, {} if value is None else {"agreement": value})
    best.on_train_end()
    assert (best.best_epoch, best.best_value) == (2, 0.8)
    harness.assert_same_weights(taken[2], distiller.student)


def test_keep_best_refuses_real_data_and_says_when_it_saw_nothing(distiller):
    with pytest.raises(ValueError, match=r"not data-free.*val_accuracy.*health_agreement"):
        datafree.KeepBest("val_accuracy")
    with pytest.raises(ValueError, match="`mode`"):
        datafree.KeepBest(mode="auto")
    best = datafree.KeepBest()
    best.set_model(distiller)
    best.on_train_begin()
    best.on_epoch_end(0, {"loss": 1.0})
    with pytest.warns(UserWarning, match="No epoch had a finite 'health_agreement'"):
        best.on_train_end()
