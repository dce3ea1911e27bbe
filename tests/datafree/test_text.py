"""Students of language models, taught on words in no order."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfkd
from generators import Words
from tests.conftest import small_network
from tfkd import datafree
from tfkd.datafree._memory import Memory
from tfkd.testing import check_recipe

VOCABULARY, CLASSES = 40, 2
TINY = {"batch_size": 16, "steps_per_epoch": 2, "epochs": 2}


def words(**options):
    """Word 10 + k is the k-th most frequent; even ones are of class 0, odd ones of class 1."""
    given = {"token_ids": range(10, VOCABULARY), "words": (2, 6), "start_id": 1, "end_id": 2, "length": 9}
    return Words(**{**given, **options})


@keras.saving.register_keras_serializable("tests")
class MaskedMean(layers.Layer):
    def call(self, values, mask):
        mask = ops.cast(mask, values.dtype)[..., None]
        return ops.sum(values * mask, axis=1) / ops.maximum(ops.sum(mask, axis=1), 1)


def classifier(width=8, length=None, name="language"):
    """What counts is the mean of the real tokens' embeddings after one hidden layer."""
    token_ids = keras.Input((length,), dtype="int32", name="token_ids")
    mask = keras.Input((length,), dtype="int32", name="padding_mask")
    hidden = layers.Embedding(VOCABULARY, width, name="embedding")(token_ids)
    hidden = layers.Dense(width, activation="tanh", name="block")(hidden)
    logits = layers.Dense(CLASSES, name="logits")(MaskedMean(name="pool")(hidden, mask))
    return keras.Model({"token_ids": token_ids, "padding_mask": mask}, logits, name=name)


def labels_of(token_ids):
    """Whether more words are odd than even."""
    token_ids = np.asarray(token_ids)
    signs = np.where(token_ids >= 10, np.where(token_ids % 2, 1, -1), 0)
    return (signs.sum(axis=1) > 0).astype("int32")


@pytest.fixture(scope="module")
def teacher():
    keras.utils.set_random_seed(3)
    model, made = classifier(), words(exponent=0.3)
    token_ids = made.sample(2048, seed=11)
    model.compile(
        keras.optimizers.Adam(3e-2), tfkd.tasks.Classification((2,)).label_loss(), metrics=["accuracy"]
    )
    model.fit(made.model_inputs(token_ids), labels_of(token_ids), epochs=6, batch_size=64, verbose=0)
    assert model.evaluate(made.model_inputs(token_ids), labels_of(token_ids), verbose=0)[1] > 0.95
    return model


RECIPES = {
    "words": datafree.ProceduralText(**TINY, prior=words(), features=0.0, learning_rate=1e-2),
    "balanced": datafree.ProceduralText(
        **TINY, prior=words(), features=0.0, candidates_per_image=2, balance=1.0, disagreement=0.5
    ),
    "remembered": datafree.ProceduralText(
        **TINY, prior=words(), features=0.0, memory=64, replay_steps=2, microbatches=2
    ),
    "walked": datafree.ProceduralText(
        **TINY, prior=words(), features=0.0, chains=32, chain_moves=3, warmup_steps=1, class_weight=2.0
    ),
    "sentences and phrases": datafree.ProceduralText(
        **TINY, prior=(words(), words(words=(1, 2))), features=1.0, feature_layers=(("block", "block"),)
    ),
}


@pytest.mark.slow
@pytest.mark.xla
@pytest.mark.parametrize("name", RECIPES)
def test_the_contract_of_recipes(teacher, name):
    check_recipe(RECIPES[name], teacher, classifier())


def distiller_of(teacher, recipe, student=None, seed=0, **options):
    keras.utils.set_random_seed(seed)
    student = classifier(name="student") if student is None else student
    distiller = tfkd.DataFreeDistiller(teacher, student, recipe, seed=seed)
    distiller.compile(**options)
    return distiller


@pytest.mark.slow
def test_words_teach_what_the_teacher_knows(teacher):
    recipe = datafree.ProceduralText(prior=words(), features=0.0, learning_rate=2e-2, batch_size=64)
    distiller = distiller_of(teacher, recipe, metrics=["accuracy"])
    made = words(exponent=0.3)
    token_ids = made.sample(512, seed=12)
    held_out = made.model_inputs(token_ids), labels_of(token_ids)
    history = distiller.fit(epochs=3, steps_per_epoch=40, validation_data=held_out, verbose=0).history
    assert history["val_accuracy"][-1] > 0.93 and history["agreement"][-1] > 0.93


def test_made_inputs_are_what_the_networks_take(teacher):
    distiller = distiller_of(teacher, RECIPES["words"])
    made = distiller.synthesize(20)
    assert list(made) == ["token_ids", "padding_mask"]
    assert all(values.shape == (20, 9) and values.dtype == np.int32 for values in made.values())
    np.testing.assert_array_equal(made["padding_mask"], made["token_ids"] != 0)
    assert teacher.predict(made, verbose=0).shape == (20, 2)
    assert distiller.made(3).shape == (3, 9)


def test_inputs_of_classes_are_those_the_teacher_is_surest_of(teacher):
    asked = np.array([0, 1, 1, 0, 1])
    for name in ("words", "walked"):
        made = distiller_of(teacher, RECIPES[name]).synthesize(5, asked)
        np.testing.assert_array_equal(teacher.predict(made, verbose=0).argmax(-1), asked)


def uneven():
    """Words of which only two are odd, so that the teacher sees few sentences of class 1."""
    return words(token_ids=[*range(10, 40, 2), 11, 13], words=(3, 6), exponent=0)


def share_of_class_1(teacher, n, **options):
    recipe = datafree.ProceduralText(prior=uneven(), features=0.0, batch_size=64, **options)
    made = distiller_of(teacher, recipe).synthesize(n)
    return teacher.predict(made, verbose=0).argmax(-1).mean()


def test_candidates_are_balanced_over_the_classes(teacher):
    plain = share_of_class_1(teacher, 512)
    assert plain < 0.15
    assert share_of_class_1(teacher, 512, candidates_per_image=4, balance=1.0) > 1.8 * plain


def test_chains_of_words_walk_to_the_classes_that_they_are_for(teacher):
    walking = {"chains": 64, "chain_moves": 60, "class_weight": 6.0}
    assert 0.3 <= share_of_class_1(teacher, 64, **walking) <= 0.6
    recipe = datafree.ProceduralText(prior=uneven(), features=0.0, batch_size=64, **walking)
    token_ids = distiller_of(teacher, recipe).made(64)
    assert (token_ids[:, 0] == 1).all() and ((token_ids >= 10).sum(axis=1) >= 3).all()


def test_hidden_states_are_compared_at_real_tokens_only(teacher):
    recipe = RECIPES["sentences and phrases"]
    student = classifier(name="student")
    (_, _), (cosine, weight) = recipe.build_student_losses(teacher, student, tfkd.tasks.task_of(teacher))
    assert isinstance(cosine, tfkd.losses.CosineEmbedding) and weight == 1
    assert (cosine.teacher_layer, cosine.student_layer) == (["block"], ["block"])


def test_a_memory_keeps_token_ids_as_they_are():
    memory = Memory(8, (4,), (2,), "int32")
    token_ids = np.array([[1, 30_000, 2, 0], [1, 7, 8, 2]], "int32")
    memory.add(token_ids, np.zeros((2, 2), "float32"))
    drawn, _ = memory.draw(6, keras.random.SeedGenerator(0))
    assert drawn.dtype == "int32" and {tuple(row) for row in drawn.numpy()} <= set(map(tuple, token_ids))


def test_health_looks_at_sentences(teacher):
    health = datafree.Health(images=32)
    distiller = distiller_of(teacher, RECIPES["words"], classifier(name="student"))
    distiller.student.set_weights(teacher.get_weights())
    distiller.fit(epochs=1, verbose=0, callbacks=[health])
    figures = distiller.history.history
    assert 0.3 < figures["health_diversity"][0] < 1 and figures["health_duplicates"][0] < 0.2
    assert health.findings == [] and figures["health_agreement"][0] > 0.8


def test_distances_of_sentences_are_shares_of_places():
    from tfkd.datafree.watching._diagnostics import token_distances

    token_ids = np.array([[1, 2, 3, 4], [1, 2, 5, 6], [1, 2, 3, 4]])
    np.testing.assert_array_equal(token_distances(token_ids), [[0, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0]])


def test_a_network_of_token_ids_alone_is_given_these(teacher):
    def network(name):
        token_ids = keras.Input((None,), dtype="int32", name="ids")
        hidden = layers.Embedding(VOCABULARY, 6, mask_zero=True)(token_ids)
        return keras.Model(token_ids, layers.Dense(2)(layers.GlobalAveragePooling1D()(hidden)), name=name)

    distiller = distiller_of(network("teacher"), RECIPES["words"], network("student"))
    distiller.fit(epochs=1, steps_per_epoch=1, verbose=0)
    made = distiller.synthesize(4)
    assert made.shape == (4, 9) and made.dtype == np.int32


def test_a_model_of_sentence_pairs_is_given_segments():
    def network(name):
        inputs = {
            key: keras.Input((9,), dtype="int32", name=key)
            for key in ("token_ids", "padding_mask", "segment_ids")
        }
        hidden = layers.Embedding(VOCABULARY, 4)(inputs["token_ids"])
        hidden = layers.Add()([hidden, layers.Embedding(2, 4)(inputs["segment_ids"])])
        pooled = MaskedMean()(hidden, inputs["padding_mask"])
        return keras.Model(inputs, layers.Dense(2)(pooled), name=name)

    distiller = distiller_of(network("teacher"), RECIPES["words"], network("student"))
    distiller.fit(epochs=1, steps_per_epoch=1, verbose=0)
    assert not distiller.synthesize(4)["segment_ids"].any()


def test_what_is_for_images_is_left_out_with_a_warning(teacher):
    recipe = datafree.Procedural(**TINY, prior=words(), student_flip=True, memory=64, memory_dtype="uint8")
    with pytest.warns(datafree.ObjectiveWarning) as caught:
        distiller = distiller_of(teacher, recipe)
    said = " ".join(str(each.message) for each in caught)
    assert "`refine_share`" in said and "which gradients cannot change" in said and "`student_flip`" in said
    assert "`memory_dtype`. Token ids are stored as they are" in said
    assert distiller.recipe.refine_steps == 0 and distiller.recipe.balance == 1.0
    distiller.fit(epochs=1, steps_per_epoch=1, verbose=0)


def test_a_record_of_the_recipe_does_not_list_the_vocabulary():
    described = RECIPES["words"].describe()
    assert described["prior"] == ["Words(30 words, words=(2, 6), exponent=1.0, length=9)"]
    assert described["name"] == "procedural_text"


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (
            datafree.Procedural(**TINY),
            "`recipe`: Procedural makes float inputs, but 'language' takes token",
        ),
        (datafree.DFAD(**TINY), "DFAD makes float inputs.*ProceduralText"),
        (datafree.ProceduralText(**TINY), r"`prior` must be generators of token ids, such as .*Words"),
        (
            datafree.ProceduralText(**TINY, prior=(words(), words(length=12))),
            "must have the same `length` and `pad_id`.*'words', 12, 0",
        ),
        (
            datafree.Procedural(**TINY, prior=(words(), "strokes")),
            r"`prior` must be generators of token ids only, or none of them; but \['strokes'\] make floats",
        ),
    ],
)
def test_what_a_language_model_does_not_take_is_refused(teacher, recipe, message):
    with pytest.raises(ValueError, match=message):
        tfkd.DataFreeDistiller(teacher, classifier(), recipe)


def test_sentences_are_not_for_image_teachers_nor_for_shorter_ones():
    with pytest.raises(ValueError, match="`prior` makes token ids, but teacher 'net' takes inputs"):
        tfkd.DataFreeDistiller(small_network(4), small_network(4), RECIPES["words"])
    with pytest.raises(
        ValueError, match=r"makes sequences of 9 tokens, but teacher 'language' takes 7.*length=7"
    ):
        tfkd.DataFreeDistiller(classifier(length=7), classifier(length=7), RECIPES["words"])


def test_words_of_another_tokenizer_are_refused():
    teacher = tfkd.text.mark_tokenizer(classifier(), "0123")
    tfkd.DataFreeDistiller(teacher, classifier(), RECIPES["words"])
    recipe = datafree.ProceduralText(**TINY, prior=words(tokenizer="4567"), features=0.0)
    with pytest.raises(ValueError, match=r"'words' makes ids of tokenizer 4567, .* takes those of 0123"):
        tfkd.DataFreeDistiller(teacher, classifier(), recipe)


def test_a_prior_with_weights_is_refused():
    from generators import ConvGenerator

    with pytest.raises(ValueError, match="`prior` must be procedural generators, which have no weights"):
        datafree.Procedural(prior=ConvGenerator((12, 12, 1), 4, 4))


def test_real_sentences_are_refused_with_the_remedy(teacher):
    distiller = distiller_of(teacher, RECIPES["words"])
    x = {key: values[:4] for key, values in distiller.synthesize(4).items()}
    with pytest.raises(ValueError, match=r"`x` must be None if inputs are token ids.*tfkd.Distiller"):
        distiller.fit(x, epochs=1)


def test_mixed_precision_students_learn_from_whole_token_ids(teacher):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        distiller = distiller_of(teacher, RECIPES["remembered"], classifier(name="student"))
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(distiller.fit(epochs=1, verbose=0).history["loss"]).all()
    # bfloat16 has no odd numbers above 256; what is drawn from the memory are ids all the same.
    assert distiller.memory.images.dtype == "int32"
