"""What each recipe looks at and trains: layer maps, weights, frozen layers, assistants, data."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import harness
from tests.text import small_models as models
from tfkd import losses, schemes, tasks, text
from tfkd.text._trained_layers import trained_layers


def kinds(recipe, teacher, student):
    found, weights = recipe.losses(teacher, student)
    return {type(loss): weight for loss, weight in zip(found, weights, strict=True)}


@pytest.fixture(scope="module")
def twelve():
    return models.bert_classifier(layers=12, width=4)


@pytest.fixture(scope="module")
def four():
    return models.bert_classifier(layers=4, width=4)


def test_layers_of_distilbert():
    recipe = text.DistilBERT()
    assert recipe.inherited_layers(12) == [0, 2, 4, 7, 9, 11]
    assert recipe.inherited_layers(6) == [0, 2, 5]
    assert text.DistilBERT(layers=6).inherited_layers(12) == [0, 2, 4, 7, 9, 11]
    assert text.DistilBERT(layers=[1, 3]).inherited_layers(6) == [1, 3]
    assert recipe.inherited_layers(1) == [0]


def test_weights_of_distilbert():
    teacher = models.bert_masked(layers=1)
    expected = {losses.SoftTargets: 5.0, losses.CosineEmbedding: 1.0, losses.MaskedLanguageModeling: 2.0}
    assert kinds(text.DistilBERT(), teacher, teacher) == expected
    [stage] = text.DistilBERT().stages(teacher, models.bert_masked(layers=1))
    assert stage.student_loss_weight == 0
    classifier = models.bert_classifier(layers=1)
    assert losses.MaskedLanguageModeling not in kinds(text.DistilBERT(), classifier, classifier)
    student = models.bert_classifier(layers=1)
    [stage] = text.DistilBERT().stages(classifier, student)
    assert stage.student_loss_weight == pytest.approx(2 / 3)
    [stage] = text.DistilBERT().stages(classifier, student, labelled=False)
    assert stage.student_loss_weight == 0


def test_layers_of_tinybert(twelve):
    recipe = text.TinyBERT(hidden_dim=None)
    assert recipe.inherited_layers(12) == [2, 5, 8, 11]
    found, _ = recipe.losses(twelve, models.bert_classifier(layers=4, width=4))
    embeddings, hidden, attention = (loss.teacher_layer for loss in found)
    numbers = [name.split("/")[0].removeprefix("transformer_layer_") for name in attention]
    assert numbers == ["2", "5", "8", "11"]
    assert len(hidden) == 4 and hidden[:3] == [f"transformer_layer_{i}" for i in numbers[:3]]
    assert isinstance(embeddings, str)
    with pytest.raises(
        ValueError, match=r"`layers` must divide the teacher's 12 layers.*5 layers.*\[1, 2, 3, 4, 6\]"
    ):
        text.TinyBERT(layers=5).inherited_layers(12)


def test_stages_of_tinybert(four):
    student = models.bert_classifier(layers=2, width=4)
    recipe = text.TinyBERT(hidden_dim=None)
    first, second = recipe.stages(four, student)
    assert (first.epochs, second.epochs) == (20, 3)
    assert [type(loss) for loss in second.losses] == [losses.SoftTargets]
    assert second.losses[0].temperature == 1
    rates = [float(stage.optimizer.learning_rate) for stage in (first, second)]
    np.testing.assert_allclose(rates, [5e-5, 3e-5], rtol=1e-6)
    [general] = recipe.with_options(stage="general").stages(four, student)
    assert general.epochs == 3 and [type(x) for x in general.losses] == [type(x) for x in first.losses]


@pytest.mark.parametrize(
    ("strategy", "depth", "layers", "expected"),
    [
        ("skip", 12, 6, [1, 3, 5, 7, 9]),
        ("last", 12, 6, [6, 7, 8, 9, 10]),
        ("skip", 12, 3, [3, 7]),
        ("last", 12, 3, [9, 10]),
        ("skip", 6, 3, [1, 3]),
        ("skip", 6, 1, []),
    ],
)
def test_layers_of_patient_kd(strategy, depth, layers, expected):
    recipe = text.PatientKD(strategy=strategy, layers=layers)
    assert recipe.matched_layers(depth, layers) == expected
    assert recipe.inherited_layers(depth) == list(range(layers))


def test_weights_of_patient_kd(four):
    student = models.bert_classifier(layers=2, width=4)
    recipe = text.PatientKD(alpha=0.7, beta=500.0)
    assert kinds(recipe, four, student) == {losses.SoftTargets: 0.7, losses.PatientCLS: 500.0}
    [stage] = recipe.stages(four, student)
    # In proportion (1 - alpha) : alpha : beta.
    share = stage.student_loss_weight
    assert (1 - share) * 0.7 / share == pytest.approx(0.7 / 0.3)


def test_layer_and_heads_of_minilm_v2(twelve):
    student = models.bert_classifier(layers=1, width=4)
    [loss], _ = text.MiniLMv2(relation_heads=2).losses(twelve, student)
    assert loss.heads == 2 and set(loss.of) == {"queries", "keys", "values"}
    assert all("transformer_layer_11/" in tap for tap in loss.teacher_layer)
    large = models.bert_classifier(layers=24, width=4)
    [loss], _ = text.MiniLMv2(relation_heads=2).losses(large, student)
    assert all("transformer_layer_20/" in tap for tap in loss.teacher_layer)
    [loss], _ = text.MiniLMv2(relation_heads=2, teacher_layer=18).losses(large, student)
    assert all("transformer_layer_18/" in tap for tap in loss.teacher_layer)
    with pytest.raises(ValueError, match=r"`relation_heads` must divide 4.*relation_heads=64"):
        text.MiniLMv2().losses(large, student)
    with pytest.raises(ValueError, match="`teacher_layer` must be an index from 0 to 11"):
        text.MiniLMv2(teacher_layer=12, relation_heads=2).losses(twelve, student)


@pytest.mark.parametrize(
    ("layers", "width", "needed"), [(2, 4, True), (3, 4, False), (2, 8, False), (1, 2, True)]
)
def test_when_minilm_has_an_assistant(layers, width, needed):
    teacher = models.bert_encoder(layers=4, width=8)
    student = models.bert_encoder(layers=layers, width=width)
    assert text.MiniLM().needs_assistant(teacher, student) is needed
    assert text.MiniLM(assistant=not needed).needs_assistant(teacher, student) is not needed


def test_the_assistant_is_as_deep_as_the_teacher_and_as_wide_as_the_student():
    teacher, student = models.bert_encoder(layers=2, width=8), models.bert_encoder(layers=1, width=4)
    assistant = text.MiniLM().make_assistant(teacher, student)
    found = text.MiniLM().losses(teacher, assistant)[0][0]
    assert "transformer_layer_1/" in found.student_layer
    assert assistant.output_shape[-1] == 4


def test_what_a_stage_does_not_reach_is_not_trained(four):
    student = models.bert_classifier(layers=2, width=4)
    loss = losses.HiddenStates("transformer_layer_0", "transformer_layer_0")
    paths = trained_layers(student, [loss], labelled=False)
    assert paths is not None and any(path.startswith("transformer_layer_0") for path in paths)
    assert not any(path.startswith(("transformer_layer_1", "logits", "pool")) for path in paths)
    assert trained_layers(student, [loss], labelled=True) is None
    assert trained_layers(student, [losses.SoftTargets()], labelled=False) is None


@pytest.mark.slow
def test_a_stage_of_inner_layers_leaves_the_head_alone(four):
    student = models.bert_classifier(layers=2, width=4)
    head = student.get_layer("logits").get_weights()
    recipe = text.TinyBERT(hidden_dim=None, general_epochs=1, stage="general")
    recipe.fit(four, student, models.sentences(16), verbose=0)
    for a, b in zip(head, student.get_layer("logits").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(layer.trainable for layer in student.layers)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "frozen"),
    [
        ({}, ["position_embedding"]),
        ({"train_positions": True, "train_embeddings": False}, ["token_embedding"]),
        ({"train_embeddings": False}, ["position_embedding", "token_embedding"]),
    ],
    ids=["positions", "tokens", "both"],
)
def test_frozen_layers(options, frozen):
    teacher, student = models.bert_masked(layers=1), models.bert_masked(layers=1)
    names = "position_embedding", "token_embedding", "transformer_layer_0", "head_dense"
    before = {name: harness.snapshot(student.get_layer(name)) for name in names}
    inputs = models.sentences(16)
    recipe = text.DistilBERT(epochs=1, learning_rate=1e-2, **options)
    recipe.fit(teacher, student, inputs, inputs["token_ids"], verbose=0)
    for name, weights in before.items():
        check = harness.assert_same_weights if name in frozen else _assert_others
        check(weights, student.get_layer(name))
    assert student.get_layer("position_embedding").trainable


def _assert_others(before, layer):
    harness.assert_other_weights(before, layer.weights)


@pytest.mark.slow
def test_data_sets_with_labels_without_and_with_hidden_words():
    teacher = models.bert_classifier(layers=1)
    inputs = models.sentences(32)
    labels = inputs["token_ids"][:, 1] % models.CLASSES
    recipe = text.DistilBERT(epochs=2)
    labelled = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(16)
    history = recipe.fit(teacher, models.bert_classifier(layers=1), labelled, verbose=0)
    assert "accuracy" in history.history and "student_loss" in history.history
    alone = tf.data.Dataset.from_tensor_slices(inputs).batch(16)
    history = recipe.fit(teacher, models.bert_classifier(layers=1), alone, verbose=0)
    assert "accuracy" not in history.history
    hidden = alone.apply(text.mask_tokens(models.TOKENIZER))
    masked = models.bert_masked(layers=1)
    history = recipe.fit(masked, models.bert_masked(layers=1), hidden, verbose=0)
    assert "perplexity" in history.history and "masked_language_modeling" in history.history


def test_a_language_model_without_labels():
    teacher = models.bert_masked(layers=1)
    with pytest.raises(ValueError, match=r"`y` is missing: DistilBERT.*mask_tokens"):
        text.DistilBERT().fit(teacher, models.bert_masked(layers=1), models.sentences(8))


def test_the_learning_rate_falls_over_the_known_updates(four):
    student = models.bert_classifier(layers=1, width=4)
    [stage] = text.PatientKD().stages(four, student, updates=7)
    schedule = stage.optimizer._learning_rate
    assert (schedule.peak, schedule.updates) == (2e-5, 28)
    [stage] = text.PatientKD().stages(four, student)
    assert float(stage.optimizer.learning_rate) == pytest.approx(2e-5)


def test_biases_and_normalizations_do_not_decay(four):
    student = models.bert_classifier(layers=1, width=4)
    [stage] = text.PatientKD().stages(four, student)
    for variable in student.trainable_variables:
        decays = stage.optimizer._use_weight_decay(variable)
        assert decays is not variable.path.endswith(("bias", "gamma", "beta"))


def test_a_bilstm_begins_with_its_teachers_embeddings():
    teacher = models.bert_classifier(layers=1)
    student = text.BERTToBiLSTM(hidden=4, dense=4).student(teacher)
    table = student.get_layer("token_embedding")
    np.testing.assert_array_equal(table.embeddings, teacher.get_layer("token_embedding").embeddings)
    assert not table.trainable
    assert student.get_layer("bilstm").forward_layer.units == 4
    with pytest.raises(ValueError, match="`teacher` must be a classifier of token ids"):
        text.BERTToBiLSTM().student(models.bert_masked(layers=1))


def test_vectors_of_small_encoders_are_as_long_as_the_teachers():
    teacher = models.bert_encoder(layers=2, width=16)
    narrow = text.EmbeddingDistillation(layers=1, hidden_dim=8).student(teacher)
    recurrent = text.EmbeddingDistillation(network="bilstm", hidden=4).student(teacher)
    for student in (narrow, recurrent):
        vectors = student.predict(models.sentences(5), verbose=0)
        assert vectors.shape == (5, 16)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
        assert isinstance(tasks.marked_task(student), tasks.SentenceEmbedding)


def test_recipes_train_in_other_schemes(four):
    student = models.bert_classifier(layers=2, width=4)
    stages = text.TinyBERT(hidden_dim=None).stages(four, student)
    assert isinstance(schemes.Stages(stages), schemes.Stages)


@pytest.mark.parametrize("layers", [True, 1.5, (), (2, 1), (0, 0), (-1, 2)])
def test_bad_layers(layers):
    with pytest.raises(ValueError, match="`layers` must be a number of layers"):
        text.MiniLM(layers=layers)


def test_layers_that_there_are_not():
    with pytest.raises(ValueError, match="`layers` must be indices from 0 to 3"):
        text.MiniLM(layers=(0, 4)).inherited_layers(4)


@pytest.mark.slow
def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        teacher, student = models.bert_classifier(layers=2), models.bert_classifier(layers=1)
    finally:
        keras.config.set_dtype_policy("float32")
    history = text.TinyBERT(epochs=1, prediction_epochs=1, hidden_dim=None).fit(
        teacher, student, models.sentences(16), verbose=0
    )
    assert np.isfinite(history.history["loss"]).all()
