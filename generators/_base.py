"""The common interface of all generators: standard-normal latents in, inputs out."""

from typing import Any, ClassVar, NamedTuple

import keras
from keras import ops

from generators._checks import check_int, check_shape


class Draw(NamedTuple):
    """The random values that a batch of inputs is made from; see `Generator.draw`.

    Args:
        latent: float32 `(n, latent_size)`, standard-normal values.
        labels: int32 `(n,)`, the classes to make; None if the generator is not class-conditional.
    """

    latent: Any
    labels: Any = None


class Generator(keras.Model):
    """Maps standard-normal latents to inputs; the base class of trained networks and procedural priors.

    A subclass calls `super().__init__` with the shape of its inputs and implements
    `call(latent, labels=None, training=None)`; a class-conditional one also sets `classes`. Nothing else
    is required. Keras may create weights on the first call: before training, `check_generator` calls the
    generator once.

    A generator is a deterministic function of its latent, labels and weights, so all randomness of a run
    comes from one place: the `keras.random.SeedGenerator` used for drawing. A procedural prior is a
    generator without weights.

    Args:
        image_shape: the shape of one input, with any number of axes: `(height, width, channels)`,
            `(features,)`, `(time, channels)` or `(frequency, time, channels)`.
        latent_size: the number of standard-normal values for one input; 0 if latents are not used.
        **kwargs: passed to `keras.Model`.

    Raises:
        ValueError: for a shape that does not consist of positive integers, or a latent size below 0.

    Example:
        >>> class Mine(Generator):
        ...     def __init__(self):
        ...         super().__init__((16,), latent_size=8)
        ...         self.dense = keras.layers.Dense(16, activation="sigmoid")
        ...     def call(self, latent, labels=None, training: bool | None = None):
        ...         return self.dense(latent)
        >>> Mine().sample(4, seed=0).shape
        TensorShape([4, 16])
    """

    # True for generators without weights, which are not trained.
    procedural: ClassVar[bool] = False

    # The dtype of the inputs: "float32", or "int32" for token ids.
    made_dtype: ClassVar[str] = "float32"

    # Whether the inputs lie in [0, 1], like images, except for a few values.
    in_unit_range: bool = True

    # The number of classes, for class-conditional generators.
    classes: int | None = None

    def __init__(self, image_shape: tuple[int, ...], latent_size: int, **kwargs) -> None:
        if self.procedural:
            # Half precision would gain almost nothing here and lose smooth gradations.
            kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.image_shape = check_shape(image_shape)
        self.latent_size = check_int("latent_size", latent_size, least=0)

    def call(self, latent, labels=None, training: bool | None = None):
        """Makes inputs.

        Args:
            latent: float `(batch, latent_size)`.
            labels: int classes `(batch,)`; None if `classes` is None.
            training: whether batch normalization uses the statistics of this batch.

        Returns:
            A tensor `(batch, *image_shape)`, float unless `made_dtype` is another dtype.
        """
        raise NotImplementedError(
            f"{type(self).__name__} needs `call(latent, labels=None, training=None)`."
        )

    def draw_latent(self, n: int, seed: int | keras.random.SeedGenerator | None = None):
        """Draws `n` latents.

        Args:
            n: the number of latents.
            seed: an int or a `keras.random.SeedGenerator`; None draws a fresh one.

        Returns:
            A float32 tensor `(n, latent_size)` of standard-normal values.
        """
        return keras.random.normal((n, self.latent_size), seed=seed)

    def draw(self, n: int, seed: int | keras.random.SeedGenerator | None = None, labels=None) -> Draw:
        """Draws the random values for `n` inputs.

        Args:
            n: the number of inputs.
            seed: an int or a `keras.random.SeedGenerator`; None draws a fresh one.
            labels: int classes `(n,)` to make; None draws them uniformly.

        Returns:
            Latents and, for class-conditional generators, labels.

        Raises:
            ValueError: for labels if the generator is not class-conditional.
        """
        if self.classes is None and labels is not None:
            raise ValueError(
                f"`labels` must be None, since generator {self.name!r} is not class-conditional (its "
                f"`classes` is None). Received: labels={labels!r}."
            )
        latent = self.draw_latent(n, seed)
        if self.classes is None:
            return Draw(latent)
        if labels is None:
            # With the same int, labels would be drawn from the same random bits as the latents.
            seed = seed + 1 if isinstance(seed, int) else seed
            labels = keras.random.randint((n,), 0, self.classes, seed=seed)
        return Draw(latent, ops.convert_to_tensor(labels, dtype="int32"))

    def make(self, draw: Draw, training: bool = False):
        """Makes the inputs of a draw.

        Args:
            draw: the result of `draw`.
            training: whether batch normalization uses the statistics of this batch.

        Returns:
            A tensor `(n, *image_shape)` of `made_dtype`.
        """
        told = {} if self.classes is None else {"labels": draw.labels}
        return ops.cast(self(draw.latent, training=training, **told), self.made_dtype)

    def sample(self, n: int, seed: int | keras.random.SeedGenerator | None = None, training: bool = False):
        """Draws and makes `n` inputs.

        Args:
            n: the number of inputs.
            seed: an int or a `keras.random.SeedGenerator`; None draws a fresh one.
            training: whether batch normalization uses the statistics of this batch.

        Returns:
            A tensor `(n, *image_shape)` of `made_dtype`.
        """
        return self.make(self.draw(n, seed), training)

    def labels_in_turn(self, n: int):
        """The classes in cyclic order, int32 `(n,)`; only for class-conditional generators."""
        return ops.arange(n, dtype="int32") % self.classes

    def build_from_example(self):
        """Calls the generator on two latents of zeros, which creates any missing weights.

        Returns:
            The unchanged result of `call`.
        """
        told = {} if self.classes is None else {"labels": self.labels_in_turn(2)}
        return self(ops.zeros((2, self.latent_size)), training=False, **told)

    def build_from_config(self, config: dict | None) -> None:
        if config:
            self.build_from_example()

    def compute_output_shape(self, latent_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (latent_shape[0], *self.image_shape)

    def get_config(self) -> dict:
        return {**super().get_config(), "image_shape": list(self.image_shape)}
