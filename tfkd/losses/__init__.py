"""Knowledge losses: what is transferred. One method a file, a pure function and a thin class.

Functions take the teacher's values first and return float32 values, one per example, or a scalar where
the method is defined on the batch.
"""

from tfkd.losses.activation_boundary import ActivationBoundary, activation_boundary
from tfkd.losses.attention_transfer import AttentionTransfer, attention_transfer
from tfkd.losses.base import KnowledgeLoss
from tfkd.losses.contrastive import Contrastive, contrastive
from tfkd.losses.correlation_congruence import CorrelationCongruence, correlation_congruence
from tfkd.losses.cosine_embedding import CosineEmbedding, cosine_embedding
from tfkd.losses.decoupled import DecoupledKnowledge, decoupled
from tfkd.losses.dist import DIST, dist
from tfkd.losses.factor_transfer import FactorTransfer, Paraphrasing, factor_transfer
from tfkd.losses.features import FeatureLoss, RelationLoss
from tfkd.losses.fsp import FSP, fsp
from tfkd.losses.gradient_attention import GradientAttention, gradient_attention
from tfkd.losses.hierarchical_context import Review, hierarchical_context
from tfkd.losses.hint import Hint, hint
from tfkd.losses.l1_logits import L1Logits, l1_logits
from tfkd.losses.label_smoothing_teacher import TeacherFree, label_smoothing_teacher
from tfkd.losses.logit_standardization import LogitStandardization, logit_standardization
from tfkd.losses.multi_level import MultiLevelLogits, multi_level
from tfkd.losses.neuron_selectivity import NeuronSelectivity, neuron_selectivity
from tfkd.losses.overhaul import Overhaul, overhaul
from tfkd.losses.probabilistic_transfer import ProbabilisticTransfer, probabilistic_transfer
from tfkd.losses.relational import Relational, relational
from tfkd.losses.similarity_preserving import SimilarityPreserving, similarity_preserving
from tfkd.losses.singular_values import SingularValues, singular_values
from tfkd.losses.soft_targets import SoftTargets, soft_targets
from tfkd.losses.variational_information import VariationalInformation, variational_information

__all__ = [
    "DIST",
    "FSP",
    "ActivationBoundary",
    "AttentionTransfer",
    "Contrastive",
    "CorrelationCongruence",
    "CosineEmbedding",
    "DecoupledKnowledge",
    "FactorTransfer",
    "FeatureLoss",
    "GradientAttention",
    "Hint",
    "KnowledgeLoss",
    "L1Logits",
    "LogitStandardization",
    "MultiLevelLogits",
    "NeuronSelectivity",
    "Overhaul",
    "Paraphrasing",
    "ProbabilisticTransfer",
    "RelationLoss",
    "Relational",
    "Review",
    "SimilarityPreserving",
    "SingularValues",
    "SoftTargets",
    "TeacherFree",
    "VariationalInformation",
    "activation_boundary",
    "attention_transfer",
    "contrastive",
    "correlation_congruence",
    "cosine_embedding",
    "decoupled",
    "dist",
    "factor_transfer",
    "fsp",
    "gradient_attention",
    "hierarchical_context",
    "hint",
    "l1_logits",
    "label_smoothing_teacher",
    "logit_standardization",
    "multi_level",
    "neuron_selectivity",
    "overhaul",
    "probabilistic_transfer",
    "relational",
    "similarity_preserving",
    "singular_values",
    "soft_targets",
    "variational_information",
]
