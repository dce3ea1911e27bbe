"""The package under both of its names."""

import pickle

import keras

import generators
import tfkd.generators
from tfkd.generators import Pictures


def test_both_names_are_one_module():
    assert tfkd.generators is generators
    assert Pictures is generators.Pictures


def test_files_and_pickles_know_one_name():
    assert keras.saving.get_registered_name(Pictures) == "tfkd>Pictures"
    assert pickle.loads(pickle.dumps(Pictures)) is generators.Pictures
    assert b"tfkd.generators" not in pickle.dumps(Pictures)
