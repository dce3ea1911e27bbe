"""Chains are what two distillers by hand are, and go on where they were interrupted."""

import os
import pathlib
import re
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

import tfkd
from tests import harness
from tests.conftest import blobs, small_network
from tests.schemes import chain_to_kill
from tests.schemes.cases import Setting
from tests.schemes.cases_chains import CASES
from tfkd import losses, schemes, tasks

pytestmark = [pytest.mark.slow, pytest.mark.eager]

LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
X, Y = blobs(32)
ROOT = pathlib.Path(__file__).parents[2]


def fit(chain, x=X, y=Y, **kwargs):
    options = {"epochs": 2, "optimizer": keras.optimizers.SGD(0.05), "loss": LABELS_LOSS}
    options |= {"metrics": ["accuracy"], "batch_size": 16, "shuffle": False, "verbose": 0}
    return chain.fit(x, y, **options | kwargs)


def by_hand(teacher, student, loss, weights=None, epochs=2):
    distiller = tfkd.Distiller(teacher, student, loss, weights)
    distiller.compile(keras.optimizers.SGD(0.05), LABELS_LOSS, ["accuracy"])
    return distiller.fit(X, Y, epochs=epochs, batch_size=16, shuffle=False, verbose=0).history


def networks(*widths):
    """The same ones each time."""
    keras.utils.set_random_seed(5)
    return [small_network(width, name=f"net{width}") for width in widths]


class Stop(Exception):
    pass


def stop_at(link, epoch):
    """Interrupts the chain at the beginning of an epoch of a link."""
    begun = []

    def on_epoch_begin(current, logs=None):
        if current == epoch and begun.count(epoch) == link:
            raise Stop
        begun.append(current)

    return keras.callbacks.LambdaCallback(on_epoch_begin=on_epoch_begin)


def test_assistants_are_two_distillers_in_a_row(teacher):
    before = harness.snapshot(teacher)
    chain = schemes.assistants(teacher, *networks(4), sizes=networks(6), temperature=3.0)
    assert [student.name for student in chain.students] == ["net6", "net4"]
    starts = [student.get_weights() for student in chain.students]
    history = fit(chain)
    assistant, student = networks(6, 4)
    for network, weights in zip((assistant, student), starts, strict=True):
        network.set_weights(weights)
    expected = [by_hand(teacher, assistant, losses.SoftTargets(3.0))]
    expected.append(by_hand(assistant, student, losses.SoftTargets(3.0)))
    harness.assert_same_weights(harness.snapshot(assistant), chain.students[0])
    harness.assert_same_weights(harness.snapshot(student), chain.student)
    harness.assert_same_weights(before, teacher)
    assert history.epoch == [0, 1, 2, 3] and history.history["link"] == [0, 0, 1, 1]
    for key in ("loss", "accuracy", "soft_targets"):
        assert history.history[key] == expected[0][key] + expected[1][key]
    # Who taught in between can be trained further.
    assert all(network.trainable_variables for network in chain.students)


def test_generations_after_a_tolerant_teacher():
    made = iter(networks(3, 4, 5))
    chain = schemes.generations(None, lambda: next(made), n=2, tolerance=0.6, k=2)
    assert [student.name for student in chain.students] == ["net3", "net4", "net5"]
    history = fit(chain, epochs=1)
    first, second, third = networks(3, 4, 5)
    by_hand(None, first, [losses.ScoreDifference(k=2)], [0.6], epochs=1)
    by_hand(first, second, losses.SoftTargets(), epochs=1)
    by_hand(second, third, losses.SoftTargets(), epochs=1)
    for ours, theirs in zip(chain.students, (first, second, third), strict=True):
        harness.assert_same_weights(harness.snapshot(theirs), ours)
    np.testing.assert_array_equal(np.isnan(history.history["score_difference"]), [False, True, True])
    np.testing.assert_array_equal(np.isnan(history.history["soft_targets"]), [True, False, False])


def test_a_first_teacher_without_tolerance_learns_from_labels():
    chain = schemes.Chain(None, networks(4))
    fit(chain)
    (network,) = networks(4)
    network.compile(keras.optimizers.SGD(0.05), LABELS_LOSS)
    network.fit(X, Y, epochs=2, batch_size=16, shuffle=False, verbose=0)
    for ours, theirs in zip(chain.student.weights, network.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_generations_like_the_teacher_begin_anew(teacher):
    chain = schemes.generations(teacher, n=2)
    first, second = chain.students
    assert [type(layer) for layer in first.layers] == [type(layer) for layer in teacher.layers]
    assert len({teacher.name, first.name, second.name}) == 3
    assert len(first.trainable_variables) == len(small_network().trainable_variables)
    for other in (teacher, second):
        harness.assert_other_weights(harness.snapshot(first), other.weights)


def with_projectors():
    """Losses whose trained parts begin with random values."""
    return [losses.SoftTargets(4.0), losses.Hint("relu1", "relu1", projector=True)]


@pytest.fixture(scope="module")
def whole(teacher):
    """A chain that was not interrupted, and its history."""
    chain = schemes.assistants(teacher, *networks(4), networks(6), with_projectors(), seed=3)
    return chain, fit(chain)


@pytest.mark.graph
@pytest.mark.parametrize(("link", "epoch"), [(0, 1), (1, 0), (1, 1)])
def test_an_interrupted_chain_goes_on_to_the_same_weights(link, epoch, whole, teacher, tmp_path):
    expected_chain, expected = whole
    chain = schemes.assistants(teacher, *networks(4), networks(6), with_projectors(), seed=3)
    with pytest.raises(Stop):
        fit(chain, backup_dir=tmp_path, callbacks=[stop_at(link, epoch)])
    # As in a new process, whose networks begin with other weights.
    keras.utils.set_random_seed(99)
    others = small_network(6), small_network(4)
    resumed = schemes.assistants(teacher, others[1], [others[0]], with_projectors(), seed=3)
    seen = []
    record = keras.callbacks.LambdaCallback(on_epoch_begin=lambda current, logs: seen.append(current))
    history = fit(resumed, backup_dir=tmp_path, callbacks=[record])
    assert seen == [0, 1, 0, 1][2 * link + epoch :]
    assert history.epoch == [0, 1, 2, 3]
    for ours, theirs in zip(resumed.students, expected_chain.students, strict=True):
        harness.assert_same_weights(harness.snapshot(theirs), ours)
    assert history.history == expected.history


def test_without_a_seed_a_backup_keeps_the_one_that_was_drawn(teacher, tmp_path):
    """Where losses have layers of the user's, too, of which each link trains a copy."""

    def run(folder, seed, *callbacks):
        students = networks(8, 8)
        keras.utils.set_random_seed(seed)
        hint = losses.Hint("relu1", "relu1", projector=keras.layers.Conv2D(8, 1))
        chain = schemes.Chain(teacher, students, hint)
        fit(chain, epochs=1, backup_dir=tmp_path / folder, callbacks=callbacks)
        return chain.student

    student = run("whole", 1)
    with pytest.raises(Stop):
        run("interrupted", 1, stop_at(1, 0))
    harness.assert_same_weights(harness.snapshot(student), run("interrupted", 2))


def test_a_finished_chain_is_not_repeated_and_others_are_refused(teacher, tmp_path):
    first, again = (schemes.Chain(teacher, networks(6, 4)) for _ in range(2))
    fit(first, epochs=1, backup_dir=tmp_path)
    history = fit(again, epochs=1, backup_dir=tmp_path, callbacks=[stop_at(0, 0)])
    assert history.history["link"] == [0, 1]
    harness.assert_same_weights(harness.snapshot(first.student), again.student)
    for chain, options in (
        (schemes.Chain(teacher, networks(6, 5)), {}),
        (schemes.Chain(teacher, networks(6, 5, 4)), {}),
        (schemes.Chain(small_network(8), networks(6, 4)), {}),
        (schemes.Chain(teacher, networks(6, 4), temperature=2.0), {}),
        (schemes.Chain(teacher, networks(6, 4)), {"optimizer": "adam"}),
        (schemes.Chain(teacher, networks(6, 4)), {"epochs": 3}),
    ):
        before = harness.snapshot(chain.student)
        with pytest.raises(
            ValueError, match=r"contains another chain: .* was .*, and now is .*\. Give another folder"
        ):
            fit(chain, **{"epochs": 1, "backup_dir": tmp_path, **options})
        harness.assert_same_weights(before, chain.student)


def test_any_student_may_be_compressed(teacher):
    pruned = tfkd.compression.prune(small_network(4, name="pruned"), 0.5)
    chain = schemes.assistants(teacher, pruned, [0.75])
    fit(chain)
    assert chain.students[0].name == f"{teacher.name}_0.75x"
    assert tfkd.compression.sparsity(tfkd.compression.strip(chain.student)) == pytest.approx(0.5, abs=0.05)


def test_a_backup_knows_compressed_students(teacher, tmp_path):
    """Names that tfmot numbers as it goes along make no difference."""

    def run(*callbacks):
        keras.utils.set_random_seed(5)
        chain = schemes.generations(teacher, quantize_aware, n=2)
        fit(chain, epochs=1, backup_dir=tmp_path, callbacks=callbacks)
        return chain.student

    def quantize_aware():
        return tfkd.compression.quantize_aware(small_network(3))

    harness.assert_same_weights(harness.snapshot(run()), run(stop_at(0, 0)))


def test_students_made_in_the_scope_of_a_strategy(strategy, teacher, tmp_path):

    def run(*callbacks):
        with strategy.scope():
            student = networks(4)[0]
        chain = schemes.assistants(teacher, student, [0.75], with_projectors())
        assert all(network.distribute_strategy is strategy for network in chain.students)
        before = harness.snapshot(student)
        history = fit(chain, epochs=1, backup_dir=tmp_path, callbacks=callbacks)
        assert np.isfinite(history.history["loss"]).all()
        harness.assert_other_weights(before, student.weights)
        return student

    harness.assert_same_weights(harness.snapshot(run()), run(stop_at(0, 0)))


def test_links_compiled_with_xla(teacher):
    history = fit(schemes.Chain(teacher, networks(3)), epochs=1, jit_compile=True)
    assert np.isfinite(history.history["loss"]).all()


def test_a_black_box_is_asked_by_the_first_link(teacher):
    black_box = tfkd.BlackBoxTeacher(
        lambda images: teacher(images).numpy(), teacher.input_shape[1:], 4, from_logits=True
    )
    chain = schemes.assistants(black_box, *networks(4), networks(6))
    fit(chain)
    known = schemes.assistants(teacher, *networks(4), networks(6))
    fit(known)
    for ours, theirs in zip(chain.student.weights, known.student.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_an_assistant_answers_what_its_teacher_answers():
    """Four independent labels stay that when a student, which nobody has marked, becomes a teacher."""
    teacher = tasks.mark(small_network(8), tasks.MultiLabel((4,)))
    chain = schemes.Chain(teacher, networks(6, 4))
    labels = keras.utils.to_categorical(Y)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    history = fit(chain, y=labels, loss=loss, metrics=None, epochs=1).history
    assert "bernoulli_targets" in history and "soft_targets" not in history
    assert np.isfinite(history["bernoulli_targets"]).all()


@pytest.mark.kill
def test_a_data_free_chain_is_killed_and_goes_on(teacher, teacher_file, tmp_path):
    whole, _ = chain_to_kill.run(teacher, None, seed=3)
    program = [sys.executable, "-m", "tests.schemes.chain_to_kill", teacher_file, str(tmp_path)]
    done = subprocess.run(program, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == -signal.SIGKILL
    # Networks of this process begin with other weights.
    chain, history = chain_to_kill.run(teacher, tmp_path, seed=99)
    assert history.history["link"] == [0, 0, 1, 1]
    assert np.isfinite(history.history["agreement"]).all()
    for ours, theirs in zip(chain.students, whole.students, strict=True):
        for a, b in zip(ours.weights, theirs.weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6, err_msg=a.path)


def test_synthesized_examples_beside_real_ones(teacher):
    recipe = tfkd.datafree.Procedural(batch_size=16, refine_steps=0, real_share=0.5)
    chain = schemes.Chain(teacher, networks(4), student_loss_weight=0.25)
    before = harness.snapshot(chain.student)
    history = fit(chain, recipe=recipe, epochs=1, optimizer=None, validation_data=(X, Y)).history
    assert {"agreement", "val_accuracy", "student_loss"} <= history.keys()
    harness.assert_other_weights(before, chain.student.weights)


@pytest.mark.parametrize("name", CASES)
def test_cases_of_the_contract(name, teacher):
    ran = CASES[name].run(Setting(teacher, X, Y))
    assert np.isfinite(ran.history.history["loss"]).all()
    assert len(ran.students) == (1 if name == "eskd" else 2)


def of_classes(n):
    inputs = keras.Input((12, 12, 1))
    return keras.Model(inputs, keras.layers.Dense(n)(keras.layers.Flatten()(inputs)), name=f"classes{n}")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: schemes.assistants(t, small_network(4), []), "`sizes` is empty"),
        (
            lambda t: schemes.assistants(t, small_network(4, name="s"), [small_network(9, name="a")]),
            r"'a' has 4,189 parameters, more than the 3,580 of .*Order `sizes` from large to small",
        ),
        (
            lambda t: schemes.assistants(t, small_network(4), [0.5, 0.75]),
            "Order `sizes` from large to small",
        ),
        (
            lambda t: schemes.assistants(t, small_network(4), [0.25]),
            "choose them between teacher and student",
        ),
        (lambda t: schemes.assistants(t, small_network(4), ["0.7y"]), "0.7y"),
        (lambda t: schemes.assistants(t, of_classes(3), [0.75]), "must have the same output shape"),
        (
            lambda t: schemes.assistants(t, of_classes(4), [of_classes(5)]),
            "must have the same output shape",
        ),
        (lambda t: schemes.generations(t, lambda: of_classes(3)), "must have the same output shape"),
        (lambda t: schemes.generations(t, n=0), "`n` must be an integer of at least 1"),
        (lambda t: schemes.generations(None, n=1), "`make_student` is missing"),
        (lambda t: schemes.generations(t, tolerance=0.5), "`tolerance` is for training the first"),
        (
            lambda t: schemes.generations(None, small_network, tolerance=-1),
            "`tolerance` must be at least 0",
        ),
        (lambda t: schemes.generations(None, small_network, tolerance=1, k=1), "`k` must be an integer of"),
        (lambda t: schemes.Chain(t, []), "`students` is empty"),
        (lambda t: schemes.Chain(t, [small_network(4)], losses.Hint("relu1", "relu9")), "relu9"),
        (lambda t: schemes.Chain(t, [keras.Sequential([keras.layers.Dense(4)])]), "has no weights yet"),
        (lambda t: schemes.Chain(t, 2 * [small_network(4)]), "one of them twice"),
        (
            lambda t: fit(schemes.Chain(t, networks(4)), epochs=0),
            "`epochs` must be an integer of at least 1",
        ),
        (
            lambda t: fit(schemes.Chain(t, networks(4), losses.L1Logits()), recipe=tfkd.datafree.DFAD()),
            "`recipe` defines what students minimize",
        ),
        (
            lambda t: fit(schemes.Chain(None, networks(4)), recipe=tfkd.datafree.DFAD()),
            "the first link has none",
        ),
        (lambda t: schemes.Stage(None, 1, optimizer=None), "`optimizer` may be None only"),
    ],
)
def test_bad_input(make, message, teacher):
    with pytest.raises(ValueError, match=message):
        make(teacher)


def test_make_student_is_a_function(teacher):
    with pytest.raises(TypeError, match="`make_student` must be a function"):
        schemes.generations(teacher, small_network(4))
    with pytest.raises(TypeError, match=r"`sizes` must be a list.*0\.5"):
        schemes.assistants(teacher, small_network(4), 0.5)


def test_links_are_announced(teacher, capsys):
    fit(schemes.Chain(teacher, networks(6, 4)), epochs=1, verbose=2)
    printed = capsys.readouterr().out
    assert re.search(r"Link 1 of 2: net6, taught by .*Link 2 of 2: net4, taught by net6", printed, re.S)
