"""Generators of inputs: trained networks and procedural priors, independent of distillation."""

from generators._accepting import check_generator
from generators._base import Draw, Generator
from generators._conditional import ConditionalGenerator
from generators._convolutional import ConvGenerator
from generators._dead_leaves import DeadLeaves
from generators._dense import DenseGenerator
from generators._independent import Gaussian, Uniform, feature_ranges
from generators._noisy_label import NoisyLabelGenerator, default_embeddings
from generators._pictures import Pictures
from generators._probes import image_shape, probe_images
from generators._signals import Signals
from generators._silhouettes import Silhouettes
from generators._smooth_noise import SmoothNoise
from generators._strokes import Strokes
from generators._tokens import TokenGenerator, model_inputs
from generators._words import Words, whole_words

__all__ = [
    "ConditionalGenerator",
    "ConvGenerator",
    "DeadLeaves",
    "DenseGenerator",
    "Draw",
    "Gaussian",
    "Generator",
    "NoisyLabelGenerator",
    "Pictures",
    "Signals",
    "Silhouettes",
    "SmoothNoise",
    "Strokes",
    "TokenGenerator",
    "Uniform",
    "Words",
    "check_generator",
    "default_embeddings",
    "feature_ranges",
    "image_shape",
    "model_inputs",
    "probe_images",
    "whole_words",
]
