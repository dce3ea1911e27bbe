"""BERT to BiLSTM: a recurrent classifier learns a transformer's logits."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import keras

from tfkd._core.options import AtLeast, Between
from tfkd._core.token_marks import tokenizer_of
from tfkd.losses import KnowledgeLoss, MeanSquaredError
from tfkd.tasks import Classification, marked_task, task_of
from tfkd.text._bilstm import bilstm_classifier
from tfkd.text._linear_decay import LinearDecay
from tfkd.text._parts_of_models import token_embedding
from tfkd.text._recipe import TextRecipe
from tfkd.text._sentences import Sentences
from tfkd.text._word_augmentation import augment_words


@dataclasses.dataclass(frozen=True, kw_only=True)
class BERTToBiLSTM(TextRecipe):
    """A bidirectional LSTM that learns a transformer's logits on labelled and augmented texts.

    The student uses the teacher's tokenizer, starts with its token embeddings, and has no attention: a step
    takes a fraction of a transformer's time. Texts may be unlabelled.

    Args:
        hidden: units of the LSTM in each direction, at least 1.
        dense: units of the hidden layer after it, at least 1.
        logits_weight: weight of the mean squared error of logits, at least 0.
        labels_weight: weight of the labels' cross-entropy, at least 0; not used without labels.
        mask: probability that `augment` masks a word.
        same_tag: probability that it replaces a word by one of the same part of speech.
        ngram: probability that it keeps only an n-gram.
        copies: number of sentences it makes from each, at least 1.
        train_embeddings: whether the token embeddings are trained.
        adam: whether to use Adam instead of Adadelta, with a learning rate that decays to 0, such as 3e-3:
            it learns as much in a few epochs as Adadelta in many.
        **kwargs: the options of `TextRecipe`, except `weight_decay`, and `warmup` without `adam`.

    Raises:
        ValueError: if a value is out of its range.

    Example:
        >>> recipe = tfkd.text.BERTToBiLSTM(epochs=10)
        >>> made = recipe.augment(sentences)
        >>> student = recipe.distil(teacher, tfkd.text.batches(made.texts, tokenizer=tokenizer))

    Reference:
        Tang et al., "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks", 2019:
        hidden size 150, 200 in the following layer, Adadelta with rate 1 and rho 0.95, batches of 50.
        Deviations: the mean over logits, as in the authors' code, instead of the paper's sum; the teacher's
        word pieces with its frozen embeddings, instead of words with both trained and frozen word2vec
        embeddings; words of the same part of speech are swapped only if a tagger is given.
    """

    hidden: Annotated[int, AtLeast(1)] = 150
    dense: Annotated[int, AtLeast(1)] = 200
    logits_weight: Annotated[float, AtLeast(0)] = 1.0
    labels_weight: Annotated[float, AtLeast(0)] = 1.0
    mask: Annotated[float, Between(0, 1)] = 0.1
    same_tag: Annotated[float, Between(0, 1)] = 0.1
    ngram: Annotated[float, Between(0, 1)] = 0.25
    copies: Annotated[int, AtLeast(1)] = 20
    epochs: int = 30
    batch_size: int = 50
    learning_rate: float = 1.0
    train_embeddings: bool = False
    adam: bool = False

    def idle(self) -> Iterator[tuple[str, str]]:
        yield from super().idle()
        yield "weight_decay", "neither Adadelta nor Adam uses it"
        if not self.adam:
            yield "warmup", "Adadelta does not use it"

    def student(self, teacher: keras.Model) -> keras.Model:
        task = marked_task(teacher) or task_of(teacher)
        table = token_embedding(teacher)
        if table is None or not isinstance(task, Classification):
            raise ValueError(
                "`teacher` must be a classifier of token ids, with an embedding table. Received: "
                f"{teacher.name!r} with the task {task!r}. tfkd.text.classifier makes one from a backbone."
            )
        return bilstm_classifier(
            table.input_dim,
            task.classes,
            hidden=self.hidden,
            dense=self.dense,
            embeddings=keras.ops.convert_to_numpy(table.embeddings),
            tokenizer=tokenizer_of(teacher),
        )

    def losses(self, teacher: keras.Model, student: keras.Model) -> tuple[list[KnowledgeLoss], list[float]]:
        return [MeanSquaredError()], [self.logits_weight]

    def weight_of_labels(self, teacher: keras.Model) -> float:
        return self.labels_weight

    def optimizer(self, learning_rate: float, updates: int | None) -> keras.optimizers.Optimizer:
        if self.adam:
            falling: Any = None if updates is None else LinearDecay(learning_rate, updates, self.warmup)
            return keras.optimizers.Adam(learning_rate if falling is None else falling)
        return keras.optimizers.Adadelta(learning_rate, rho=0.95)

    def augment(
        self,
        texts: Sequence[str],
        tags: Callable[[list[str]], Sequence] | None = None,
        mask_token: str = "[MASK]",
        seed: int = 0,
    ) -> Sentences:
        """Augments sentences with `augment_words` and the recipe's options.

        Args:
            texts: sentences whose words are separated by spaces.
            tags: a tagger of words; None for none.
            mask_token: the mask token, as the tokenizer writes it.
            seed: int seed of all choices.

        Returns:
            `Sentences`.
        """
        rates = {"mask": self.mask, "same_tag": self.same_tag, "ngram": self.ngram, "copies": self.copies}
        return augment_words(texts, tags=tags, mask_token=mask_token, seed=seed, **rates)
