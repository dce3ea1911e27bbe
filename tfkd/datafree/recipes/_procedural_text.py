"""ProceduralText: trains a language model's student on words in random order."""

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
    """Random words of the vocabulary, soft targets, and the directions of hidden states.

    It needs neither texts nor labels. Students that inherited layers of their teacher learn fastest; see
    `tfkd.students.from_layers`.

    When:
        The teacher is a text model, and there are no texts.

    Args:
        prior: generators of token ids, such as `tfkd.generators.Words`; required.
        features: the weight of the cosine distance of hidden states, summed over the student's blocks.
        learning_rate: the peak learning rate of AdamW, which warms up over the first 5 % of the updates and
            decays to 0 as a cosine.
        weight_decay: the weight decay of AdamW.
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
        # A recipe chosen by name gets its words later.
        if self.priors:
            super().check()

    def inputs(self, teacher: keras.Model) -> Inputs:
        if not self.priors:
            self._refuse(
                "prior",
                "generators of token ids, such as tfkd.generators.Words.from_tokenizer(tokenizer), which "
                "has the vocabulary",
            )
        return super().inputs(teacher)

    def student_optimizer(self, updates: int) -> keras.optimizers.Optimizer:
        return keras.optimizers.AdamW(
            warmed_up_cosine(self.learning_rate, updates),
            weight_decay=self.weight_decay,
            global_clipnorm=1.0,
        )
