"""Sequences that a student samples, and what it learns on them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfkd
from tests.text import small_models as models
from tfkd import losses, tasks, text
from tfkd.text._sampling import prompt_lengths, sample

SEED = tf.constant([1, 2])


class Counting(keras.layers.Layer):
    """Logits by which the token after n is n + 1, and after the last one 0, by a margin."""

    def __init__(self, margin=50.0, **kwargs):
        super().__init__(**kwargs)
        self.margin = margin

    def call(self, ids):
        return self.margin * tf.one_hot((ids + 1) % models.VOCABULARY, models.VOCABULARY)


def counting(margin=50.0) -> keras.Model:
    ids = keras.Input((None,), dtype="int32", name="token_ids")
    mask = keras.Input((None,), dtype="int32", name="padding_mask")
    return keras.Model({"token_ids": ids, "padding_mask": mask}, Counting(margin)(ids))


def prompts():
    """Three prompts of 2, 3 and 8 tokens in a batch of 8."""
    ids = np.zeros((3, 8), "int32")
    ids[0, :6], ids[1, :3], ids[2] = [7, 10, 30, 30, 30, 30], [5, 6, 20], np.arange(8)
    labels = tasks.next_tokens(ids, ids != 0)
    labels[0, 0], labels[1:] = -100, -100
    return {"token_ids": ids, "padding_mask": (ids != 0).astype("int32")}, labels


def test_prompts_end_before_the_first_label():
    inputs, labels = prompts()
    inputs["padding_mask"][2] = 1
    assert prompt_lengths(inputs, labels).numpy().tolist() == [2, 3, 8]
    assert prompt_lengths(inputs, None).numpy().tolist() == [6, 3, 8]


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_what_is_sampled(jit_compile):
    inputs, _ = prompts()
    run = tf.function(
        lambda: sample(counting(), inputs, tf.constant([2, 3, 8]), SEED, max_new_tokens=4, end_id=13),
        jit_compile=jit_compile,
    )
    made = run()
    expected = [[7, 10, 11, 12, 13, 0, 0, 0], [5, 6, 20, 21, 22, 23, 24, 0], list(range(8))]
    np.testing.assert_array_equal(made.inputs["token_ids"], expected)
    np.testing.assert_array_equal(np.sum(made.inputs["padding_mask"], axis=1), [5, 7, 8])
    none = [-100] * 8
    labels = [[-100, 11, 12, 13, *none[4:]], [-100, -100, 21, 22, 23, 24, -100, -100], none]
    np.testing.assert_array_equal(made.labels, labels)


def test_the_temperature_sets_how_often_a_token_is_drawn():
    inputs = {"token_ids": np.full((400, 8), 3, "int32"), "padding_mask": np.ones((400, 8), "int32")}
    # Of 40 tokens one has e ** (3 / 1.5) times the weight of each other.
    made = sample(counting(3.0), inputs, tf.fill([400], 1), SEED, temperature=1.5)
    ids = made.inputs["token_ids"].numpy()
    follows = np.mean(ids[:, 1:] == (ids[:, :-1] + 1) % models.VOCABULARY)
    assert follows == pytest.approx(np.e**2 / (np.e**2 + 39), abs=0.02)
    other = sample(counting(3.0), inputs, tf.fill([400], 1), SEED + 1, temperature=1.5)
    assert (ids != other.inputs["token_ids"].numpy()).any()


def pair():
    return models.gpt2_causal(layers=2), models.gpt2_causal(layers=1)


def data(n=32):
    inputs = models.sentences(n)
    labels = tasks.next_tokens(**inputs)
    labels[:, :2] = -100
    return inputs, labels


def trained(lmbda, epochs=2, folder=None, callbacks=(), **options):
    keras.utils.set_random_seed(3)
    distiller = text.OnPolicyDistiller(*pair(), lmbda=lmbda, seed=5, **options)
    distiller.compile(keras.optimizers.Adam(1e-2))
    kept = [keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)] if folder else []
    fit = {"batch_size": 8, "shuffle": False, "verbose": 0, "epochs": epochs}
    history = distiller.fit(*data(), callbacks=[*callbacks, *kept], **fit)
    return distiller, history


def test_of_the_data_alone_it_is_a_distiller():
    ours, _ = trained(0.0)
    keras.utils.set_random_seed(3)
    loss = losses.GeneralizedJSD(0.5, only_labelled=True)
    plain = tfkd.Distiller(*pair(), loss, student_loss_weight=0.0)
    plain.compile(keras.optimizers.Adam(1e-2))
    plain.fit(*data(), batch_size=8, shuffle=False, verbose=0, epochs=2)
    for a, b in zip(ours.student.weights, plain.student.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_batches_are_sampled_as_often_as_said():
    distiller = text.OnPolicyDistiller(*pair(), lmbda=0.3, seed=0)
    inputs, labels = (tf.nest.map_structure(tf.constant, each) for each in data(4))
    given = tf.function(distiller._given_or_sampled)
    kept = [np.array_equal(given(inputs, labels)[1], labels) for _ in range(120)]
    assert np.mean(kept) == pytest.approx(0.7, abs=0.13)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [None, losses.ReverseKL(only_labelled=True)], ids=["gkd", "minillm"])
def test_it_learns_on_its_own_sequences(loss):
    _, history = trained(1.0, epochs=8, distillation_losses=loss)
    values = history.history["loss"]
    assert np.mean(values[-2:]) < 0.8 * values[0]


@pytest.mark.slow
def test_xla():
    keras.utils.set_random_seed(3)
    distiller = text.OnPolicyDistiller(*pair(), seed=5, max_new_tokens=3, end_id=3)
    distiller.compile(keras.optimizers.Adam(1e-2), jit_compile=True)
    history = distiller.fit(*data(), batch_size=8, verbose=0, epochs=2)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.slow
def test_it_resumes_to_the_same_weights(tmp_path):
    whole, _ = trained(0.5, epochs=3)
    trained(0.5, epochs=1, folder=tmp_path)
    resumed, history = trained(0.5, epochs=3, folder=tmp_path)
    assert history.epoch == [1, 2]
    for a, b in zip(whole.student.weights, resumed.student.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=a.path)


@pytest.mark.slow
def test_it_is_saved_and_trains_on(tmp_path):
    distiller, _ = trained(0.5, epochs=1, max_new_tokens=3, temperature=0.7)
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    assert (loaded.lmbda, loaded.temperature, loaded.max_new_tokens) == (0.5, 0.7, 3)
    loaded.teacher = distiller.teacher
    fit = {"batch_size": 8, "shuffle": False, "verbose": 0, "epochs": 2}
    logs = [each.fit(*data(), **fit).history["loss"] for each in (distiller, loaded)]
    np.testing.assert_allclose(*logs, rtol=1e-5)


@pytest.mark.slow
def test_under_tf_distribute(strategy):
    with strategy.scope():
        distiller = text.OnPolicyDistiller(*pair(), lmbda=1.0, seed=5)
        distiller.compile(keras.optimizers.Adam(1e-2))
    history = distiller.fit(*data(), batch_size=8, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_a_changed_share_takes_effect():
    distiller, _ = trained(0.0, epochs=1)
    step = distiller.constants()
    distiller.lmbda = 1.0
    assert distiller.constants() != step


@pytest.mark.parametrize(
    ("option", "value"),
    [("lmbda", 1.5), ("temperature", 0.0), ("max_new_tokens", 0), ("end_id", -1), ("pad_id", -1)],
)
def test_bad_numbers(option, value):
    with pytest.raises(ValueError, match=f"`{option}`"):
        text.OnPolicyDistiller(*pair(), **{option: value})


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (data()[0], None, "`y` is missing.*next_tokens"),
        ({"token_ids": data()[0]["token_ids"]}, data()[1], "`x` must be a dictionary.*padding_mask"),
    ],
    ids=["labels", "mask"],
)
def test_bad_data(x, y, message):
    distiller = text.OnPolicyDistiller(*pair())
    distiller.compile("adam")
    with pytest.raises(ValueError, match=message):
        distiller.fit(x, y, verbose=0)


def test_what_a_teacher_was_asked_before_is_of_no_use():
    teacher, student = pair()
    distiller = text.OnPolicyDistiller(teacher, student)
    distiller.compile("adam")
    cached = tfkd.cache_teacher(tf.data.Dataset.from_tensor_slices(data()).batch(8), teacher)
    with pytest.raises(ValueError, match=r"without tfkd\.cache_teacher"):
        distiller.fit(cached, verbose=0)
