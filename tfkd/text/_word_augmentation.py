"""Sentences for a student that needs many: words masked or exchanged, n-grams cut out."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from tfkd._core.checks import check_int, check_number
from tfkd.text._sentences import Sentences, check_texts

# How many words an n-gram has at most.
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
    """Makes sentences of sentences for a student that is taught by answers alone.

    Of each sentence copies are made, in which every word by itself is masked, or exchanged for another
    word of the same part of speech, as often as that one occurs; then the whole copy may give way to an
    n-gram of one to five of its words. What was there before is left out.

    Args:
        texts: sentences whose words are separated by spaces.
        mask: probability that a word becomes the mask token, in [0, 1].
        same_tag: probability that a word is exchanged, in [0, 1 - mask]; without `tags` it has no effect.
        tags: a function from the words of a sentence to as many parts of speech, such as
            `lambda words: [tag for _, tag in nltk.pos_tag(words)]`; any hashable values will do. None if
            there is no tagger, so that no word is exchanged.
        ngram: probability that a copy becomes an n-gram, in [0, 1].
        copies: how many are made of each sentence, at least 1.
        mask_token: what stands for a masked word, as the tokenizer writes it.
        seed: int that all choices follow from, at least 0.

    Returns:
        `Sentences`: the given ones, each followed by its copies. Teach by the teacher's answers to them,
        since an n-gram may mean something else than the sentence.

    Raises:
        TypeError: if `texts` are not strings.
        ValueError: for an empty sentence, a number out of its range, or if `tags` returns another number of
            tags than words.

    Example:
        >>> made = tfkd.text.augment_words(["a warm , funny film"], copies=2)
        >>> made.texts[0], len(made.origins)
        ('a warm , funny film', 3)

    Reference:
        Tang et al., "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks", 2019.
        Deviations: no tagger comes with it; duplicates are left out, so there may be fewer copies.
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
            # Of masks alone there is nothing to learn.
            if text not in seen and any(word != mask_token for word in copy):
                seen.add(text)
                made.texts.append(text)
                origins.append(number)
    return made._replace(origins=np.array(origins, "int64"))


def _words_by_tag(sentences, tags):
    """All words of each tag, as often as they occur, and the tags of each sentence."""
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
