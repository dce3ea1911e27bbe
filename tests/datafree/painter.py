"""A generator whose images do not depend on each other."""

import math

import keras
from keras import layers

from generators import Generator
from tests.conftest import SHAPE


class Painter(Generator):
    """Images of six numbers, each image by itself."""

    def __init__(self):
        super().__init__(SHAPE, latent_size=6)
        self.dense = layers.Dense(math.prod(SHAPE), activation="sigmoid")
        self.dense.build((None, 6))

    def call(self, latents, labels=None, training=False):
        return keras.ops.reshape(self.dense(latents), (-1, *SHAPE))
