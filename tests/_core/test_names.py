"""Names that users type."""

import pytest

from tfkd._core.names import snake_case


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("DeadLeaves", "dead_leaves"),
        ("DFAD", "dfad"),
        ("CLSHint", "cls_hint"),
        ("PSAQViT", "psaq_vit"),
        ("ZeroQ", "zero_q"),
    ],
)
def test_snake_case(name, typed):
    assert snake_case(name) == typed
