"""What makes inputs: trained generators and procedural priors. Knows nothing of distillation."""

from generators.base import Generator
from generators.conditional import ConditionalGenerator
from generators.convolutional import ConvGenerator
from generators.dead_leaves import DeadLeaves
from generators.noisy_label import NoisyLabelGenerator, default_embeddings
from generators.silhouettes import Silhouettes
from generators.smooth_noise import SmoothNoise
from generators.strokes import Strokes

__all__ = [
    "ConditionalGenerator",
    "ConvGenerator",
    "DeadLeaves",
    "Generator",
    "NoisyLabelGenerator",
    "Silhouettes",
    "SmoothNoise",
    "Strokes",
    "default_embeddings",
]
