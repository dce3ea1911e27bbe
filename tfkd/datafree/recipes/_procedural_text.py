"""ProceduralText: a language model's student taught on words without order."""

import dataclasses
from typing import Annotated

import keras

from tfkd._core.options import Above, AtLeast
from tfkd.datafree._inputs import Inputs
from tfkd.datafree._parts import Priors
from tfkd.datafree._recipe import PriorRecipe
from tfkd.optimizers import warmed_up_cosine


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProceduralText(PriorRecipe):
    """Words of the vocabulary in no order, soft targets, and the directions of hidden states.

    Neither text nor labels are needed. A student learns fastest that inherited layers of its teacher, see
    `tfkd.students.from_layers`.

    When:
        The teacher is a text model, and there are no texts.

    Args:
        prior: generators of token ids, such as `tfkd.generators.Words`; has to be given.
        features: weight of the cosine distance of hidden states, summed over the student's blocks.
        learning_rate: peak rate of AdamW, which warms up over the first 5 % of the updates and decays to 0
            as a cosine.
        weight_decay: of AdamW.
        **kwargs: the options of `PriorRecipe`.

    Example:
        >>> words = tfkd.generators.Words.from_tokenizer(tokenizer)
        >>> student = tfkd.students.from_layers(teacher, 3)
        >>> recipe = tfkd.datafree.ProceduralText(prior=words)
        >>> distiller = tfkd.DataFreeDistiller(teacher, student, recipe)
        >>> distiller.compile()
        >>> distiller.fit()

    Reference:
        This project's own; the losses are DistilBERT's (Sanh et al., 2019).
    """

    prior: Priors = ()
    temperature: float = 2.0
    features: float = 1.0
    learning_rate: Annotated[float, Above(0)] = 2e-4
    weight_decay: Annotated[float, AtLeast(0)] = 0.01
    batch_size: int = 32
    epochs: int = 4

    def check(self) -> None:
        # A recipe that is asked for by name gets its words later.
        if self.priors:
            super().check()

    def inputs(self, teacher: keras.Model) -> Inputs:
        if not self.priors:
            self._refuse(
                "prior",
                "generators of token ids, such as tfkd.generators.Words.from_tokenizer(tokenizer), which "
                "knows the vocabulary",
            )
        return super().inputs(teacher)

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        return keras.optimizers.AdamW(
            warmed_up_cosine(self.learning_rate, updates),
            weight_decay=self.weight_decay,
            global_clipnorm=1.0,
        )
