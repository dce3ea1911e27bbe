"""OnPolicyDistiller: a causal student that is trained on its own outputs."""

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
    """GKD: distils a causal language model on the data and on sequences the student samples.

    A student trained only on given texts meets states in generation that it never saw in training. Here, a
    fraction of the batches keep only their prompts: the student samples the continuation, and the teacher
    provides targets for it. No gradient flows through the sampling.

    Inputs are `{"token_ids", "padding_mask"}` `(batch, tokens)`, padded at the end. Labels `(batch,
    tokens)` hold the next token at each position, as from `tfkd.tasks.next_tokens`, and -100 where it does
    not count; everything before the first label that counts is the prompt. Sequences are sampled up to the
    length of the batch, so leave room in batches. In training, metrics include sampled tokens, where they
    only measure the student's self-consistency: use `validation_data` to evaluate the student.

    Args:
        teacher: a trained causal language model that returns logits `(batch, tokens, vocabulary)`, such as
            from `tfkd.text.causal_language_model`.
        student: the model to train, with the same vocabulary.
        distillation_losses: None for `tfkd.losses.GeneralizedJSD(0.5, only_labelled=True)`; with
            `tfkd.losses.ReverseKL(only_labelled=True)` it is MiniLLM's single-step form.
        distillation_loss_weights: as for `tfkd.Distiller`.
        lmbda: fraction of the batches that the student samples, in [0, 1]: 0 for the data alone, 1 for its
            own sequences alone.
        temperature: divides the logits before a token is drawn; above 0.
        max_new_tokens: maximum number of tokens after a prompt; None for as many as fit in the batch.
        end_id: the token that ends a sequence; None if there is none.
        pad_id: the padding token.
        seed: int seed of the sampling; None for a random one. The state is saved, so that runs resume
            exactly.
        name: name of the model.
        **kwargs: passed to `keras.Model`.

    Raises:
        ValueError: if a number is out of its range, or teacher and student are not compatible.

    Example:
        >>> distiller = tfkd.text.OnPolicyDistiller(teacher, student, lmbda=0.5, end_id=50256)
        >>> distiller.compile(keras.optimizers.AdamW(1e-4))
        >>> distiller.fit(inputs, tfkd.tasks.next_tokens(**inputs), epochs=3)

    Reference:
        Agarwal et al., "On-Policy Distillation of Language Models: Learning from Self-Generated Mistakes"
        (GKD), 2024; Gu et al., "MiniLLM", 2024, for reverse KL. `lmbda` 0.5, `temperature` 0.9 and a `beta`
        of 0.5 are TRL's. Deviations: MiniLLM also has a policy gradient over the whole sequence, sampling
        from a mixture of teacher and student, and a loss on pre-training texts; all three are omitted. The
        model runs on the whole sequence for each token, without a cache.
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
                "The data set contains a teacher's outputs, which do not match the sequences the student "
                "samples. Train on the data set without tfkd.cache_teacher."
            )
        _check_inputs(batch.inputs, y)
        inputs, labels = self._given_or_sampled(batch.inputs, tf.cast(y, "int32"))
        return super().train_step((inputs, labels, sample_weight))

    def _given_or_sampled(self, inputs, labels):
        """The batch unchanged, or its prompts continued by the student."""
        seed = tf.cast(self.seed_generator.next(), "int32")
        # The choice is the same for all replicas, but their samples differ.
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
        # These two cannot be chosen here.
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
            f"`x` must be a dictionary with {' and '.join(map(repr, names))}; their prompts are continued. "
            f"Received: {list(inputs) if isinstance(inputs, dict) else type(inputs)}."
        )
    if labels is None:
        raise ValueError(
            "`y` is missing: labels mark where prompts end. Give y=tfkd.tasks.next_tokens(token_ids, "
            "padding_mask), with -100 in the prompts."
        )
