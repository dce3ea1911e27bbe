"""What makes inputs: trained generators and procedural priors. Knows nothing of distillation."""

from generators.base import Generator
from generators.convolutional import ConvGenerator
from generators.dead_leaves import DeadLeaves
from generators.smooth_noise import SmoothNoise
from generators.strokes import Strokes

__all__ = ["ConvGenerator", "DeadLeaves", "Generator", "SmoothNoise", "Strokes"]
