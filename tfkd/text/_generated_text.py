"""GeneratedText: distils a causal language model on texts that the teacher writes."""

import dataclasses
from typing import Annotated

import keras
import tensorflow as tf
from keras import ops

from tfkd._core.options import Above, AtLeast
from tfkd.datafree import Recipe
from tfkd.datafree import _parts as parts
from tfkd.datafree._inputs import Inputs, TokenInputs, check_tokens
from tfkd.datafree.sources import Batch, Lesson, Source
from tfkd.optimizers import warmed_up_cosine
from tfkd.tasks import CausalLanguageModel, Task
from tfkd.text._sampling import sample


class GeneratedTextSource(Source):
    """Texts that the teacher writes, token by token.

    Args:
        lesson: the networks, their task, and random numbers.
        recipe: the recipe with the sampling options.
        **kwargs: passed to `keras.Layer`.
    """

    remedy = "a higher `writing_temperature` usually helps"

    def __init__(self, lesson: Lesson, recipe: "GeneratedText", **kwargs) -> None:
        super().__init__(lesson, **kwargs)
        self.recipe = recipe

    def draw(self, n: int, made=None, examples=None) -> Batch:
        token_ids = self.recipe.write(self.lesson.teacher, n, ops.cast(self.lesson.seed.next(), "int32"))
        return Batch(token_ids, self.lesson.answers(token_ids))


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratedText(parts.NewInputs, Recipe):
    """Texts written by a causal language model; soft targets at each token, and hidden states.

    No texts or labels are needed. The teacher writes token by token, which takes one forward pass per
    token, so texts are kept and used several times.

    Args:
        length: number of tokens in each text, including padding, at least 2.
        start_ids: first tokens of texts, drawn uniformly, such as GPT-2's `<|endoftext|>`; empty to draw
            from the whole vocabulary.
        writing_temperature: divides the logits before sampling; above 0.
        end_id: the token that ends a text; None if there is none.
        pad_id: the padding token; it may be the one that texts start with.
        features: weight of the cosine distance of hidden states, summed over the student's blocks.
        learning_rate: peak rate of AdamW, with warm-up over the first 5 % of the updates and cosine decay
            to 0.
        weight_decay: weight decay of AdamW.
        **kwargs: the options of `tfkd.datafree.Recipe`.

    Example:
        >>> end = tokenizer.pad_id  # of GPT-2 `<|endoftext|>`, which texts begin with, too
        >>> recipe = tfkd.text.GeneratedText(start_ids=(end,), end_id=end, pad_id=end)
        >>> student = tfkd.students.from_layers(teacher, 3)
        >>> distiller = tfkd.DataFreeDistiller(teacher, student, recipe)
        >>> distiller.compile()
        >>> distiller.fit()

    Reference:
        Liu et al., "LLM-QAT: Data-Free Quantization Aware Training for Large Language Models", 2023, whose
        first tokens are also drawn from the vocabulary. Deviations: the three to five tokens after the
        first are sampled like the others, while theirs are the most likely ones; students are smaller
        networks, not quantized ones, and also learn hidden states.
    """

    length: Annotated[int, AtLeast(2)] = 64
    start_ids: tuple[int, ...] = ()
    writing_temperature: Annotated[float, Above(0)] = 1.0
    end_id: Annotated[int | None, AtLeast(0)] = None
    pad_id: Annotated[int, AtLeast(0)] = 0
    temperature: float = 2.0
    features: float = 1.0
    learning_rate: Annotated[float, Above(0)] = 2e-4
    weight_decay: Annotated[float, AtLeast(0)] = 0.01
    memory: int | None = 2048
    replay_steps: int = 4
    batch_size: int = 32
    epochs: int = 4

    def inputs(self, teacher: keras.Model) -> Inputs:
        check_tokens(teacher, self.length, "recipe")
        return TokenInputs(
            teacher, (self.length,), self.pad_id, lambda n, seed: self.write(teacher, n, (seed, 0))
        )

    def for_teacher(self, teacher: keras.Model, task: Task) -> "GeneratedText":
        if not isinstance(task, CausalLanguageModel):
            raise ValueError(
                f"`recipe`: GeneratedText lets the teacher write, but {teacher.name!r} is not a causal "
                f"language model ({task!r}). Use tfkd.datafree.ProceduralText, or say "
                'task="causal_language_model" if it is one.'
            )
        if outside := [token for token in self._special_ids if not 0 <= token < task.classes]:
            raise ValueError(
                f"`start_ids`, `end_id` and `pad_id` must be tokens of {teacher.name!r}, below "
                f"{task.classes}. Received: {outside}."
            )
        return super().for_teacher(teacher, task)

    @property
    def _special_ids(self):
        return [*self.start_ids, self.pad_id, *([] if self.end_id is None else [self.end_id])]

    def write(self, teacher: keras.Model, n: int, seed) -> tf.Tensor:
        """Token ids of `n` texts, int32 `(n, length)`, determined by an int32 seed `(2,)`."""
        first = tf.random.stateless_uniform((n, 1), seed, 0, self._starts(teacher), "int32")
        if self.start_ids:
            first = tf.gather(tf.constant(self.start_ids, "int32"), first)
        begun = tf.pad(first, ((0, 0), (0, self.length - 1)), constant_values=self.pad_id)
        place = tf.range(self.length)[None]
        written = sample(
            teacher,
            {"token_ids": begun, "padding_mask": tf.cast(tf.repeat(place < 1, n, axis=0), "int32")},
            tf.ones((n,), "int32"),
            tf.random.fold_in(seed, 1),
            temperature=self.writing_temperature,
            end_id=self.end_id,
            pad_id=self.pad_id,
        )
        return tf.ensure_shape(written.inputs["token_ids"], (n, self.length))

    def _starts(self, teacher):
        return len(self.start_ids) or teacher.output_shape[-1]

    def build_source(self, lesson: Lesson) -> Source:
        return GeneratedTextSource(lesson, self)

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        rate = warmed_up_cosine(self.learning_rate, updates)
        return keras.optimizers.AdamW(rate, weight_decay=self.weight_decay, global_clipnorm=1.0)
