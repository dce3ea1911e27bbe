import pytest

from tfkd._core.extras import require


def test_a_module_that_is_there_is_imported():
    assert require("json", "text", "A tokenizer").loads("1") == 1


def test_a_missing_module_names_the_extra():
    with pytest.raises(
        ImportError, match=r"A tokenizer needs no_such_module: pip install 'tfkd\[text\]'\."
    ):
        require("no_such_module", "text", "A tokenizer")
