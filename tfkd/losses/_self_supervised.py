"""SSKD, distillation meets self-supervision: the teacher's outputs for rotated images."""

import math
from typing import Any

import keras
from keras import layers, ops
from typing_extensions import Self

from tfkd._core.checks import check_number
from tfkd.losses._base import KnowledgeLoss, Taps, as_float32, check_temperature
from tfkd.losses._features import float32_stack
from tfkd.losses._maps import l2_normalized, with_one_axis_from
from tfkd.losses._relations import example_mean, per_row
from tfkd.losses._rotations import VIEWS
from tfkd.losses._soft_targets import soft_targets
from tfkd.losses._softened import SoftenedLoss


def self_supervised(
    teacher,
    student,
    transformation_weight: float = 2.7,
    similarity_weight: float = 10.0,
    temperature: float = 4.0,
    similarity_temperature: float = 0.5,
    kept: float = 0.75,
    sample_weight=None,
):
    """SSKD: soft targets for rotated images, and for which image each was made from.

    A batch holds four consecutive rows for each image: the image and three rotations of it. The first part
    is `soft_targets` of the rotations. The second compares, for each rotation, the softmax of its cosine
    similarities with all images of the batch. Among rotations for which the teacher ranks another image
    first, only the fraction `kept` with the best ranks counts in the second part.

    Direction: KL(teacher || student) in both. Reduction: summed over classes or images, mean over the
    rotations that count, a scalar. Factor: squared temperature of each part. With a single image, the
    second part has no effect.

    Args:
        teacher: the teacher's `[embeddings, logits]`, `(batch, features)` and `(batch, classes)`.
        student: the student's; embeddings may have another width.
        transformation_weight: weight of the first part, at least 0.
        similarity_weight: weight of the second part, at least 0.
        temperature: divides the logits; above 0.
        similarity_temperature: divides the similarities; above 0.
        kept: fraction, in [0, 1], of the rotations for which the teacher ranks another image first.
        sample_weight: `(batch,)`; an image has the mean weight of its rows. Similarities are with all
            images.

    Returns:
        A float32 scalar, at least 0.

    Raises:
        ValueError: if the batch does not have four rows per image, shapes differ, or a number is out of its
            range.

    Example:
        >>> self_supervised([teacher_embeddings, teacher_logits], [student_embeddings, student_logits])

    Reference:
        Xu et al., "Knowledge Distillation Meets Self-Supervision", 2020. The paper can also drop rotations
        that the teacher misclassifies from the first part; the best fraction to keep was 1, that is, all.
    """
    check_number("transformation_weight", transformation_weight, least=0)
    check_number("similarity_weight", similarity_weight, least=0)
    check_number("kept", kept, least=0, most=1)
    check_temperature(similarity_temperature, "similarity_temperature")
    (embeddings_t, logits_t), (embeddings_s, logits_s) = teacher, student
    rotated_t, rotated_s = (_views(logits, "logits")[:, 1:] for logits in (logits_t, logits_s))
    weights = _rotation_weights(sample_weight, logits_s)
    transformed = ops.reshape(soft_targets(rotated_t, rotated_s, temperature), (-1,))
    own_t, own_s = (_similarities(embeddings) for embeddings in (embeddings_t, embeddings_s))
    similar = soft_targets(own_t, own_s, similarity_temperature)
    of_kept = weights * _best_ranked(own_t, kept)
    return transformation_weight * example_mean(transformed, weights) + (
        similarity_weight * example_mean(similar, of_kept)
    )


def pretext_task(embeddings, sample_weight=None):
    """SSKD: cross-entropy of finding the image that each rotation was made from, by cosine similarity.

    Reduction: mean over rotations, a scalar; 0 for a single image. No temperature.

    Args:
        embeddings: `(batch, features)`, four rows for each image: the image and three rotations of it.
        sample_weight: `(batch,)`; an image has the mean weight of its rows. Similarities are with all
            images.

    Returns:
        A float32 scalar, at least 0.

    Raises:
        ValueError: if the batch does not have four rows per image.

    Example:
        >>> pretext_task(embeddings)

    Reference:
        Xu et al., "Knowledge Distillation Meets Self-Supervision", 2020.
    """
    similarities = _similarities(embeddings)
    target = ops.one_hot(_own_images(similarities), ops.shape(similarities)[1], dtype="float32")
    values = -ops.sum(target * ops.log_softmax(similarities, axis=-1), axis=-1)
    return example_mean(values, _rotation_weights(sample_weight, embeddings))


def _views(values, argument):
    """`(images, 4, features)` of rows `(batch, features)`."""
    values = as_float32(values, argument)
    if len(values.shape) != 2 or (values.shape[0] or 0) % VIEWS:
        raise ValueError(
            f"`{argument}` must be (batch, features), with {VIEWS} rows for each image. Received: shape "
            f"{tuple(values.shape)}. Train on tfkd.losses.with_rotations(dataset)."
        )
    return ops.reshape(values, (-1, VIEWS, values.shape[1]))


def _similarities(embeddings):
    """`(rotations, images)`: cosines of each rotation with all images."""
    views = l2_normalized(_views(embeddings, "embeddings"), axis=-1)
    rotations = ops.reshape(views[:, 1:], (-1, views.shape[-1]))
    return ops.matmul(rotations, ops.transpose(views[:, 0]))


def _own_images(similarities):
    """The index of the image each rotation was made from."""
    return ops.arange(ops.shape(similarities)[0], dtype="int32") // (VIEWS - 1)


def _rotation_weights(sample_weight, rows):
    """float32 weights `(rotations,)`, one for each rotated image, equal to its original's weight."""
    if sample_weight is None:
        sample_weight = ops.ones_like(rows[:, 0], dtype="float32")
    images = ops.mean(ops.reshape(per_row(sample_weight, 1), (-1, VIEWS)), axis=1)
    return ops.repeat(images, VIEWS - 1, axis=0)


def _best_ranked(similarities, kept):
    """float32 `(rotations,)`: 1 if its own image ranks first, and for the kept fraction of the rest."""
    images = ops.shape(similarities)[1]
    own = ops.one_hot(_own_images(similarities), images, dtype="float32")
    similarity = ops.sum(own * similarities, axis=1, keepdims=True)
    # A rotation's own image is not another one, despite rounding.
    nearer = ops.where(own > 0, False, similarities > similarity)
    ranks = ops.sum(ops.cast(nearer, "int32"), axis=1)
    rotations = ops.shape(ranks)[0]
    # Ranks without ties: equal ones are ordered by index.
    places = ranks * rotations + ops.arange(rotations, dtype="int32")
    wrong = ops.sum(ops.cast(ranks > 0, "int32"))
    count = rotations - wrong + ops.cast(ops.floor(kept * ops.cast(wrong, "float32")), "int32")
    last = ops.take(ops.sort(places), ops.maximum(count - 1, 0))
    return ops.cast((places <= last) & (count > 0), "float32")


@keras.saving.register_keras_serializable(package="tfkd")
class SelfSupervised(SoftenedLoss):
    """SSKD: `self_supervised` as a distiller loss, with a trained head for each network's embeddings.

    The data need four rows per image, as `with_rotations` makes them. The teacher's head is trained first,
    in a stage with `pretext_task()` alone; this loss does not change it.

    Args:
        teacher_layer: taps of the teacher's embeddings, usually the input of its last layer, and logits.
        student_layer: the same for the student.
        transformation_weight: weight of the soft targets of rotations, at least 0.
        similarity_weight: weight of the similarities, at least 0.
        temperature: divides the logits; above 0.
        similarity_temperature: divides the similarities; above 0.
        kept: fraction, in [0, 1], of the rotations for which the teacher ranks another image first.
        **kwargs: `across_replicas`, `name`.

    Raises:
        ValueError: if a number is out of its range, or a network does not have two taps.

    Example:
        >>> at = ["logits:input", "logits"]
        >>> loss = SelfSupervised(at, at)
        >>> pretext = tfkd.schemes.Stage(
        ...     loss.pretext_task(), epochs=60, student_loss_weight=0.0, trainable=[]
        ... )
        >>> soft_targets = tfkd.losses.SoftTargets(temperature=4.0)
        >>> stages = tfkd.schemes.Stages(
        ...     [pretext, tfkd.schemes.Stage([soft_targets, loss], epochs=240, loss_weights=[9.0, 10.0])]
        ... )
        >>> stages.fit(teacher, student, with_rotations(dataset), loss=labels_loss)

    Reference:
        Xu et al., "Knowledge Distillation Meets Self-Supervision", 2020. Weights are the published ones
        divided by the labels' weight, 0.1. See `self_supervised`.
    """

    published_weight = 10.0
    over_batch = True

    def __init__(
        self,
        teacher_layer: Taps = None,
        student_layer: Taps = None,
        transformation_weight: float = 2.7,
        similarity_weight: float = 10.0,
        temperature: float = 4.0,
        similarity_temperature: float = 0.5,
        kept: float = 0.75,
        **kwargs,
    ) -> None:
        super().__init__(temperature, teacher_layer=teacher_layer, student_layer=student_layer, **kwargs)
        for who, at in (("teacher", self.teacher_layer), ("student", self.student_layer)):
            if not isinstance(at, list) or len(at) != 2:
                raise ValueError(
                    f"`{who}_layer` must be two taps, of embeddings and of logits, such as "
                    f"['logits:input', 'logits']. Received: {at!r}."
                )
        self.options = {
            "transformation_weight": check_number("transformation_weight", transformation_weight, least=0),
            "similarity_weight": check_number("similarity_weight", similarity_weight, least=0),
            "similarity_temperature": check_temperature(similarity_temperature, "similarity_temperature"),
            "kept": check_number("kept", kept, least=0, most=1),
        }

    def build(self, teacher_shape, student_shape) -> None:
        self.teacher_head = _head(teacher_shape[0], "teacher_head")
        self.student_head = _head(student_shape[0], "student_head")

    def call(self, teacher, student, sample_weight=None):
        embeddings = ops.stop_gradient(self.embed_teacher(teacher[0]))
        own = self.student_head(_flat(student[0], "student"))
        return self_supervised(
            [embeddings, teacher[1]],
            [own, student[1]],
            temperature=self.divisor,
            sample_weight=sample_weight,
            **self.options,
        )

    def embed_teacher(self, embeddings) -> Any:
        """The output of the teacher's head for its embeddings."""
        return self.teacher_head(_flat(embeddings, "teacher"))

    def pretext_task(self) -> "PretextTask":
        """The loss that trains the teacher's head: finding the image of each rotation."""
        return PretextTask(self)

    def get_config(self) -> dict:
        return {**super().get_config(), **self.options}


@keras.saving.register_keras_serializable(package="tfkd")
class PretextTask(KnowledgeLoss):
    """Trains the teacher's head of a `SelfSupervised`: `pretext_task` of its embeddings.

    Args:
        transfer: the loss whose head is trained.
        **kwargs: `name`.

    Example:
        >>> pretext = SelfSupervised(["logits:input", "logits"], ["logits:input", "logits"]).pretext_task()
        >>> tfkd.schemes.Stage(pretext, epochs=60, student_loss_weight=0.0, trainable=[])

    Reference:
        Xu et al., "Knowledge Distillation Meets Self-Supervision", 2020.
    """

    over_batch = True

    def __init__(self, transfer: SelfSupervised, **kwargs) -> None:
        taps = {"teacher_layer": transfer.teacher_layer, "student_layer": transfer.student_layer}
        super().__init__(across_replicas=transfer.across_replicas, **{**kwargs, **taps})
        self.transfer = transfer

    def build(self, teacher_shape, student_shape) -> None:
        if not self.transfer.built:
            self.transfer.build(teacher_shape, student_shape)

    def call(self, teacher, student, sample_weight=None):
        return pretext_task(self.transfer.embed_teacher(teacher[0]), sample_weight)

    def get_config(self) -> dict:
        return {"name": self.name, "transfer": keras.saving.serialize_keras_object(self.transfer)}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        transfer = keras.saving.deserialize_keras_object(config["transfer"])
        return cls(transfer, name=config["name"])


def _head(shape, name):
    """Two dense layers of the embeddings' width."""
    features = math.prod(shape[1:])
    hidden = layers.Dense(features, activation="relu", dtype="float32")
    head = float32_stack([hidden, layers.Dense(features, dtype="float32")], name)
    head.build((None, features))
    return head


def _flat(embeddings, argument):
    return with_one_axis_from(as_float32(embeddings, argument), 1)
