"""Augmentation: words masked or replaced, n-grams cut out."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from tfkd._core.checks import check_int, check_number
from tfkd.text._sentences import Sentences, check_texts

# Maximum number of words in an n-gram.
_LONGEST = 5


def augment_words(
    texts: Sequence[str],
    *,
    mask: float = 0.1,
    same_tag: float = 0.1,
    tags: Callable[[list[str]], Sequence] | None = None,
    ngram: float = 0.25,
    copies: int = 20,
    mask_token: str = "[MASK]",
    seed: int = 0,
) -> Sentences:
    """Augments sentences for a student that learns only from the teacher's outputs.

    In each copy of a sentence, every word may independently be masked, or replaced by a word of the same
    part of speech, drawn by frequency; then the whole copy may be replaced by an n-gram of one to five of
    its words. Duplicates are dropped.

    Args:
        texts: sentences whose words are separated by spaces.
        mask: probability that a word becomes the mask token, in [0, 1].
        same_tag: probability that a word is replaced, in [0, 1 - mask]; no effect without `tags`.
        tags: a function from the words of a sentence to their parts of speech, such as `lambda words: [tag
            for _, tag in nltk.pos_tag(words)]`; any hashable values work. None for no tagger, in which case
            no word is replaced.
        ngram: probability that a copy becomes an n-gram, in [0, 1].
        copies: number of copies of each sentence, at least 1.
        mask_token: the tokenizer's mask token.
        seed: int seed of all choices, at least 0.

    Returns:
        `Sentences`: the given ones, each followed by its copies. Train on the teacher's outputs for them,
        since an n-gram may mean something different from the sentence.

    Raises:
        TypeError: if `texts` are not strings.
        ValueError: for an empty sentence, a number out of its range, or if `tags` does not return one tag
            per word.

    Example:
        >>> made = tfkd.text.augment_words(["a warm , funny film"], copies=2)
        >>> made.texts[0], len(made.origins)
        ('a warm , funny film', 3)

    Reference:
        Tang et al., "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks", 2019.
        Deviations: no tagger is included; duplicates are dropped, so there may be fewer copies.
    """
    texts = check_texts(texts)
    check_number("mask", mask, least=0, most=1)
    check_number("same_tag", same_tag, least=0, most=1 - mask)
    check_number("ngram", ngram, least=0, most=1)
    check_int("copies", copies)
    rng = np.random.default_rng(check_int("seed", seed, least=0))
    sentences = [text.split() for text in texts]
    words_of, tags_of = _words_by_tag(sentences, tags)
    made, seen = Sentences([], np.zeros(0, "int64")), set(texts)
    origins = []
    for number, words in enumerate(sentences):
        made.texts.append(texts[number])
        origins.append(number)
        for _ in range(copies):
            copy = list(words)
            rolls = rng.random(len(words))
            for i, roll in enumerate(rolls):
                if roll < mask:
                    copy[i] = mask_token
                elif roll < mask + same_tag and tags is not None:
                    copy[i] = _drawn(words_of[tags_of[number][i]], rng)
            if rng.random() < ngram:
                length = int(rng.integers(1, _LONGEST + 1))
                start = int(rng.integers(0, max(1, len(copy) - length + 1)))
                copy = copy[start : start + length]
            text = " ".join(copy)
            # There is nothing to learn from masks alone.
            if text not in seen and any(word != mask_token for word in copy):
                seen.add(text)
                made.texts.append(text)
                origins.append(number)
    return made._replace(origins=np.array(origins, "int64"))


def _words_by_tag(sentences, tags):
    """All words of each tag, with repetitions, and the tags of each sentence."""
    words_of, tags_of = defaultdict(list), []
    if tags is None:
        return words_of, tags_of
    for words in sentences:
        tagged = list(tags(list(words)))
        if len(tagged) != len(words):
            raise ValueError(
                f"`tags` must return a tag for each of the {len(words)} words {words!r}. Received: "
                f"{len(tagged)} tags {tagged!r}. Split the text at spaces only."
            )
        tags_of.append(tagged)
        for word, tag in zip(words, tagged, strict=True):
            words_of[tag].append(word)
    return words_of, tags_of


def _drawn(words, rng):
    return words[int(rng.integers(len(words)))]
