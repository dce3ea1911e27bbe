"""GuidedPrior: procedural images that Markov chains move towards the teacher's training images."""

import dataclasses

from tfkd.datafree._parts import Priors
from tfkd.datafree.recipes._procedural import Procedural


@dataclasses.dataclass(frozen=True, kw_only=True)
class GuidedPrior(Procedural):
    """Images of the procedural prior that are typical for the teacher and clearly belong to a class.

    Few images from untrained generators resemble a teacher's training images: a Fashion-MNIST teacher
    classifies nearly all of them as 'bag'. Here the generators' latents move as Markov chains whose density
    is the prior's density times exp(-`statistics_weight` x distance) times p ** `class_weight`. The
    distance is between an image's statistics and those of the teacher's batch normalization; p is the
    probability of the chain's own class. So each class gets images, and all of them are images that the
    prior can draw, since no gradient changes their pixels. In the first `warmup_steps` only the chains
    move; images requested before that are like the prior's. A student that inherited weights learns more
    with `features=5`.

    When:
        The teacher takes grayscale images and has batch normalization.

    Args:
        **kwargs: the options of `Procedural`.

    Example:
        >>> student = tfkd.students.scale_width(teacher, 0.5, inherit=True)
        >>> tfkd.DataFreeDistiller(teacher, student, tfkd.datafree.GuidedPrior(features=5.0))

    Reference:
        This project's own; the chains follow Metropolis et al., 1953, with moves that redraw part of a
        latent.
    """

    prior: Priors = ("strokes", "silhouettes")
    candidates_per_image: int = 1
    balance: float = 0.0
    chains: int = 4096
    chain_moves: int = 8
    statistics_weight: float = 40.0
    refine_share: float = 0.0
    refine_steps: int = 0
    warmup_steps: int = 320
    batch_size: int = 128
    memory_dtype: str = "uint8"
    replay_steps: int = 9
    learning_rate: float = 6e-3
    epochs: int = 24
