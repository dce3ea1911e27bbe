"""EmbeddingDistillation: a small sentence encoder learns a larger one's vectors."""

import dataclasses
from collections.abc import Iterator
from typing import Annotated

import keras
from keras import layers

from tfkd import students
from tfkd._core.options import AtLeast, OneOf
from tfkd._core.token_marks import tokenizer_of
from tfkd.losses import CosineEmbedding, HiddenStates, KnowledgeLoss, MeanSquaredError, Relational
from tfkd.tasks import output_shape_of
from tfkd.text._bilstm import bilstm_classifier
from tfkd.text._layer_recipe import LayerRecipe
from tfkd.text._marking import marked
from tfkd.text._parts_of_models import layers_of, token_embedding


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddingDistillation(LayerRecipe):
    """A student that reproduces a sentence encoder's vectors, trained on any unlabelled texts.

    Vectors have the teacher's size regardless of the student's width, so that both can be used side by
    side. The student has no dropout, since its target vectors have no noise.

    Args:
        layers: as for `LayerRecipe`.
        hidden_dim: as for `LayerRecipe`; a student of another width ends in a linear layer to the teacher's
            size.
        network: "transformer" for a student made from the teacher's layers, "bilstm" for a recurrent one
            with its token embeddings.
        hidden: units of the LSTM in each direction, at least 1.
        cosine_weight: weight of one minus the vectors' cosine, at least 0.
        mse_weight: weight of their mean squared difference, at least 0; for unit vectors it equals 2 (1 -
            cosine) / dimensions.
        relational_weight: weight of the differences of distances and angles within a batch (RKD), at
            least 0.
        hidden_weight: weight of the mean squared difference of hidden states, for the layers inherited from
            the teacher, at least 0.
        **kwargs: the options of `TextRecipe`.

    Raises:
        ValueError: if a value is out of its range.

    Example:
        >>> data = tfkd.text.batches(sentences, tokenizer=tokenizer)
        >>> small = tfkd.text.EmbeddingDistillation(layers=3).distil(encoder, data)

    Reference:
        Reimers, Gurevych, "Making Monolingual Sentence Embeddings Multilingual using Knowledge
        Distillation", 2020, for the mean squared error of vectors, and the authors' examples with smaller
        students; Park et al., "Relational Knowledge Distillation", 2019. Deviations: the cosine replaces
        their mean squared error, whose gradients for unit vectors are so small that AdamW's epsilon damps
        them; the rate is theirs for a student initialized from the teacher's layers; hidden states and
        relations are additions.
    """

    network: Annotated[str, OneOf("transformer", "bilstm")] = "transformer"
    hidden: Annotated[int, AtLeast(1)] = 150
    cosine_weight: Annotated[float, AtLeast(0)] = 1.0
    mse_weight: Annotated[float, AtLeast(0)] = 0.0
    relational_weight: Annotated[float, AtLeast(0)] = 0.0
    hidden_weight: Annotated[float, AtLeast(0)] = 0.0
    learning_rate: float = 1e-4
    epochs: int = 1

    def idle(self) -> Iterator[tuple[str, str]]:
        yield from super().idle()
        if self.network == "transformer":
            yield "hidden", "a transformer has no LSTM"
        else:
            for option in ("layers", "hidden_dim", "hidden_weight"):
                yield option, "a BiLSTM does not inherit the teacher's layers"

    def student(self, teacher: keras.Model) -> keras.Model:
        size = output_shape_of(teacher)[-1]
        if self.network == "bilstm":
            return self._bilstm(teacher, size)
        student = students.without_dropout(super().student(teacher))
        if output_shape_of(student)[-1] == size:
            return student
        names = {layer.name: layer for layer in student.layers}
        if "pooling" not in names:
            raise ValueError(
                "`hidden_dim` can only differ for encoders from tfkd.text.sentence_encoder, whose pooling "
                f"is known. Received: teacher {teacher.name!r}. Leave `hidden_dim` at None."
            )
        normalized = "normalization" in names
        return _ending(student.input, names["pooling"].output, size, normalized, student.name)

    def _bilstm(self, teacher, size):
        table = token_embedding(teacher)
        if table is None:
            raise ValueError(
                f"`teacher` must read token ids with an embedding table. Received: {teacher.name!r} "
                "without one."
            )
        rows = keras.ops.convert_to_numpy(table.embeddings)
        known = tokenizer_of(teacher)
        body = bilstm_classifier(len(rows), 2, hidden=self.hidden, embeddings=rows, tokenizer=known)
        body.get_layer("token_embedding").trainable = self.train_embeddings
        normalized = any(isinstance(layer, layers.UnitNormalization) for layer in teacher.layers)
        return _ending(body.input, body.get_layer("bilstm").output, size, normalized, "bilstm_encoder")

    def losses(self, teacher: keras.Model, student: keras.Model) -> tuple[list[KnowledgeLoss], list[float]]:
        weighted: list[tuple[KnowledgeLoss, float]] = [
            (MeanSquaredError(), self.mse_weight),
            (CosineEmbedding(), self.cosine_weight),
            (Relational(), self.relational_weight),
        ]
        if self.hidden_weight:
            theirs, ours = layers_of(teacher, "teacher").hidden, layers_of(student, "student").hidden
            matched = [theirs[i] for i in self.inherited_layers(len(theirs))]
            weighted.append((HiddenStates(matched, ours), self.hidden_weight))
        used = [(loss, weight) for loss, weight in weighted if weight]
        return [loss for loss, _ in used], [weight for _, weight in used]


def _ending(inputs, pooled, size, normalized, name):
    """A sentence encoder on pooled hidden states, with vectors of another size."""
    x = layers.Dense(size, name="projection")(pooled)
    if normalized:
        x = layers.UnitNormalization(name="normalization", dtype="float32")(x)
    return marked(inputs, x, "sentence_embedding", name)
