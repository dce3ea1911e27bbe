import keras
import keras_hub
import numpy as np
import pytest
from scipy.special import erf

from tfkd import text


def bert(**options):
    sizes = {
        "vocabulary_size": 20,
        "num_layers": 2,
        "num_heads": 2,
        "hidden_dim": 8,
        "intermediate_dim": 16,
    }
    backbone = keras_hub.models.BertBackbone(**{**sizes, "max_sequence_length": 8, **options})
    for weight in backbone.trainable_variables:
        weight.assign(weight + keras.random.normal(weight.shape, seed=3) * 0.3)
    return backbone


def x():
    ids = np.arange(1, 9, dtype="int32").reshape(2, 4)
    return {"token_ids": ids, "padding_mask": np.ones_like(ids), "segment_ids": 0 * ids}


def states(model):
    return np.array(model(x())["sequence_output"])


def test_the_function_is_the_one_of_the_paper():
    values = np.linspace(-4, 4, 41)
    layer = text.exact_gelu(bert()).transformer_layers[0]
    expected = values * (1 + erf(values / np.sqrt(2))) / 2
    np.testing.assert_allclose(layer.activation(values.astype("float32")), expected, atol=1e-6)


def test_weights_stay_and_outputs_differ_a_little():
    backbone = bert()
    exact = text.exact_gelu(backbone)
    assert exact is not backbone and isinstance(exact, keras_hub.models.BertBackbone)
    assert 0 < np.abs(states(exact) - states(backbone)).max() < 0.1
    assert text.exact_gelu(exact) is exact


def test_files_configurations_and_clones_keep_it(tmp_path):
    exact = text.exact_gelu(bert(dtype="float32"))
    exact.save(tmp_path / "exact.keras")
    loaded = keras.models.load_model(tmp_path / "exact.keras")
    assert type(loaded) is type(exact)
    made = type(exact).from_config(exact.get_config())
    cloned = keras.models.clone_model(exact)
    nested = keras.Model(exact.input, exact(exact.input)["sequence_output"])
    nested.save(tmp_path / "nested.keras")
    for model in (made, cloned):
        model.set_weights(exact.get_weights())
    for model in (loaded, made, cloned):
        np.testing.assert_array_equal(states(model), states(exact))
    again = keras.models.load_model(tmp_path / "nested.keras")
    np.testing.assert_array_equal(again(x()), states(exact))


def test_other_backbones_do_not_mix_their_classes():
    albert = keras_hub.models.AlbertBackbone(
        vocabulary_size=20, num_layers=2, num_heads=2, embedding_dim=4, hidden_dim=8, intermediate_dim=16
    )
    first, second = text.exact_gelu(bert()), text.exact_gelu(albert)
    for model, kind in ((first, "BertBackbone"), (second, "AlbertBackbone")):
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
        assert isinstance(again, getattr(keras_hub.models, kind))


def test_mixed_precision_is_kept():
    exact = text.exact_gelu(bert(dtype="mixed_bfloat16"))
    assert exact.transformer_layers[0].compute_dtype == "bfloat16"
    assert states(exact).dtype.name == "bfloat16"


def test_what_has_no_gelu_is_refused(student):
    with pytest.raises(ValueError, match=r"`backbone` must be a keras-hub backbone.*activation='gelu'"):
        text.exact_gelu(student)
    llama = keras_hub.models.LlamaBackbone(20, 1, 2, 8, 16, 1)
    with pytest.raises(ValueError, match="has no approximate GELU"):
        text.exact_gelu(llama)
