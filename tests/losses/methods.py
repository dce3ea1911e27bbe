"""The registry of losses: how each is made and what it computes.

Tests and `benchmarks/distiller_step.py` draw from it; a new loss is one line here,
under its class's name in snake case. Further lines, under other names, are for further options.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tests.losses import oracles
from tfkd import losses


class Taps(NamedTuple):
    """Where losses look in a pair of networks: taps of the teacher, taps of the student."""

    middle: tuple = ("a", "b")
    several: tuple = (["a", "b"], ["c", "d"])
    # A batch normalization before a ReLU.
    before_relu: tuple = ("a", "b")
    last: tuple = ("a", "b")
    # One layer of each of two teachers in an ensemble.
    members: tuple = (["a", "b"], "c")
    # Embeddings, and logits of rank 2.
    ending: tuple = (["a", "b"], ["c", "d"])
    # Attention layers, of as many heads.
    attention: tuple = ("a", "b")


@dataclasses.dataclass(frozen=True)
class Method:
    """How one method is made and tested.

    Args:
        loss: its class, or what makes the loss out of taps and options.
        function: the pure function, of `(teacher, student, **options)`.
        oracle: the same in NumPy and float64.
        shapes: of teacher and student, by case; lists of shapes for several layers.
        at: which taps the loss takes; None for none, since it looks at outputs.
        needs: options without which it cannot be made.
        other: options away from their defaults.
        trained: whether the loss computes more than the function, with parts of its own.
        positive: whether the function takes values above 0.
        itself: its value for a student that is the teacher; None if it is not a distance.
        no_sequences: why it cannot take `(batch, positions, channels)`; empty if it can.
        leave_out: clauses of `tfkd.testing.check_loss` that cannot hold for the loss, with the reasons.
        never: clauses that cannot hold for the function either, with the reasons.
    """

    loss: Callable[..., losses.KnowledgeLoss]
    function: Callable
    oracle: Callable
    shapes: Mapping[str, tuple]
    at: str | None = None
    needs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    other: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    trained: bool = False
    positive: bool = False
    itself: float | None = 0.0
    no_sequences: str = ""
    leave_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    never: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def make(self, taps: Taps | None = None, **options) -> losses.KnowledgeLoss:
        """The loss, for networks with these taps, or for none."""
        where = getattr(taps or Taps(), self.at) if self.at else ()
        return self.loss(*where, **{**self.needs, **options})

    def values(self, case: str | None = None, seed: int = 1):
        """Values of teacher and student for the function, by the first case or another."""
        return self._drawn(self.shapes[case or next(iter(self.shapes))], seed)

    def inputs(self, shape: tuple | None = None):
        """Values of teacher and student for the loss, in the function's first shapes or another."""
        shapes = next(iter(self.shapes.values())) if shape is None else (shape, shape)
        if self.at == "several" and not isinstance(shapes[0], list):
            shapes = [[each, each] for each in shapes]
        if self.at == "members" and not isinstance(shapes[0], list):
            shapes = [[shapes[0], shapes[0]], shapes[1]]
        return self._drawn(shapes)

    def _drawn(self, shapes, seed=1):
        rng = np.random.default_rng(seed)

        def draw(shape):
            if isinstance(shape, list):
                return [draw(each) for each in shape]
            values = rng.normal(0, 3, shape).astype("float32")
            return np.exp(values) if self.positive else values

        return tuple(draw(shape) for shape in shapes)


def labels_like(teacher):
    """Labels of the teacher's logits: the classes it finds least likely."""
    return tf.argmin(teacher, axis=-1) if tf.is_tensor(teacher) else np.argmin(teacher, axis=-1)


def margins(t):
    return -0.1 * np.arange(1, t.shape[-1] + 1, dtype="float32")


def variances(t):
    return 0.5 * np.arange(1, t.shape[-1] + 1, dtype="float32")


LOGITS = {"batch": ((6, 5), (6, 5)), "batch of 1": ((1, 5), (1, 5)), "two classes": ((4, 2), (4, 2))}
LOGITS["tokens"] = ((3, 4, 5), (3, 4, 5))
LABELS = {**LOGITS, "one label": ((6, 1), (6, 1))}
MAPS = {"larger student": ((3, 4, 4, 5), (3, 8, 8, 5)), "uneven": ((1, 5, 5, 3), (1, 3, 3, 3))}
WIDTHS = {"other widths": ((4, 4, 4, 5), (4, 4, 4, 3)), "uneven": ((2, 3, 3, 2), (2, 5, 5, 4))}
ROWS = {"batch": ((6, 7), (6, 7)), "batch of 1": ((1, 7), (1, 7))}
EMBEDDINGS = {"other widths": ((6, 7), (6, 4)), "maps": ((5, 2, 2, 3), (5, 3, 3, 2))}
ALONE = {"batch of 1": ((1, 7), (1, 4))}
TWO_LAYERS = {
    "batch": ([(2, 4, 4, 5), (2, 2, 2, 5)],) * 2,
    "larger student": ([(1, 4, 4, 5), (1, 2, 2, 5)], [(1, 8, 8, 5), (1, 4, 4, 5)]),
}
TWO_TEACHERS = {
    "batch": ([(6, 5), (6, 5)], (6, 5)),
    "batch of 1": ([(1, 5), (1, 5)], (1, 5)),
    "three": ([(4, 3)] * 3, (4, 3)),
}
EMBEDDINGS_OF_TWO = {
    "other widths": ([(6, 7), (6, 3)], (6, 4)),
    "three": ([(5, 2, 2, 3)] * 3, (5, 6)),
}
SCORES = {"heads": ((3, 2, 4, 4), (3, 2, 4, 4)), "one token": ((1, 3, 1, 1), (1, 3, 1, 1))}
VECTORS = {"other widths": ((3, 4, 2, 5), (3, 4, 2, 3)), "one token": ((1, 1, 3, 2), (1, 1, 3, 2))}
# Four rows for each image.
ROTATED = {"batch": ([(16, 7), (16, 5)], [(16, 4), (16, 5)]), "one image": ([(4, 7), (4, 5)],) * 2}
ONE_ROW = {"one_example": "a batch holds four rows for each image"}
ATTENTION = "it looks into attention layers"
CONVOLUTIONS = "its convolutions need maps"

METHODS = {
    "soft_targets": Method(
        losses.SoftTargets, losses.soft_targets, oracles.soft_targets, LOGITS, other={"temperature": 4.0}
    ),
    "bernoulli_targets": Method(
        losses.BernoulliTargets,
        losses.bernoulli_targets,
        oracles.bernoulli_targets,
        LABELS,
        other={"temperature": 3.0},
    ),
    "mean_squared_error": Method(
        losses.MeanSquaredError, losses.mean_squared_error, oracles.mean_squared_error, LABELS
    ),
    "l1_logits": Method(losses.L1Logits, losses.l1_logits, oracles.l1_logits, LABELS),
    "decoupled_knowledge": Method(
        losses.DecoupledKnowledge,
        lambda t, s, **options: losses.decoupled_knowledge(t, s, labels_like(t), **options),
        lambda t, s, **options: oracles.decoupled_knowledge(t, s, labels_like(t), **options),
        LOGITS,
        other={"alpha": 2.0, "beta": 3.0, "temperature": 5.0},
    ),
    "dist": Method(
        losses.DIST,
        losses.dist,
        oracles.dist,
        LOGITS,
        other={"beta": 2.0, "gamma": 3.0, "temperature": 4.0},
    ),
    "logit_standardization": Method(
        losses.LogitStandardization,
        losses.logit_standardization,
        oracles.logit_standardization,
        LOGITS,
        other={"temperature": 3.0},
    ),
    "multi_level_logits": Method(
        losses.MultiLevelLogits,
        losses.multi_level_logits,
        oracles.multi_level_logits,
        LOGITS,
        other={"temperatures": (1.0, 2.0), "instance": 2, "batch": 3, "classes": 4},
    ),
    "teacher_free": Method(
        losses.TeacherFree,
        lambda t, s, **options: losses.teacher_free(s, labels_like(t), **options),
        lambda t, s, **options: oracles.teacher_free(s, labels_like(t), **options),
        LOGITS,
        other={"correct": 0.9, "temperature": 10.0},
        itself=None,
    ),
    "hint": Method(
        losses.Hint,
        losses.hint,
        oracles.hint,
        MAPS | ROWS,
        at="middle",
        needs={"projector": True},
        trained=True,
    ),
    "hint_of_chosen_channels": Method(
        losses.Hint,
        lambda t, s: losses.hint(t[..., 2:], s),
        lambda t, s: oracles.hint(t[..., 2:], s),
        {"wider teacher": ((3, 4, 4, 6), (3, 4, 4, 4))},
        at="middle",
        needs={"channels": [[0, 2, 3, 4]], "relative": True},
        trained=True,
        itself=None,
        no_sequences="its student must be thinner than its teacher",
    ),
    "cosine_embedding": Method(
        losses.CosineEmbedding,
        losses.cosine_embedding,
        oracles.cosine_embedding,
        LOGITS,
        at="last",
        needs={"projector": True},
        trained=True,
    ),
    "attention_transfer": Method(
        losses.AttentionTransfer,
        losses.attention_transfer,
        oracles.attention_transfer,
        WIDTHS,
        at="middle",
        other={"power": 3},
    ),
    "gradient_attention": Method(
        losses.GradientAttention,
        losses.gradient_attention,
        oracles.gradient_attention,
        ROWS,
        leave_out={"padding": "the labels' loss has no gradient by the padding of an input"},
    ),
    "fsp": Method(
        losses.FSP,
        losses.fsp,
        oracles.fsp,
        TWO_LAYERS,
        at="several",
        needs={"projector": True},
        trained=True,
    ),
    "similarity_preserving": Method(
        losses.SimilarityPreserving,
        losses.similarity_preserving,
        oracles.similarity_preserving,
        EMBEDDINGS | ALONE,
        at="last",
    ),
    "relational": Method(
        losses.Relational,
        losses.relational,
        oracles.relational,
        EMBEDDINGS | ALONE,
        at="last",
        other={"distance_weight": 1.0, "angle_weight": 2.0},
    ),
    "probabilistic_transfer": Method(
        losses.ProbabilisticTransfer,
        losses.probabilistic_transfer,
        oracles.probabilistic_transfer,
        EMBEDDINGS | ALONE,
        at="last",
    ),
    "correlation_congruence": Method(
        losses.CorrelationCongruence,
        losses.correlation_congruence,
        oracles.correlation_congruence,
        ROWS,
        at="last",
        needs={"projector": True},
        trained=True,
        leave_out={"sample_weight": "it pairs neighbours, and copies of an example are such"},
    ),
    "correlation_congruence_taylor": Method(
        losses.CorrelationCongruence,
        functools.partial(losses.correlation_congruence, kernel="taylor"),
        oracles.correlation_congruence_taylor,
        EMBEDDINGS | ALONE,
        at="last",
        needs={"kernel": "taylor"},
        other={"order": 3, "gamma": 0.5},
    ),
    "neuron_selectivity": Method(
        losses.NeuronSelectivity,
        losses.neuron_selectivity,
        oracles.neuron_selectivity,
        WIDTHS,
        at="middle",
    ),
    "factor_transfer": Method(
        losses.FactorTransfer,
        losses.factor_transfer,
        oracles.factor_transfer,
        WIDTHS,
        at="middle",
        other={"power": 2.0, "rate": 0.25},
        trained=True,
        no_sequences=CONVOLUTIONS,
        leave_out={"training": "its paraphraser is trained in a stage before"},
    ),
    "paraphrasing": Method(
        lambda *taps, **options: losses.FactorTransfer(*taps, **options).paraphrasing(),
        losses.hint,
        oracles.hint,
        MAPS,
        at="middle",
        other={"power": 2.0, "rate": 0.25},
        trained=True,
        no_sequences=CONVOLUTIONS,
        leave_out={
            "gradient": "it trains the paraphraser, not the student",
            "not_finite": "it does not look at the student",
            "training": "the translator is trained in a later stage",
        },
    ),
    "activation_boundary": Method(
        losses.ActivationBoundary,
        losses.activation_boundary,
        oracles.activation_boundary,
        MAPS | ROWS,
        at="before_relu",
        needs={"projector": True},
        other={"margin": 0.5},
        trained=True,
        itself=None,
    ),
    "variational_information": Method(
        losses.VariationalInformation,
        lambda t, s: losses.variational_information(t, s, variances(t)),
        lambda t, s: oracles.variational_information(t, s, variances(t)),
        MAPS | ROWS,
        at="middle",
        other={"initial_variance": 3.0},
        trained=True,
        itself=None,
    ),
    "overhaul": Method(
        losses.Overhaul,
        lambda t, s: losses.overhaul(t, s, margins(t)),
        lambda t, s: oracles.overhaul(t, s, margins(t)),
        MAPS | ROWS,
        at="before_relu",
        trained=True,
    ),
    "review_kd": Method(
        losses.ReviewKD,
        losses.review_kd,
        oracles.review_kd,
        MAPS | {"pixels": ((2, 8, 8, 2), (2, 8, 8, 2))},
        at="several",
        other={"width": 4},
        trained=True,
        no_sequences=CONVOLUTIONS,
    ),
    "contrastive": Method(
        losses.Contrastive,
        lambda t, s: losses.contrastive(s, 20),
        lambda t, s: oracles.contrastive(s, 20),
        ROWS,
        at="last",
        needs={"examples": 32, "negatives": 8, "dimension": 8, "seed": 1},
        other={"temperature": 0.1, "momentum": 0.2},
        trained=True,
        positive=True,
        itself=None,
        no_sequences="its embeddings are trained for one length",
        leave_out={
            "gradient": "the first batch sets its normalizer, a constant",
            "compiled": "XLA draws other negatives",
        },
    ),
    "singular_values": Method(
        losses.SingularValues,
        losses.singular_values,
        oracles.singular_values,
        TWO_LAYERS,
        at="several",
        needs={"projector": True},
        other={"k": 2},
        trained=True,
    ),
    "score_difference": Method(
        losses.ScoreDifference,
        lambda t, s, **options: losses.score_difference(s, **options),
        lambda t, s, **options: oracles.score_difference(s, **options),
        {case: shapes for case, shapes in LOGITS.items() if case != "two classes"},
        other={"k": 4},
        itself=None,
    ),
    "weighted_teachers": Method(
        lambda teachers, layer, **options: losses.WeightedTeachers(
            losses.Hint(None, layer, projector=True), teachers, **options
        ),
        losses.weighted_teachers,
        oracles.weighted_teachers,
        TWO_TEACHERS,
        at="members",
        needs={"weights": "learned"},
        trained=True,
        itself=None,
    ),
    "weighted_teachers_by_confidence": Method(
        lambda teachers, layer, **options: losses.WeightedTeachers(
            losses.SoftTargets(student_layer=layer), teachers, **options
        ),
        lambda t, s: losses.weighted_teachers(t, s, weights="confidence"),
        lambda t, s, **options: oracles.weighted_teachers(t, s, weights="confidence"),
        TWO_TEACHERS,
        at="members",
        other={"weights": "confidence"},
        itself=None,
    ),
    "relative_dissimilarity": Method(
        losses.RelativeDissimilarity,
        losses.relative_dissimilarity,
        oracles.relative_dissimilarity,
        EMBEDDINGS_OF_TWO,
        at="members",
        other={"margin": 0.5},
        itself=None,
    ),
    "weighted_soft_targets": Method(
        losses.WeightedSoftTargets,
        lambda t, s, **options: losses.weighted_soft_targets(t, s, labels_like(t), **options),
        lambda t, s, **options: oracles.weighted_soft_targets(t, s, labels_like(t), **options),
        LOGITS,
        other={"temperature": 3.0},
        never={"gradient": "the weights of examples are constants"},
    ),
    "inter_channel_correlation": Method(
        losses.InterChannelCorrelation,
        losses.inter_channel_correlation,
        oracles.inter_channel_correlation,
        MAPS,
        at="middle",
        trained=True,
    ),
    "inter_channel_correlation_of_patches": Method(
        losses.InterChannelCorrelation,
        functools.partial(losses.inter_channel_correlation, grid=(2, 4)),
        functools.partial(oracles.inter_channel_correlation, grid=(2, 4)),
        {"patches": ((3, 8, 8, 5), (3, 8, 8, 5))},
        at="middle",
        other={"grid": (2, 4)},
        trained=True,
        no_sequences="its patches are of maps",
    ),
    "simple_recipe": Method(
        losses.SimpleRecipe,
        losses.simple_recipe,
        oracles.simple_recipe,
        ROWS | {"maps": ((5, 2, 2, 3), (5, 3, 3, 3))},
        at="last",
        other={"exponent": 3.0},
        trained=True,
        itself=math.log(1e-5),
    ),
    "pearson_features": Method(
        losses.PearsonFeatures,
        losses.pearson_features,
        oracles.pearson_features,
        MAPS | ROWS,
        at="middle",
        needs={"projector": True},
        trained=True,
    ),
    "channel_wise": Method(
        losses.ChannelWise,
        losses.channel_wise,
        oracles.channel_wise,
        MAPS,
        at="middle",
        needs={"projector": True},
        other={"temperature": 2.0},
        trained=True,
    ),
    "prime_aware": Method(
        losses.PrimeAware,
        lambda t, s: losses.prime_aware(t, s, np.log(variances(t))),
        lambda t, s: oracles.prime_aware(t, s, np.log(variances(t))),
        MAPS | ROWS,
        at="middle",
        needs={"projector": True},
        trained=True,
        itself=None,
    ),
    "masked_generative": Method(
        losses.MaskedGenerative,
        losses.masked_generative,
        oracles.masked_generative,
        MAPS | ROWS,
        at="middle",
        needs={"projector": True, "seed": 2},
        other={"masked": 0.3},
        trained=True,
        no_sequences=CONVOLUTIONS,
        leave_out={"compiled": "XLA draws other masks"},
    ),
    "attention_guided": Method(
        losses.AttentionGuided,
        losses.attention_guided,
        oracles.attention_guided,
        MAPS,
        at="middle",
        other={
            "attention_weight": 1.0,
            "masked_weight": 0.1,
            "non_local_weight": 0.2,
            "temperature": 0.5,
        },
        trained=True,
        never={"gradient": "the masks are constants"},
    ),
    "self_supervised": Method(
        losses.SelfSupervised,
        losses.self_supervised,
        oracles.self_supervised,
        ROTATED,
        at="ending",
        other={
            "transformation_weight": 2.0,
            "similarity_weight": 3.0,
            "temperature": 2.0,
            "similarity_temperature": 0.7,
            "kept": 0.5,
        },
        trained=True,
        no_sequences="its rows are images",
        leave_out={
            "training": "the teacher's head is trained in a stage before",
            "sample_weight": "copies of an image would be others to tell it from",
        },
        never=ONE_ROW,
    ),
    "confidence_weighted": Method(
        lambda **options: losses.ConfidenceWeighted(losses.SoftTargets(2.0), **options),
        lambda t, s, **options: losses.soft_targets(t, s, 2.0) * losses.confidence_of_teacher(t, **options),
        lambda t, s, **options: (
            oracles.soft_targets(t, s, 2.0) * oracles.confidence_of_teacher(t, **options)
        ),
        LOGITS,
        other={"power": 2.0},
    ),
    "pretext_task": Method(
        lambda *taps, **options: losses.SelfSupervised(*taps, **options).pretext_task(),
        lambda t, s: losses.pretext_task(s[0]),
        lambda t, s: oracles.pretext_task(s[0]),
        ROTATED,
        at="ending",
        other={"temperature": 2.0},
        trained=True,
        itself=None,
        no_sequences="its rows are images",
        leave_out={
            "not_finite": "it does not look at the student",
            "training": "the student's head is trained in a later stage",
            "sample_weight": "copies of an image would be others to tell it from",
        },
        never={**ONE_ROW, "gradient": "it looks at one network's embeddings alone"},
    ),
    **{
        f"{name}_of_labels": Method(loss, function, oracle, LOGITS, needs={"only_labelled": True})
        for name, loss, function, oracle in (
            ("soft_targets", losses.SoftTargets, losses.soft_targets, oracles.soft_targets),
            ("reverse_kl", losses.ReverseKL, losses.reverse_kl, oracles.reverse_kl),
        )
    },
    "hidden_states": Method(
        losses.HiddenStates,
        losses.hidden_states,
        oracles.hidden_states,
        LOGITS,
        at="last",
        needs={"projector": True},
        trained=True,
    ),
    "patient_cls": Method(
        losses.PatientCLS,
        losses.patient_cls,
        oracles.patient_cls,
        ROWS,
        at="last",
        needs={"projector": True},
        trained=True,
    ),
    "cls_hint": Method(losses.CLSHint, losses.cls_hint, oracles.cls_hint, ROWS, at="last", trained=True),
    "masked_language_modeling": Method(
        losses.MaskedLanguageModeling,
        lambda t, s: losses.masked_language_modeling(s, labels_like(t)),
        lambda t, s: oracles.masked_language_modeling(s, labels_like(t)),
        LOGITS,
        itself=None,
    ),
    "causal_language_modeling": Method(
        losses.CausalLanguageModeling,
        lambda t, s: losses.causal_language_modeling(s, labels_like(t)),
        lambda t, s: oracles.causal_language_modeling(s, labels_like(t)),
        LOGITS,
        itself=None,
    ),
    "causal_language_modeling_of_tokens": Method(
        losses.CausalLanguageModeling,
        lambda t, s: losses.causal_language_modeling(s, labels_like(t), shift=True),
        lambda t, s, **options: oracles.causal_language_modeling(s, labels_like(t), shift=True),
        {"tokens": LOGITS["tokens"]},
        other={"shift": True},
        itself=None,
    ),
    "reverse_kl": Method(
        losses.ReverseKL, losses.reverse_kl, oracles.reverse_kl, LOGITS, other={"temperature": 3.0}
    ),
    "generalized_jsd": Method(
        losses.GeneralizedJSD,
        losses.generalized_jsd,
        oracles.generalized_jsd,
        LOGITS,
        other={"beta": 0.2, "temperature": 3.0},
    ),
    "attention_scores": Method(
        losses.AttentionScores,
        losses.attention_scores,
        oracles.attention_scores,
        SCORES,
        at="attention",
        no_sequences=ATTENTION,
    ),
    "attention_kl": Method(
        losses.AttentionKL,
        losses.attention_kl,
        oracles.attention_kl,
        SCORES,
        at="attention",
        no_sequences=ATTENTION,
    ),
    "self_attention_relations": Method(
        losses.SelfAttentionRelations,
        losses.self_attention_relations,
        oracles.self_attention_relations,
        VECTORS,
        at="attention",
        other={"heads": 1},
        no_sequences=ATTENTION,
    ),
}
