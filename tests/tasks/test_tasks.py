"""What tasks compute, against NumPy."""

import keras
import numpy as np
import pytest

from tfkd import losses
from tfkd.tasks import Classification, MultiLabel, Regression

RNG = np.random.default_rng(1)
TEACHER, STUDENT = RNG.normal(0, 2, size=(2, 40, 5)).astype("float32")
X = 3 * RNG.normal(size=(400, 5)).astype("float32")


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def kl(p, q):
    return p * np.log(p / q)


def oracle(task, teacher, student):
    """Agreement and divergence in float64."""
    t, s = teacher.astype("float64"), student.astype("float64")
    if isinstance(task, Classification):
        return t.argmax(-1) == s.argmax(-1), kl(softmax(t), softmax(s)).sum(-1)
    if isinstance(task, MultiLabel):
        p, q = sigmoid(t), sigmoid(s)
        return ((t > 0) == (s > 0)).mean(-1), (kl(p, q) + kl(1 - p, 1 - q)).sum(-1)
    d = np.sqrt((((t - s) / t.std(0)) ** 2).mean(-1))
    return 1 / (1 + (d / 0.1) ** 2), ((t - s) ** 2).mean(-1)


@pytest.mark.parametrize("kind", [Classification, MultiLabel, Regression])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_agreement_and_divergence(kind, dtype):
    task = kind((5,))
    outputs = [each.astype(dtype) for each in (TEACHER, TEACHER + 0.3 * STUDENT)]
    agreement, divergence = oracle(task, *outputs)
    np.testing.assert_allclose(task.agreement(*outputs), agreement, rtol=1e-3)
    np.testing.assert_allclose(task.divergence(*outputs), divergence, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", [MultiLabel, Regression])
def test_one_output(kind):
    task = kind((1,))
    outputs = TEACHER[:, :1], STUDENT[:, :1]
    agreement, divergence = oracle(task, *outputs)
    np.testing.assert_allclose(task.agreement(*outputs), agreement, rtol=1e-4)
    np.testing.assert_allclose(task.divergence(*outputs), divergence, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"at least two classes.*task='multi_label'.*task='regression'"):
        Classification((1,))


def test_numbers_of_a_batch_of_one_are_compared_by_their_size():
    task = Regression((2,))
    one = np.array([[3.0, -2.0]], "float32")
    assert float(task.agreement(one, one)[0]) == 1.0
    # The unit is then a ten-thousandth of the size; a difference of a tenth of it scores a half.
    np.testing.assert_allclose(task.agreement(one, one * (1 + 1e-5)), [0.5], atol=0.03)
    assert float(task.agreement(one, one + 1)[0]) < 1e-6
    same = np.repeat(one, 5, axis=0)
    np.testing.assert_allclose(task.agreement(same, same), np.ones(5))


def test_an_agreement_of_a_half_is_a_tenth_of_the_spread():
    teacher = np.linspace(-7, 7, 1001, dtype="float32")[:, None] + 100
    shifted = teacher + 0.1 * teacher.std()
    np.testing.assert_allclose(Regression((1,)).agreement(teacher, shifted), 0.5, atol=1e-3)


@pytest.mark.parametrize("kind", [Classification, MultiLabel])
def test_saturated_logits_keep_their_divergence(kind):
    """60 logits apart, a probability is 1 in float32, and a logarithm of 1 - p would be lost."""
    teacher = np.array([[60.0, 0.0, -60.0]], "float32")
    student = -teacher
    p = np.array([[60.0, 0.0, -60.0]])
    if kind is Classification:
        expected = (softmax(p) * ((p - p.max()) - (-p - 60.0))).sum()
    else:
        expected = 2 * 60 * sigmoid(60.0) - 2 * 60 * sigmoid(-60.0)
    np.testing.assert_allclose(kind((3,)).divergence(teacher, student), [expected], rtol=1e-5)


def test_scores_and_chance_of_classes():
    task, labels = Classification((5,)), np.arange(400) % 5
    right = np.eye(5)[labels] + 0.1 * X
    expected = np.mean(right.argmax(-1) == labels)
    assert task.score(right, labels) == {"accuracy": pytest.approx(expected)}
    assert not task.is_chance(right, labels) and task.is_chance(X, labels)


def test_scores_and_chance_of_labels():
    task = MultiLabel((5,))
    labels = (X > 4).astype(int)
    labels[:, 4] = 0
    scores = task.score(X, labels)
    same = (X > 0) == (labels > 0)
    assert scores == {
        "accuracy": pytest.approx(same.mean()),
        "all_labels_accuracy": pytest.approx(same.all(-1).mean()),
    }
    # Rare labels that are never called, but ranked well: of use. The same in another order: not.
    assert not task.is_chance(X - 100, labels)
    assert task.is_chance(RNG.permutation(X), labels)
    assert task.is_chance(-X, labels) and task.is_chance(np.zeros_like(X), labels)


def test_scores_and_chance_of_numbers():
    task = Regression((5,))
    near = X + 1
    assert task.score(near, X) == {
        "mean_absolute_error": pytest.approx(1.0),
        "r2": pytest.approx(1 - 1 / X.var(0).mean(), rel=1e-5),
    }
    assert not task.is_chance(near, X)
    assert task.is_chance(X + 100, X) and task.is_chance(np.tile(X.mean(0), (400, 1)) + 1e-3, X)
    # Labels that never differ explain nothing, and there is no NaN in a metrics file.
    assert task.score(near, np.ones_like(X)).keys() == {"mean_absolute_error"}


def test_the_best_constant_answer():
    skewed = np.concatenate([TEACHER, np.tile([[0.0, 5, 0, 0, 0]], (60, 1))]).astype("float32")
    task = Classification((5,))
    assert task.constant(skewed).argmax() == 1
    assert task.guess(skewed) == pytest.approx(np.mean(skewed.argmax(-1) == 1))
    task = MultiLabel((5,))
    shares = (TEACHER > 0).mean(0)
    np.testing.assert_array_equal(task.constant(TEACHER) > 0, shares > 0.5)
    assert task.guess(TEACHER) == pytest.approx(np.maximum(shares, 1 - shares).mean())
    task = Regression((5,))
    np.testing.assert_allclose(task.constant(TEACHER), TEACHER.mean(0))
    d = (((TEACHER - TEACHER.mean(0)) / TEACHER.std(0)) ** 2).mean(-1)
    assert task.guess(TEACHER) == pytest.approx((1 / (1 + 100 * d)).mean(), rel=1e-3)


def test_confidence_probabilities_groups_and_shares():
    task = Classification((5,))
    np.testing.assert_allclose(task.confidence(TEACHER), softmax(TEACHER).max(-1), rtol=1e-5)
    np.testing.assert_allclose(np.exp(task.log_probabilities(TEACHER)), softmax(TEACHER), rtol=1e-4)
    np.testing.assert_array_equal(task.group(TEACHER), TEACHER.argmax(-1))
    np.testing.assert_allclose(task.shares(TEACHER), np.bincount(TEACHER.argmax(-1), minlength=5) / 40)
    task = MultiLabel((5,))
    np.testing.assert_allclose(task.confidence(TEACHER), sigmoid(np.abs(TEACHER)).mean(-1), rtol=1e-5)
    np.testing.assert_allclose(np.exp(task.log_probabilities(TEACHER)), sigmoid(TEACHER), rtol=1e-4)
    np.testing.assert_allclose(task.shares(TEACHER), (TEACHER > 0).mean(0))
    np.testing.assert_allclose(
        task.agreement_by_label(TEACHER, STUDENT), ((TEACHER > 0) == (STUDENT > 0)).mean(0)
    )
    assert Classification.has_classes and MultiLabel.has_classes and not Regression.has_classes


def test_targets():
    seed = keras.random.SeedGenerator(0)
    for task in (Classification((5,)), MultiLabel((5,))):
        drawn = np.asarray(task.draw_targets(500, seed))
        assert set(drawn) == set(range(5)) and abs(np.bincount(drawn) - 100).max() < 40
    targets = np.arange(40) % 5
    own = TEACHER[np.arange(40), targets]
    np.testing.assert_allclose(
        Classification((5,)).target_loss(targets, TEACHER),
        -np.log(softmax(TEACHER))[np.arange(40), targets],
        rtol=1e-4,
        atol=1e-5,
    )
    # Only the label that was asked for counts.
    np.testing.assert_allclose(
        MultiLabel((5,)).target_loss(targets, TEACHER), -np.log(sigmoid(own)), rtol=1e-4, atol=1e-6
    )
    task = Regression((5,))
    drawn = np.asarray(task.draw_targets(40, seed, TEACHER))
    np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(TEACHER, axis=0))
    assert (drawn != TEACHER).any()
    with pytest.raises(ValueError, match=r"numbers.*without classes, such as Procedural"):
        task.draw_targets(40, seed)


def test_soft_losses():
    assert isinstance(Classification((5,)).soft_loss(3.0), losses.SoftTargets)
    bernoulli = MultiLabel((5,)).soft_loss(3.0)
    assert isinstance(bernoulli, losses.BernoulliTargets) and bernoulli.temperature == 3.0
    assert isinstance(Regression((5,)).soft_loss(3.0), losses.MeanSquaredError)


@pytest.mark.parametrize(
    ("task", "good", "bad", "message"),
    [
        (Classification((5,)), np.arange(4), np.eye(5)[:4], "4 class indices from 0 to 4.*argmax"),
        (Classification((5,)), np.zeros((4, 1)), np.arange(4) + 2, "from 0 to 4.*Received.*5"),
        (Classification((2,)), [0, 1, 1, 0], [0.5, 1, 1, 0], "from 0 to 1"),
        (MultiLabel((2,)), np.eye(4)[:, :2], np.arange(4), r"0 or 1 for each of 2 labels, \(4, 2\)"),
        (MultiLabel((1,)), [0, 1, 1, 0], [0, 1, 2, 0], "0 or 1"),
        (Regression((1,)), [0.5, 1, 2, 3], np.zeros((4, 2)), r"finite numbers \(4, 1\)"),
        (Regression((2,)), np.zeros((4, 2)), np.full((4, 2), np.nan), "finite numbers"),
    ],
)
def test_labels_that_do_not_fit_are_refused(task, good, bad, message):
    assert len(task.check_labels(good, 4, "`y`")) == 4
    with pytest.raises(ValueError, match=f"`y` must be .*{message}"):
        task.check_labels(bad, 4, "`y`")


@pytest.mark.parametrize("shape", [(), (None,), (0,), (4, 4, 3)])
@pytest.mark.parametrize("kind", [Classification, MultiLabel, Regression])
def test_outputs_that_do_not_fit_are_refused(kind, shape):
    with pytest.raises(ValueError, match=r"returns \(batch, .*Received: output shape \(None"):
        kind(shape)


def test_what_looks_broken():
    classes, labels, numbers = Classification((5,)), MultiLabel((5,)), Regression((5,))
    for task in (classes, labels, numbers):
        assert task.diagnose(X) is None
    assert "looks untrained" in classes.diagnose(0.01 * X)
    assert "hardly depends on its input" in classes.diagnose(X + np.array([20, 0, 0, 0, 0]))
    assert "saturated" in classes.diagnose(1000 * X)
    assert "looks untrained" in labels.diagnose(0.01 * X)
    assert "5 labels, 4 are never on and 1 always: it hardly depends" in labels.diagnose(
        0.1 * X + [9, -9, -9, -9, -9]
    )
    # Some labels may well be rare.
    assert labels.diagnose(0.1 * X + [0, -9, -9, -9, -9]) is None
    assert "saturated" in labels.diagnose(1000 * X)
    assert "outputs about 30 for everything" in numbers.diagnose(30 + 1e-4 * X)
    assert numbers.diagnose(30 + X * [1, 0, 0, 0, 0]) is None


def test_words_for_pictures_and_reports():
    outputs = np.array([[0.0, 20, 0, 0, 0], [-1, -1, -1, -1, -1.5]], "float32")
    assert Classification((5,)).captions(outputs)[0] == "1  100%"
    assert MultiLabel((5,)).captions(outputs + np.array([[1], [0]])) == ["0 1 2 3", "none"]
    assert Regression((5,)).captions(outputs) == ["0 20", "-1 -1"]
    assert Classification((5,)).agreement_text("9 %", "images") == "agree on 9 % of images"
    assert MultiLabel((5,)).agreement_text("9 %", "images") == "agree on 9 % of the labels of images"
    assert Regression((5,)).name == "regression" and MultiLabel((5,)).name == "multi_label"
