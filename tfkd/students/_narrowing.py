"""Projecting the weights of a transformer to smaller sizes."""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import layers

from tfkd._core.checks import check_int
from tfkd._core.graphs import copy_weights, nodes


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The requested sizes of a student; None for the teacher's."""

    hidden_dim: int | None
    num_heads: int | None
    intermediate_dim: int | None

    @property
    def given(self) -> bool:
        """Whether any size is given."""
        return any(each is not None for each in (self.hidden_dim, self.num_heads, self.intermediate_dim))

    def of(self, teacher: keras.Model, config: dict[str, Any]) -> dict[str, int]:
        """The student's sizes as config options; empty if they are the teacher's.

        Args:
            teacher: the teacher, for messages.
            config: config with the teacher's sizes.

        Raises:
            ValueError: if a size is larger than the teacher's, the heads do not divide the hidden states
                evenly, or the teacher's sizes are unknown.
        """
        if not self.given:
            return {}
        names = [field.name for field in dataclasses.fields(self)]
        if missing := [name for name in names if not isinstance(config.get(name), int)]:
            raise ValueError(
                "`hidden_dim`, `num_heads` and `intermediate_dim` are for keras-hub's BERT, RoBERTa, "
                f"DistilBERT and GPT-2 and models of their layers. Received: {teacher.name!r}, which has "
                f"no {', '.join(missing)}. Choose only layers, or build a student of another width by hand."
            )
        has = f"The teacher {teacher.name!r} has {{}}."
        hidden = check_int(
            "hidden_dim",
            self.hidden_dim or config["hidden_dim"],
            most=config["hidden_dim"],
            remedy=has.format(config["hidden_dim"]),
        )
        heads = check_int("num_heads", self.num_heads or config["num_heads"])
        if hidden % heads:
            raise ValueError(
                f"`num_heads` must divide `hidden_dim`. Received: num_heads={heads}, "
                f"hidden_dim={hidden}. Use "
                f"num_heads={next(each for each in range(heads, 0, -1) if hidden % each == 0)}."
            )
        inner = self.intermediate_dim or config["intermediate_dim"] * hidden // config["hidden_dim"]
        check_int(
            "intermediate_dim",
            inner,
            most=config["intermediate_dim"],
            remedy=has.format(config["intermediate_dim"]),
        )
        return {"hidden_dim": hidden, "num_heads": heads, "intermediate_dim": inner}


class Narrowing:
    """Copies a teacher's weights to a student's layers, projected if these are smaller.

    Args:
        teacher: the network whose hidden states become narrower.
        sizes: sizes of the student, from `Sizes.of`; empty if they are the teacher's.
    """

    def __init__(self, teacher: keras.Model, sizes: dict[str, int]) -> None:
        self._sizes = sizes
        self._basis, self._gain = np.eye(1), 1.0
        if sizes:
            table = np.asarray(token_table(teacher), "float64")
            self._basis, self._gain = _basis(table, sizes["hidden_dim"])

    def copy(self, old: keras.Layer, new: keras.Layer) -> None:
        """Copies the weights of a teacher's layer to the corresponding student layer."""
        if not self._sizes:
            copy_weights(old, new)
        elif hasattr(old, "_self_attention_layer"):
            self._copy_block(old, new)
        elif isinstance(old, layers.LayerNormalization):
            self._copy_norm(old, new)
        else:
            self._copy_plain(old, new)

    def _copy_block(self, old, new):
        self._copy_attention(old._self_attention_layer, new._self_attention_layer)
        self._copy_norm(old._self_attention_layer_norm, new._self_attention_layer_norm)
        self._copy_norm(old._feedforward_layer_norm, new._feedforward_layer_norm)
        inner, outer = old._feedforward_intermediate_dense, old._feedforward_output_dense
        (kernel, bias), (back, offset) = _weights(inner), _weights(outer)
        # The neurons with the largest effect on the hidden states.
        strength = np.linalg.norm(kernel, axis=0) * np.linalg.norm(back, axis=1)
        kept = np.sort(np.argsort(-strength, kind="stable")[: self._sizes["intermediate_dim"]])
        project = self._basis
        new._feedforward_intermediate_dense.set_weights([project.T @ kernel[:, kept], bias[kept]])
        new._feedforward_output_dense.set_weights([back[kept] @ project, offset @ project])

    def _copy_attention(self, old, new):
        if old.num_heads != new.num_heads:
            return
        query, key, value = (
            self._by_head(*_weights(getattr(old, f"{name}_dense"))) for name in ("query", "key", "value")
        )
        queries, keys = _factors(query @ key.transpose(0, 2, 1), new.key_dim)
        # Scores are divided by the square root of the head size, which is smaller now.
        factor = (new.key_dim / old.key_dim) ** 0.25
        output, offset = _weights(old.output_dense)
        values, outputs = _factors(value @ (output @ self._basis), new.key_dim)
        _set_by_head(new.query_dense, queries * factor)
        _set_by_head(new.key_dense, keys.transpose(0, 2, 1) * factor)
        _set_by_head(new.value_dense, values)
        new.output_dense.set_weights([outputs, offset @ self._basis])

    def _by_head(self, kernel, bias):
        """Kernel and bias `(heads, d + 1, head size)` for narrow hidden states with a 1 appended."""
        projected = np.einsum("dk,dhs->hks", self._basis, kernel)
        return np.concatenate([projected, bias[:, None, :]], axis=1)

    def _copy_norm(self, old, new):
        """Scales are per unit, not per direction; off-diagonal parts are dropped."""
        scale, offset = _weights(old)
        new.set_weights([self._gain * (self._basis**2).T @ scale, offset @ self._basis])

    def _copy_plain(self, old, new):
        found = []
        for name, before, after in zip(
            (weight.name for weight in old.weights), _weights(old), new.get_weights(), strict=True
        ):
            for axis, (was, is_now) in enumerate(zip(before.shape, after.shape, strict=True)):
                if was != is_now:
                    if (was, is_now) != self._basis.shape:
                        raise ValueError(
                            f"`teacher`: {name!r} of layer {old.name!r} ({type(old).__name__}) has shape "
                            f"{before.shape} but would need {after.shape}, which no projection of hidden "
                            "states gives. Choose only layers, or build the student by hand."
                        )
                    before = np.moveaxis(np.moveaxis(before, axis, -1) @ self._basis, -1, axis)
            found.append(before)
        new.set_weights(found)


def token_table(model: keras.Model) -> np.ndarray:
    """The token embeddings `(vocabulary, units)` of a network.

    Raises:
        ValueError: if it has no token embeddings.
    """
    layer = getattr(model, "token_embedding", None)
    if layer is None:
        found = [node.operation for node in nodes(model) if isinstance(node.operation, layers.Embedding)]
        layer = max(found, key=lambda each: each.input_dim, default=None)
    if layer is None:
        raise ValueError(
            f"`hidden_dim`: {model.name!r} has no token embeddings, which a narrower student needs for the "
            "projection. Choose only layers."
        )
    return layer.get_weights()[0]


def _weights(layer):
    return [np.asarray(each, "float64") for each in layer.get_weights()]


def _set_by_head(layer, found):
    joined = found.transpose(1, 0, 2)
    layer.set_weights([joined[:-1], joined[-1]])


def _basis(table, size):
    """Orthonormal directions `(units, size)`, and the factor that restores the states' length.

    Normalization removes the mean over units, that is, the direction of all ones. The student uses the same
    direction, so nothing else is lost.
    """
    units = table.shape[1]
    if size == units:
        return np.eye(units), 1.0
    centred = table - table.mean(axis=1, keepdims=True)
    # Computed from the Gram matrix, which has the same right singular vectors.
    energies, directions = np.linalg.eigh(centred.T @ centred)
    energies, directions = energies[::-1], directions[:, ::-1]
    ones = np.full((units, 1), units**-0.5)
    within = np.concatenate([directions[:, : size - 1], ones], axis=1)
    # A reflection that maps the last axis to the direction of all ones.
    last = np.eye(size)[-1]
    mirror = last - size**-0.5
    rotation = np.eye(size) - 2 * np.outer(mirror, mirror) / max(mirror @ mirror, 1e-12)
    kept = energies[: size - 1].sum() / max(energies.sum(), 1e-12)
    return within @ rotation, float(np.sqrt(kept * units / size))


def _factors(products, size):
    """The best low-rank factors `(heads, a, size)` and `(heads, size, b)` of matrices."""
    left, values, right = np.linalg.svd(products, full_matrices=False)
    root = np.sqrt(values[:, None, :size])
    return left[:, :, :size] * root, right[:, :size] * root.transpose(0, 2, 1)
