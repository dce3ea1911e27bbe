"""What holds for every scheme: it learns, is logged, resumes, is saved, takes any loss and any student."""

import signal

import keras
import numpy as np
import pytest

import tfkd
from tests import harness
from tests.conftest import small_network
from tests.killing import killer_of
from tests.schemes import killed
from tests.schemes.registry import CASES
from tfkd import compression, losses

pytestmark = pytest.mark.slow


@pytest.fixture(params=CASES)
def name(request):
    return request.param


@pytest.fixture
def leave_out(name, request):
    """Skips a test that cannot hold for the scheme, with the reason it gives."""
    if reason := CASES[name].leave_out.get(request.node.originalname):
        pytest.skip(reason)


def test_it_teaches_and_is_logged(name, teacher):
    before, begun = harness.snapshot(teacher), []
    record = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: begun.append(epoch))
    ran = killed.run(name, teacher, callbacks=[record])
    harness.assert_same_weights(before, teacher)
    assert ran.history.epoch == list(range(len(ran.history.epoch))) and len(begun) == len(ran.history.epoch)
    assert np.isfinite(ran.history.history["loss"]).all()
    assert all(len(values) == len(ran.history.epoch) for values in ran.history.history.values())
    fresh = [small_network(4) for _ in ran.students]
    for student, other in zip(ran.students, fresh, strict=True):
        assert all(np.isfinite(weight).all() for weight in student.get_weights())
        harness.assert_other_weights(harness.snapshot(other), student.weights[: len(other.weights)])


@pytest.fixture(scope="module")
def killer():
    yield from killer_of("tests.schemes.killed")


@pytest.mark.kill
def test_killed_it_resumes_to_the_same_weights(name, leave_out, teacher, teacher_file, tmp_path, killer):
    whole = killed.run(name, teacher)
    steps = 3 * len(whole.history.epoch)
    # After the first epoch, and before the last step.
    step = int(np.random.default_rng(list(name.encode())).integers(4, steps))
    assert killer(name, teacher_file, str(tmp_path), step) == signal.SIGKILL
    begun = []
    record = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: begun.append(epoch))
    resumed = killed.run(name, teacher, folder=str(tmp_path), callbacks=[record])
    assert 0 < len(begun) < len(whole.history.epoch)
    for ours, theirs in zip(resumed.students, whole.students, strict=True):
        for a, b in zip(ours.weights, theirs.weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=a.path)


def test_xla(name, leave_out, teacher):
    ran = killed.run(name, teacher, jit_compile=True, epochs=1)
    assert np.isfinite(ran.history.history["loss"]).all()


@pytest.mark.eager
@pytest.mark.parametrize(
    "loss",
    [
        losses.DecoupledKnowledge(),
        losses.Hint("conv2", "conv2", projector=True),
        losses.Relational("flat", "flat"),
    ],
    ids=lambda loss: loss.name,
)
def test_any_loss(name, loss, teacher):
    if not CASES[name].takes_losses:
        pytest.skip("its losses are part of the method")
    ran = killed.run(name, teacher, loss=loss, epochs=1)
    assert np.isfinite(ran.history.history["loss"]).all()
    # A loss for each teacher is one of them all.
    assert any(key.endswith((loss.name, "weighted_teachers")) for key in ran.history.history)


def pruned(name):
    return compression.prune(small_network(4, name=name), 0.5)


def quantized(name):
    return compression.quantize_aware(small_network(4, name=name))


@pytest.mark.eager
@pytest.mark.parametrize("student", [pruned, quantized])
def test_compressed_students(name, student, leave_out, teacher):
    ran = killed.run(name, teacher, student=student, epochs=1)
    assert np.isfinite(ran.history.history["loss"]).all()
    if student is pruned:
        for each in ran.students[-1:]:
            kernel = compression.strip(each).get_layer("conv2").kernel
            assert np.mean(np.asarray(kernel) == 0) == pytest.approx(0.5, abs=0.3)


def test_under_tf_distribute(name, leave_out, strategy, teacher_file):
    with strategy.scope():
        ran = killed.run(name, tfkd.load_teacher(teacher_file), epochs=1)
    assert np.isfinite(ran.history.history["loss"]).all()


def test_a_model_is_saved_and_trains_on(name, leave_out, teacher, tmp_path):
    ran = killed.run(name, teacher)
    if ran.model is None:
        pytest.skip("a function that returns its students, which are saved as any model")
    ran.model.save(tmp_path / "scheme.keras")
    loaded = keras.models.load_model(tmp_path / "scheme.keras")
    x, y = killed.blobs(48)
    np.testing.assert_allclose(ran.model.predict(x, verbose=0), loaded.predict(x, verbose=0), atol=1e-6)
    if isinstance(loaded, tfkd.Distiller) and loaded.loss_set.uses_teacher:
        # Which is in no file.
        loaded.teacher = ran.model.teacher
    fit = {"batch_size": 16, "shuffle": False, "verbose": 0}
    logs = [model.fit(x, y, **fit).history["loss"] for model in (ran.model, loaded)]
    np.testing.assert_allclose(*logs, rtol=1e-4)
