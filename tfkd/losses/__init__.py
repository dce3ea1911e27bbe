"""Knowledge losses: one method per file, each a pure function and a thin class.

Functions take the teacher's values first and return float32 values, one per example, or a scalar where
the method is defined on the batch.
"""

from tfkd._core.renames import renamed as _renamed
from tfkd.losses._activation_boundary import ActivationBoundary, activation_boundary
from tfkd.losses._attention_guided import AttentionGuided, attention_guided
from tfkd.losses._attention_kl import AttentionKL, attention_kl
from tfkd.losses._attention_scores import AttentionScores, attention_scores
from tfkd.losses._attention_transfer import AttentionTransfer, attention_transfer
from tfkd.losses._base import Batch, KnowledgeLoss, as_float32, as_float32_pair
from tfkd.losses._bernoulli_targets import BernoulliTargets, bernoulli_targets
from tfkd.losses._causal_language_modeling import CausalLanguageModeling, causal_language_modeling
from tfkd.losses._channel_wise import ChannelWise, channel_wise
from tfkd.losses._cls_hint import CLSHint, cls_hint
from tfkd.losses._confidence_weighted import ConfidenceWeighted, confidence_of_teacher
from tfkd.losses._contrastive import Contrastive, contrastive
from tfkd.losses._correlation_congruence import CorrelationCongruence, correlation_congruence
from tfkd.losses._cosine_embedding import CosineEmbedding, cosine_embedding
from tfkd.losses._decoupled_knowledge import DecoupledKnowledge, decoupled_knowledge
from tfkd.losses._dist import DIST, dist
from tfkd.losses._factor_transfer import FactorTransfer, Paraphrasing, factor_transfer
from tfkd.losses._features import FeatureLoss
from tfkd.losses._fsp import FSP, fsp
from tfkd.losses._generalized_jsd import GeneralizedJSD, generalized_jsd
from tfkd.losses._gradient_attention import GradientAttention, gradient_attention
from tfkd.losses._hidden_states import HiddenStates, hidden_states
from tfkd.losses._hint import Hint, hint
from tfkd.losses._inter_channel_correlation import InterChannelCorrelation, inter_channel_correlation
from tfkd.losses._l1_logits import L1Logits, l1_logits
from tfkd.losses._logit_standardization import LogitStandardization, logit_standardization
from tfkd.losses._masked_generative import MaskedGenerative, masked_generative
from tfkd.losses._masked_language_modeling import MaskedLanguageModeling, masked_language_modeling
from tfkd.losses._mean_squared_error import MeanSquaredError, mean_squared_error
from tfkd.losses._multi_level_logits import MultiLevelLogits, multi_level_logits
from tfkd.losses._neuron_selectivity import NeuronSelectivity, neuron_selectivity
from tfkd.losses._overhaul import Overhaul, overhaul
from tfkd.losses._patient_cls import PatientCLS, patient_cls
from tfkd.losses._pearson_features import PearsonFeatures, pearson_features
from tfkd.losses._prime_aware import PrimeAware, prime_aware
from tfkd.losses._probabilistic_transfer import ProbabilisticTransfer, probabilistic_transfer
from tfkd.losses._relational import Relational, relational
from tfkd.losses._relative_dissimilarity import RelativeDissimilarity, relative_dissimilarity
from tfkd.losses._reverse_kl import ReverseKL, reverse_kl
from tfkd.losses._review_kd import ReviewKD, review_kd
from tfkd.losses._rotations import with_rotations
from tfkd.losses._score_difference import ScoreDifference, score_difference
from tfkd.losses._self_attention_relations import SelfAttentionRelations, self_attention_relations
from tfkd.losses._self_supervised import PretextTask, SelfSupervised, pretext_task, self_supervised
from tfkd.losses._similarity_preserving import SimilarityPreserving, similarity_preserving
from tfkd.losses._simple_recipe import SimpleRecipe, simple_recipe
from tfkd.losses._singular_values import SingularValues, singular_values
from tfkd.losses._soft_targets import SoftTargets, soft_targets
from tfkd.losses._teacher_free import TeacherFree, teacher_free
from tfkd.losses._variational_information import VariationalInformation, variational_information
from tfkd.losses._weighted_soft_targets import WeightedSoftTargets, weighted_soft_targets
from tfkd.losses._weighted_teachers import WeightedTeachers, weighted_teachers
from tfkd.losses._within import within

__all__ = [
    "DIST",
    "FSP",
    "ActivationBoundary",
    "AttentionGuided",
    "AttentionKL",
    "AttentionScores",
    "AttentionTransfer",
    "Batch",
    "BernoulliTargets",
    "CLSHint",
    "CausalLanguageModeling",
    "ChannelWise",
    "ConfidenceWeighted",
    "Contrastive",
    "CorrelationCongruence",
    "CosineEmbedding",
    "DecoupledKnowledge",
    "FactorTransfer",
    "FeatureLoss",
    "GeneralizedJSD",
    "GradientAttention",
    "HiddenStates",
    "Hint",
    "InterChannelCorrelation",
    "KnowledgeLoss",
    "L1Logits",
    "LogitStandardization",
    "MaskedGenerative",
    "MaskedLanguageModeling",
    "MeanSquaredError",
    "MultiLevelLogits",
    "NeuronSelectivity",
    "Overhaul",
    "Paraphrasing",
    "PatientCLS",
    "PearsonFeatures",
    "PretextTask",
    "PrimeAware",
    "ProbabilisticTransfer",
    "Relational",
    "RelativeDissimilarity",
    "ReverseKL",
    "ReviewKD",
    "ScoreDifference",
    "SelfAttentionRelations",
    "SelfSupervised",
    "SimilarityPreserving",
    "SimpleRecipe",
    "SingularValues",
    "SoftTargets",
    "TeacherFree",
    "VariationalInformation",
    "WeightedSoftTargets",
    "WeightedTeachers",
    "activation_boundary",
    "as_float32",
    "as_float32_pair",
    "attention_guided",
    "attention_kl",
    "attention_scores",
    "attention_transfer",
    "bernoulli_targets",
    "causal_language_modeling",
    "channel_wise",
    "cls_hint",
    "confidence_of_teacher",
    "contrastive",
    "correlation_congruence",
    "cosine_embedding",
    "decoupled_knowledge",
    "dist",
    "factor_transfer",
    "fsp",
    "generalized_jsd",
    "gradient_attention",
    "hidden_states",
    "hint",
    "inter_channel_correlation",
    "l1_logits",
    "logit_standardization",
    "masked_generative",
    "masked_language_modeling",
    "mean_squared_error",
    "multi_level_logits",
    "neuron_selectivity",
    "overhaul",
    "patient_cls",
    "pearson_features",
    "pretext_task",
    "prime_aware",
    "probabilistic_transfer",
    "relational",
    "relative_dissimilarity",
    "reverse_kl",
    "review_kd",
    "score_difference",
    "self_attention_relations",
    "self_supervised",
    "similarity_preserving",
    "simple_recipe",
    "singular_values",
    "soft_targets",
    "teacher_free",
    "variational_information",
    "weighted_soft_targets",
    "weighted_teachers",
    "with_rotations",
    "within",
]

__getattr__ = _renamed(
    __name__,
    {
        "RelationLoss": "FeatureLoss",
        "Review": "ReviewKD",
        "decoupled": "decoupled_knowledge",
        "hierarchical_context": "review_kd",
        "label_smoothing_teacher": "teacher_free",
        "multi_level": "multi_level_logits",
    },
)
