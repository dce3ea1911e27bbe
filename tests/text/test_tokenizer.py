import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tests.text.folders import CHECKPOINTS, copied, minilm
from tfkd.text import Tokenizer, tokenizer_of

# As AutoTokenizer of transformers 5.24 gives them.
TEXTS = [
    "naïve café déjà ½ cup of straße",
    "Don't stop—it\u2019s 3½\u00d710² €",
    "",
    "日本語 and 中文 x",
    "[MASK] is\u00a0here\u200b",
    "\uff41\uff42\uff43 ﬁne Ⅷ",
    "Ångström ǅ İstanbul",
]
IDS = [
    [101, 15743, 7668, 2139, 3900, 1092, 2452, 1997, 2358, 27807, 102],
    [101, 2123, 1005, 1056, 2644, 1517, 2009, 1521, 1055, 1017, 13714, 26306, 10790, 10701, 1574, 102],
    [101, 102],
    [101, 1864, 1876, 1950, 1998, 1746, 1861, 1060, 102],
    [101, 103, 2003, 2182, 102],
    [101, 100, 1984, 2638, 100, 102],
    [101, 17076, 15687, 100, 9960, 102],
]
SMALL = ["The film is not bad.", "a moving movie", "naïve café ½", "", " two  spaces\n"]
SMALL_IDS = {
    "bert": [
        [2, 5, 7, 9, 11, 13, 22, 3],
        [2, 6, 14, 8, 3],
        [2, 18, 19, 20, 24, 3],
        [2, 3],
        [2, 1, 1, 3],
    ],
    "roberta": [
        [0, 265, 73, 225, 271, 273, 225, 272, 225, 275, 88, 225, 269, 18, 2],
        [0, 69, 264, 274, 264, 73, 2],
        [0, 276, 278, 225, 270, 132, 107, 225, 279, 2],
        [0, 2],
        [0, 225, 88, 91, 83, 225, 225, 87, 84, 69, 71, 73, 87, 203, 2],
    ],
    "gpt2": [
        [261, 69, 279, 269, 221, 268, 221, 271, 84, 277, 14],
        [65, 260, 270, 260, 69],
        [272, 274, 278, 276, 221, 275],
        # Nothing in transformers; here one real token that ends texts.
        [0],
        [221, 84, 87, 79, 221, 221, 83, 80, 65, 67, 69, 83, 199],
    ],
}
PAIRS = {
    "bert": [2, 6, 7, 3, 12, 3],
    "roberta": [0, 69, 225, 271, 273, 2, 2, 75, 83, 83, 72, 2],
    "gpt2": [65, 279, 269, 71, 79, 79, 68],
}


def rows(encoded):
    return [
        ids[: mask.sum()].tolist()
        for ids, mask in zip(encoded["token_ids"], encoded["padding_mask"], strict=True)
    ]


def small(kind="bert", **options):
    return Tokenizer(CHECKPOINTS / kind, **options)


@pytest.fixture(scope="module")
def real():
    return Tokenizer(minilm())


def test_ids_of_a_real_tokenizer_are_those_of_transformers(real):
    encoded = real(TEXTS)
    assert rows(encoded) == IDS
    assert {array.dtype.name for array in encoded.values()} == {"int32"}
    assert (encoded["token_ids"][encoded["padding_mask"] == 0] == real.pad_id).all()
    assert real.vocabulary[2143] == "film" and len(real.vocabulary) == 30522
    assert (real.pad_id, real.cls_id, real.sep_id, real.mask_id) == (0, 101, 102, 103)
    assert real.special_ids == {0, 100, 101, 102, 103}


def test_bert_needs_no_more_than_its_vocabulary(real, tmp_path):
    source = pathlib.Path(minilm())
    (tmp_path / "vocab.txt").write_bytes((source / "vocab.txt").read_bytes())
    plain = Tokenizer(tmp_path)
    assert rows(plain(TEXTS)) == IDS
    assert plain.fingerprint == real.fingerprint


@pytest.mark.parametrize("kind", SMALL_IDS)
def test_each_kind_of_tokenizer_is_exact(kind):
    tokenizer = small(kind)
    assert rows(tokenizer(SMALL)) == SMALL_IDS[kind]
    pair = tokenizer(["a film"], ["good"])
    assert pair["token_ids"][0].tolist() == PAIRS[kind]
    assert (pair["segment_ids"].max() == 1) == (kind != "roberta")


def test_gpt2_pads_with_the_token_that_ends_texts_and_says_so():
    tokenizer = small("gpt2")
    encoded = tokenizer(["a film", "good"])
    assert tokenizer.pad_id == 0 and "pads with '<|endoftext|>'" in repr(tokenizer)
    assert encoded["padding_mask"].sum(axis=1).tolist() == [3, 4]
    assert tokenizer.mask_id is None and tokenizer.cls_id is None


def test_settings_of_a_folder_are_followed(tmp_path):
    folder = copied("bert", tmp_path)
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    assert rows(Tokenizer(folder)(["The film"])) == [[2, 1, 7, 3]]


def test_long_texts_are_cut_counted_and_told():
    tokenizer = small(max_length=5)
    with pytest.warns(UserWarning, match="1 of 2 texts have more than 5 tokens and were truncated"):
        encoded = tokenizer(["a film is not a film", "film"])
    assert rows(encoded) == [[2, 6, 7, 9, 3], [2, 7, 3]]
    assert tokenizer.truncated == 1


def test_a_length_pads_and_cuts():
    tokenizer = small(max_length=8)
    assert tokenizer(["film"], length=6)["token_ids"].tolist() == [[2, 7, 3, 0, 0, 0]]
    with pytest.warns(UserWarning, match="more than 4 tokens"):
        assert rows(tokenizer(["a film is not"], length=4)) == [[2, 6, 7, 3]]
    assert rows(tokenizer(["a film is not"])) == [[2, 6, 7, 9, 11, 3]]
    with pytest.raises(ValueError, match=r"`length` must be an integer from 3 to 8"):
        tokenizer(["film"], length=9)


def test_what_a_file_says_of_padding_and_cutting_is_put_aside(real):
    # Its tokenizer.json pads everything to 128.
    assert real(["a film"])["token_ids"].shape == (1, 4)


def test_saved_tokenizers_are_the_same(tmp_path):
    for kind in SMALL_IDS:
        tokenizer = small(kind)
        path = tokenizer.save(tmp_path / kind)
        again = Tokenizer(path, max_length=64)
        assert rows(again(SMALL)) == SMALL_IDS[kind]
        assert again.fingerprint == tokenizer.fingerprint and again.pad_id == tokenizer.pad_id
    assert len({small(kind).fingerprint for kind in SMALL_IDS}) == 3


def test_ids_become_texts_again(real):
    encoded = real(["a film", "so good"])
    assert real.decode(encoded["token_ids"]) == ["a film", "so good"]
    assert real.decode(encoded["token_ids"][1]) == "so good"


def test_data_sets_are_tokenized():
    tokenizer = small(max_length=5)
    texts = tf.data.Dataset.from_tensor_slices((SMALL[:3], [0, 1, 2])).batch(2)
    (first, y), (last, _) = tokenizer.map(texts)
    assert rows({name: np.array(value) for name, value in first.items()}) == [
        [2, 5, 7, 9, 3],
        [2, 6, 14, 8, 3],
    ]
    assert y.numpy().tolist() == [0, 1] and last["token_ids"].shape == (1, 5)
    assert tokenizer.truncated == 2
    pairs = tf.data.Dataset.from_tensors(((["a film"], ["good"]),))
    (encoded,) = tokenizer.map(pairs, length=5)
    assert encoded["segment_ids"].shape == (1, 5)


def test_bytes_are_texts_too():
    assert rows(small()([b"a film", "café".encode()])) == [[2, 6, 7, 3], [2, 20, 3]]


@pytest.mark.parametrize(
    ("texts", "pairs", "error", "message"),
    [
        ("a film", None, TypeError, "`texts` must be a sequence of strings. Received one"),
        (["a", None], None, TypeError, "Received: None of type NoneType at index 1"),
        (["a", float("nan")], None, TypeError, "Received: nan of type float at index 1"),
        (["a", "b"], ["c"], ValueError, "Received: 1 for 2"),
    ],
)
def test_what_is_not_a_text_is_refused(texts, pairs, error, message):
    with pytest.raises(error, match=message):
        small()(texts, pairs)


def test_a_folder_without_tokenizer_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"contains no tokenizer.*config.json.*AutoTokenizer"):
        Tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(ValueError, match=r"cannot be read.*AutoTokenizer"):
        Tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[")
    with pytest.raises(ValueError, match="is not JSON"):
        Tokenizer(tmp_path)


def test_a_tokenizer_of_a_model_is_unknown_unless_marked(student):
    assert tokenizer_of(student) is None
