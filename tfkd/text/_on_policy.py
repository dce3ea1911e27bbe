"""OnPolicyDistiller: a causal student that is taught on what it writes itself."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfkd._core.checks import check_int, check_number
from tfkd.distilling import Distiller
from tfkd.distilling._caching import unpack
from tfkd.losses import GeneralizedJSD, KnowledgeLoss
from tfkd.text._sampling import prompt_lengths, sample


@keras.saving.register_keras_serializable(package="tfkd")
class OnPolicyDistiller(Distiller):
    """GKD: distils a causal language model on sequences of the data and on those the student samples.

    A student that only ever sees the texts of others meets, when it writes, states that it was never taught
    in. Here a share of the batches keep their prompts alone: the student samples what follows, and the
    teacher is asked about that. No gradient flows through the sampling.

    Inputs are `{"token_ids", "padding_mask"}` `(batch, tokens)`, padded behind. Labels `(batch, tokens)`
    hold at each position the token that follows, as `tfkd.tasks.next_tokens` makes them, and -100 where it
    does not count: what comes before the first that counts is the prompt. Sequences are sampled up to the
    length of the batch, so give batches room. In training, metrics count sampled tokens
    too, where they say how sure the student is of itself: judge by `validation_data`.

    Args:
        teacher: a trained causal language model that returns logits `(batch, tokens, vocabulary)`, such as
            of `tfkd.text.causal_language_model`.
        student: the one to train, with the same vocabulary.
        distillation_losses: None for `tfkd.losses.GeneralizedJSD(0.5, only_labelled=True)`; with
            `tfkd.losses.ReverseKL(only_labelled=True)` it is MiniLLM's single-step form.
        distillation_loss_weights: as of `tfkd.Distiller`.
        lmbda: share of the batches that the student samples, in [0, 1]: 0 for the data alone, 1 for its own
            sequences alone.
        temperature: what logits are divided by before a token is drawn, above 0.
        max_new_tokens: at most so many behind a prompt; None for as many as a batch has room for.
        end_id: the token that ends a sequence; None if there is none.
        pad_id: what stands behind the end.
        seed: int that sampling follows from; None for any. The state is saved, so that runs resume exactly.
        name: name of the model.
        **kwargs: passed to `keras.Model`.

    Raises:
        ValueError: if a number is out of its range, or teacher and student do not fit together.

    Example:
        >>> distiller = tfkd.text.OnPolicyDistiller(teacher, student, lmbda=0.5, end_id=50256)
        >>> distiller.compile(keras.optimizers.AdamW(1e-4))
        >>> distiller.fit(inputs, tfkd.tasks.next_tokens(**inputs), epochs=3)

    Reference:
        Agarwal et al., "On-Policy Distillation of Language Models: Learning from Self-Generated Mistakes"
        (GKD), 2024; Gu et al., "MiniLLM", 2024, for reverse KL. `lmbda` 0.5, `temperature` 0.9 and a `beta`
        of 0.5 are TRL's. Deviations: MiniLLM also has a policy gradient over the whole sequence, a mixture
        of teacher and student to sample from, and a loss of pre-training texts; all three are left out. The
        model runs anew for each token, without a cache.
    """

    def __init__(
        self,
        teacher: Any,
        student: keras.Model,
        distillation_losses: KnowledgeLoss | Sequence[KnowledgeLoss] | None = None,
        distillation_loss_weights: Sequence[float] | str | None = None,
        *,
        lmbda: float = 0.5,
        temperature: float = 0.9,
        max_new_tokens: int | None = 128,
        end_id: int | None = None,
        pad_id: int = 0,
        seed: int | None = None,
        name: str = "on_policy_distiller",
        **kwargs,
    ) -> None:
        self.lmbda = check_number("lmbda", lmbda, least=0, most=1)
        self.temperature = check_number("temperature", temperature, above=0)
        self.max_new_tokens = (
            None if max_new_tokens is None else check_int("max_new_tokens", max_new_tokens)
        )
        self.end_id = None if end_id is None else check_int("end_id", end_id, least=0)
        self.pad_id = check_int("pad_id", pad_id, least=0)
        losses = (
            GeneralizedJSD(0.5, only_labelled=True) if distillation_losses is None else distillation_losses
        )
        super().__init__(teacher, student, losses, distillation_loss_weights, 0.0, name, **kwargs)
        self.seed_generator = keras.random.SeedGenerator(seed)

    def train_step(self, data) -> dict:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        batch = unpack(x)
        if batch.teacher_fingerprint is not None:
            raise ValueError(
                "The data set carries a teacher's outputs, which are not of what the student samples. "
                "Train on the data set as it was before tfkd.cache_teacher."
            )
        _check_inputs(batch.inputs, y)
        inputs, labels = self._given_or_sampled(batch.inputs, tf.cast(y, "int32"))
        return super().train_step((inputs, labels, sample_weight))

    def _given_or_sampled(self, inputs, labels):
        """The batch as it is, or with what the student samples behind its prompts."""
        seed = tf.cast(self.seed_generator.next(), "int32")
        # The choice is the same for all replicas, what they sample is not.
        chosen = tf.random.stateless_uniform((), seed) < self.lmbda
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        seed = tf.random.fold_in(seed, tf.cast(replica, "int32") + 1)

        def sampled():
            made = sample(
                self.student,
                inputs,
                prompt_lengths(inputs, labels),
                seed,
                temperature=self.temperature,
                max_new_tokens=self.max_new_tokens,
                end_id=self.end_id,
                pad_id=self.pad_id,
            )
            return made.inputs, made.labels

        inputs, labels = tf.cond(chosen, sampled, lambda: (inputs, labels))
        return keras.tree.map_structure(tf.stop_gradient, (inputs, labels))

    def constants(self) -> tuple:
        own = self.lmbda, self.temperature, self.max_new_tokens, self.end_id, self.pad_id
        return *own, *super().constants()

    def get_config(self) -> dict:
        config = super().get_config()
        # Neither has a choice here.
        del config["student_loss_weight"], config["resize_inputs"]
        return {
            **config,
            "lmbda": self.lmbda,
            "temperature": self.temperature,
            "max_new_tokens": self.max_new_tokens,
            "end_id": self.end_id,
            "pad_id": self.pad_id,
        }


def _check_inputs(inputs, labels):
    names = ("token_ids", "padding_mask")
    if not isinstance(inputs, dict) or any(name not in inputs for name in names):
        raise ValueError(
            f"`x` must be a dictionary with {' and '.join(map(repr, names))}, whose prompts are continued. "
            f"Received: {list(inputs) if isinstance(inputs, dict) else type(inputs)}."
        )
    if labels is None:
        raise ValueError(
            "`y` is missing: labels tell where prompts end. Give y=tfkd.tasks.next_tokens(token_ids, "
            "padding_mask), with -100 in the prompts."
        )
