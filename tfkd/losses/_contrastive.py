"""CRD, contrastive representation distillation: one example against many others."""

import math

import keras
import tensorflow as tf
from keras import layers, ops

from tfkd._core.checks import check_int, check_number
from tfkd._core.replicas import gathered, own_rows
from tfkd.losses._base import KnowledgeLoss, Taps, as_float32, check_temperature
from tfkd.losses._maps import l2_normalized, without_padding
from tfkd.losses._relations import flat_pair

_EPSILON = 1e-7


def contrastive(scores, examples: int):
    """CRD: noise-contrastive estimation with one positive and many negative scores.

    Reduction: summed over the scores of an example, one value per example; the mean is the published value.
    Any temperature is already in the scores.

    Args:
        scores: `(batch, 1 + negatives)` above 0: exponentials of similarities divided by their normalizer,
            the positive first.
        examples: how many examples the negatives were drawn from, uniformly.

    Returns:
        A float32 tensor `(batch,)`, at least 0.

    Raises:
        ValueError: if there are no negatives, or no examples to draw from.

    Example:
        >>> contrastive([[1.0, 1.0, 1.0]], examples=100)

    Reference:
        Tian, Krishnan, Isola, "Contrastive Representation Distillation", 2020.
    """
    check_int("examples", examples)
    scores = as_float32(scores, "scores")
    if len(scores.shape) != 2 or scores.shape[1] < 2:
        raise ValueError(
            "`scores` must be (batch, 1 + negatives) with at least one negative. Received: shape "
            f"{tuple(scores.shape)}."
        )
    noise = (scores.shape[1] - 1) / examples
    positive, negatives = scores[:, 0], scores[:, 1:]
    right = ops.log(positive / (positive + noise + _EPSILON))
    wrong = ops.sum(ops.log(noise / (negatives + noise + _EPSILON)), axis=1)
    return -(right + wrong)


@keras.saving.register_keras_serializable(package="tfkd")
class Contrastive(KnowledgeLoss):
    """CRD: `contrastive` as a distiller loss, with trained embeddings and a memory of all examples.

    Needs the index of each example in the data set: train on `tfkd.with_index(dataset)` or on a data set
    from `tfkd.cache_teacher`. The memories hold `examples` times `dimension` numbers for each network.
    Under `tf.distribute` each replica keeps both, scores its own examples, and sends its embeddings and
    indices to the others (`2 * dimension + 1` numbers per example), so that all memories stay identical.

    Args:
        teacher_layer: tap of the teacher, usually the input of its last layer.
        student_layer: the same for the student.
        examples: how many examples the data set has.
        negatives: number drawn for each example; published value 16,384.
        temperature: divides the similarities; above 0.
        momentum: fraction of the old memory kept in an update, in [0, 1).
        dimension: size of the embeddings.
        seed: int seed of the draws and the initial memory; None for a random one.
        **kwargs: `name`.

    Raises:
        ValueError: if a number is out of its range.

    Example:
        >>> crd = Contrastive("logits:input", "logits:input", examples=60000, negatives=4096)
        >>> distiller = tfkd.Distiller(teacher, student, crd, "published")
        >>> distiller.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> distiller.fit(tfkd.with_index(dataset))

    Reference:
        Tian, Krishnan, Isola, "Contrastive Representation Distillation", 2020. Negatives are drawn from all
        examples, as in the authors' memory module; their data loader excludes the example's own class.
    """

    published_weight = 0.8

    def __init__(
        self,
        teacher_layer: Taps = None,
        student_layer: Taps = None,
        *,
        examples: int,
        negatives: int = 16384,
        temperature: float = 0.07,
        momentum: float = 0.5,
        dimension: int = 128,
        seed: int | None = None,
        **kwargs,
    ) -> None:
        super().__init__(teacher_layer, student_layer, **kwargs)
        self.options = {
            "examples": check_int("examples", examples),
            "negatives": check_int("negatives", negatives),
            "temperature": check_temperature(temperature),
            "momentum": check_number("momentum", momentum, least=0, below=1),
            "dimension": check_int("dimension", dimension),
            "seed": seed,
        }
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.embeddings = {}

    def build(self, teacher_shape, student_shape) -> None:
        rows = (self.options["examples"], self.options["dimension"])
        spread = 1 / math.sqrt(rows[1] / 3)
        sides = ("teacher", teacher_shape), ("student", student_shape)
        for who, shape in sides:
            if None in shape[1:]:
                raise ValueError(
                    f"`{who}_layer` must have a known size. Received: shape {tuple(shape)}. Tap the input "
                    "of the last layer, such as 'logits:input'."
                )
            dense = layers.Dense(rows[1], dtype="float32", name=f"{who}_embedding")
            dense.build((None, math.prod(shape[1:])))
            start = keras.initializers.RandomUniform(-spread, spread, seed=self.seed_generator)
            memory = self.add_weight(shape=rows, initializer=start, trainable=False, name=f"{who}_memory")
            # Fixed in the first batch; 0 until then.
            scale = self.add_weight(
                shape=(), initializer="zeros", trainable=False, name=f"{who}_normalizer"
            )
            setattr(self, f"{who}_embedding", dense)
            self.embeddings[who] = (dense, memory, scale)

    def call(self, teacher, student, index, mask=None, training: bool | None = None):
        if len(student.shape) == 3:
            teacher, student = without_padding(teacher, mask), without_padding(student, mask)
        flat = dict(zip(("teacher", "student"), flat_pair(teacher, student), strict=True))
        index = ops.cast(ops.reshape(index, (-1,)), "int64")
        # Each replica scores its own examples, with the negatives that one replica would draw for them.
        all_indexes = gathered(index)
        drawn = own_rows(self._draw(all_indexes), index)
        embedded = {who: l2_normalized(self.embeddings[who][0](x), 1) for who, x in flat.items()}
        value = 0.0
        for who, other in (("teacher", "student"), ("student", "teacher")):
            # Each network's embedding is scored against the memory of the other's.
            _, memory, scale = self.embeddings[other]
            similarities = ops.einsum("bd,bkd->bk", embedded[who], tf.gather(memory.value, drawn))
            scores = ops.exp(similarities / self.options["temperature"])
            value += contrastive(scores / self._normalizer(scale, scores), self.options["examples"])
        if training:
            # The embeddings of all replicas, so that every replica's memory stays the same.
            seen = gathered({who: ops.stop_gradient(x) for who, x in embedded.items()})
            for who, x in seen.items():
                self._remember(self.embeddings[who][1], all_indexes, x)
        return value

    def _draw(self, index):
        """Indices `(batch, 1 + negatives)`, each example's own first."""
        shape = (ops.shape(index)[0], self.options["negatives"])
        share = keras.random.uniform(shape, seed=self.seed_generator)
        last = self.options["examples"] - 1
        negatives = ops.minimum(ops.cast(share * (last + 1), "int64"), last)
        return ops.concatenate([index[:, None], negatives], axis=1)

    def _normalizer(self, variable, scores):
        of_examples = gathered(ops.stop_gradient(ops.mean(scores, axis=1)))
        first = ops.mean(of_examples) * self.options["examples"]
        scale = ops.where(variable.value > 0, variable.value, first)
        variable.assign(scale)
        return scale

    def _remember(self, memory, index, embedded):
        momentum = self.options["momentum"]
        mixed = momentum * tf.gather(memory.value, index) + (1 - momentum) * embedded
        # In place: assigning the whole variable would copy the memory on every step.
        memory.value.scatter_update(tf.IndexedSlices(l2_normalized(mixed, 1), index))

    def get_config(self) -> dict:
        return {**super().get_config(), **self.options}
