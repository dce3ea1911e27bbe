"""A causal student that is taught on what its teacher writes."""

import keras
import numpy as np
import pytest

import tfkd
from tests.text import small_models as models
from tfkd import tasks, text
from tfkd.testing import check_recipe

TINY = {"length": 8, "batch_size": 16, "steps_per_epoch": 2, "epochs": 2, "memory": 64}
RECIPE = text.GeneratedText(**TINY, features=0.0, start_ids=(1,), end_id=2, replay_steps=2)


def follower(token_ids):
    """The token that mostly follows."""
    return 5 + (3 * token_ids + 1) % (models.VOCABULARY - 5)


def written(n, seed):
    """Texts in which a token follows from the one before, nine times in ten."""
    rng = np.random.default_rng(seed)
    token_ids = np.ones((n, models.TOKENS), "int32")
    for place in range(1, models.TOKENS):
        drawn = rng.integers(5, models.VOCABULARY, n)
        token_ids[:, place] = np.where(rng.random(n) < 0.9, follower(token_ids[:, place - 1]), drawn)
    inputs = {"token_ids": token_ids, "padding_mask": np.ones_like(token_ids)}
    return inputs, tasks.next_tokens(**inputs)


@pytest.fixture(scope="module")
def teacher():
    keras.utils.set_random_seed(5)
    model = models.gpt2_causal(layers=2)
    model.compile(keras.optimizers.Adam(1e-2), tasks.task_of(model).label_loss())
    model.fit(*written(2048, seed=1), epochs=4, batch_size=64, verbose=0)
    return model


def distiller_of(teacher, recipe, seed=0, **options):
    keras.utils.set_random_seed(seed)
    distiller = tfkd.DataFreeDistiller(teacher, models.gpt2_causal(layers=1), recipe, seed=seed)
    distiller.compile(**options)
    return distiller


@pytest.mark.slow
@pytest.mark.xla
def test_the_contract_of_recipes():
    recipe = RECIPE.with_options(length=4, batch_size=4, memory=8, replay_steps=1)
    # What is taken over is a memory, as that of other recipes; XLA takes its time over each loop.
    check_recipe(
        recipe,
        models.gpt2_causal(layers=1, width=8),
        models.gpt2_causal(layers=1, width=8),
        leave_out=["takes_over"],
    )


@pytest.mark.slow
def test_what_the_teacher_writes_teaches_its_student(teacher):
    recipe = text.GeneratedText(
        **{**TINY, "batch_size": 64, "memory": 1024}, features=0.0, start_ids=(1,), learning_rate=1e-2
    )
    distiller = distiller_of(teacher, recipe)
    inputs, labels = written(256, seed=2)
    task = distiller.task

    def perplexity(model):
        return task.score(model.predict(inputs, verbose=0), labels)["perplexity"]

    before, goal = perplexity(distiller.student), perplexity(teacher)
    history = distiller.fit(epochs=1, steps_per_epoch=50, verbose=0).history
    after = perplexity(distiller.student)
    assert before > 25 and goal < 4
    assert after < 1.3 * goal and history["agreement"][-1] > 0.7


def test_texts_are_written_by_the_teacher(teacher):
    distiller = distiller_of(teacher, RECIPE)
    made = distiller.synthesize(200)
    token_ids, mask = made["token_ids"], made["padding_mask"]
    assert token_ids.shape == (200, 8) and (token_ids[:, 0] == 1).all()
    follows = token_ids[:, 1:] == follower(token_ids[:, :-1])
    assert 0.6 < follows[mask[:, 1:] > 0].mean() < 0.98
    np.testing.assert_array_equal(made["token_ids"][mask == 0], 0)


def test_a_text_ends_at_its_end_and_may_begin_with_what_pads(teacher):
    recipe = text.GeneratedText(**TINY, features=0.0, start_ids=(7,), end_id=follower(7), pad_id=7)
    made = distiller_of(teacher, recipe).synthesize(64)
    ended = made["token_ids"][:, 1] == follower(7)
    assert ended.mean() > 0.5
    np.testing.assert_array_equal(made["token_ids"][ended, 2:], 7)
    np.testing.assert_array_equal(made["padding_mask"][ended], np.tile(np.arange(8) < 2, (ended.sum(), 1)))


def test_texts_begin_with_any_token_where_none_is_said(teacher):
    recipe = text.GeneratedText(**TINY, features=0.0)
    first = distiller_of(teacher, recipe).synthesize(400)["token_ids"][:, 0]
    assert first.min() == 0 and first.max() == models.VOCABULARY - 1 and len(np.unique(first)) > 30


def test_answers_for_a_whole_vocabulary_are_not_remembered(teacher):
    distiller = distiller_of(teacher, RECIPE)
    assert distiller.memory.logits is None and distiller.memory.images.shape == (64, 8)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (models.bert_classifier, "GeneratedText lets the teacher write, but .* is not a causal language"),
        (models.gpt2_causal, r"`pad_id` must be tokens of .*, below 40. Received: \[40\]"),
    ],
)
def test_refused(build, message):
    recipe = text.GeneratedText(**TINY, features=0.0, end_id=40)
    with pytest.raises(ValueError, match=message):
        tfkd.DataFreeDistiller(build(), build(), recipe)


def test_images_are_refused():
    from tests.conftest import small_network

    with pytest.raises(ValueError, match="`recipe` makes token ids, but teacher 'net' takes inputs"):
        tfkd.DataFreeDistiller(small_network(4), small_network(4), RECIPE)
