"""Knowledge losses: what is transferred. One method a file, a pure function and a thin class.

Functions take the teacher's values first and return float32 values, one per example, or a scalar where
the method is defined on the batch.
"""

from tfkd.losses._activation_boundary import ActivationBoundary, activation_boundary
from tfkd.losses._attention_transfer import AttentionTransfer, attention_transfer
from tfkd.losses._base import KnowledgeLoss
from tfkd.losses._bernoulli_targets import BernoulliTargets, bernoulli_targets
from tfkd.losses._contrastive import Contrastive, contrastive
from tfkd.losses._correlation_congruence import CorrelationCongruence, correlation_congruence
from tfkd.losses._cosine_embedding import CosineEmbedding, cosine_embedding
from tfkd.losses._decoupled import DecoupledKnowledge, decoupled
from tfkd.losses._dist import DIST, dist
from tfkd.losses._factor_transfer import FactorTransfer, Paraphrasing, factor_transfer
from tfkd.losses._features import FeatureLoss, RelationLoss
from tfkd.losses._fsp import FSP, fsp
from tfkd.losses._gradient_attention import GradientAttention, gradient_attention
from tfkd.losses._hint import Hint, hint
from tfkd.losses._l1_logits import L1Logits, l1_logits
from tfkd.losses._logit_standardization import LogitStandardization, logit_standardization
from tfkd.losses._mean_squared_error import MeanSquaredError, mean_squared_error
from tfkd.losses._multi_level import MultiLevelLogits, multi_level
from tfkd.losses._neuron_selectivity import NeuronSelectivity, neuron_selectivity
from tfkd.losses._overhaul import Overhaul, overhaul
from tfkd.losses._probabilistic_transfer import ProbabilisticTransfer, probabilistic_transfer
from tfkd.losses._relational import Relational, relational
from tfkd.losses._review_kd import Review, hierarchical_context
from tfkd.losses._similarity_preserving import SimilarityPreserving, similarity_preserving
from tfkd.losses._singular_values import SingularValues, singular_values
from tfkd.losses._soft_targets import SoftTargets, soft_targets
from tfkd.losses._teacher_free import TeacherFree, label_smoothing_teacher
from tfkd.losses._variational_information import VariationalInformation, variational_information

__all__ = [
    "DIST",
    "FSP",
    "ActivationBoundary",
    "AttentionTransfer",
    "BernoulliTargets",
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
    "MeanSquaredError",
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
    "bernoulli_targets",
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
    "mean_squared_error",
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
