"""The choice of a line from a hook's texts: the run of whole sentences that best answers the line before.

It needs no list of words of any language. Rare words and function words are found by counting in the friend's
fragments, in the prompt and the reply, and in the lines since.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

from msgspec import Struct

from dreamd.dream.measures import clamp_text, join_ngrams, repeats_text, split_words

# Sentences of a candidate that are compared: bounded, so that a text of one-word sentences takes only milliseconds.
MOST_SENTENCES = 64
# Letters. Shorter words count as function words, as they do in many languages (the, und, что).
SHORT_LETTERS = 3
# A word that occurred three times, and is a hundredth of all words, counts as a function word too.
FREQUENT_TIMES, FREQUENT_SHARE = 3, 0.01
# A line may end on a function word if half of its occurrences end a text: the sea, the sky, now.
ENDS_FROM = 0.5
# If a text has this share of the tokens that were asked for, its last sentence may be incomplete.
STOPPED_FROM = 0.9
# The score of a run of sentences: the words that it shares with the line before count at most 1.5. The share of its
# word pairs that earlier lines hold costs 1.5 times what is above 0.35. A word off the wanted length costs 1/40.
MOST_SHARED = 1.5
REPETITION_COST, REPETITION_FREE = 1.5, 0.35
WORDS_A_POINT = 40

_WORD_OR_MARK = r"[\w']+|[^\w\s]"
_ENDING = r"(?<![.!?…])[.!?…]+[\"'”’»)\]]*(?=\s|$)|[。！？]+[”’」』）]*"


class Length(Struct, frozen=True):
    """The length of a line: the words that it should have, and the most words and characters."""

    wanted: int
    most_words: int
    most_chars: int


class Choice(Struct, frozen=True):
    """A line, and the index of its candidate."""

    text: str
    candidate: int


class Usage:
    """Counts of words, and of the words that texts end on."""

    def __init__(self, texts: Iterable[Sequence[str]]) -> None:
        """Count the words of whole texts."""
        self._times: Counter[str] = Counter()
        self._endings: Counter[str] = Counter()
        for tokens in texts:
            self._times.update(tokens)
            self._endings.update(tokens[-1:])

    def hear(self, text: str) -> None:
        """Count the words of a text whose end means nothing."""
        self._times.update(split_words(text))

    def binds(self, word: str) -> bool:
        """Return whether a word is a function word: a short or a frequent one."""
        times = self._times[word]
        frequent = times >= FREQUENT_TIMES and times >= FREQUENT_SHARE * self._times.total()
        return frequent or len(word) <= SHORT_LETTERS

    def may_end(self, word: str) -> bool:
        """Return whether a line may end on a word: it is no function word, or one that mostly ends a text."""
        return not self.binds(word) or ENDS_FROM * self._times[word] <= self._endings[word] > 0

    def shared(self, tokens: Iterable[str], others: Collection[str]) -> float:
        """Return the sum of 1 / sqrt(frequency) over the content words that both hold."""
        both = [word for word in dict.fromkeys(tokens) if word in others and not self.binds(word)]
        return sum(float(max(1, self._times[word]) ** -0.5) for word in both)


def choose_sentences(
    candidates: Sequence[str],
    *,
    before: str,
    earlier: Sequence[str],
    usage: Usage,
    length: Length,
    max_tokens: int,
) -> Choice | None:
    """Return the run of whole sentences that best answers the text `before`, the first of equally good ones.

    If no candidate has a short enough whole sentence, sentences are cut at a word. `max_tokens`: the number that the
    hook was asked for. Return None if there is no text, or if every run repeats one of the lines `earlier`.
    """
    texts = [candidate.strip() for candidate in candidates]
    runs = [
        Choice(run, index)
        for index, text in enumerate(texts)
        for run in _whole_runs(text, usage, length, _was_cut_off(text, max_tokens))
    ] or [
        Choice(part, index)
        for index, text in enumerate(texts)
        for part in _cut_sentences(text, usage, length, _was_cut_off(text, max_tokens))
    ]
    asked = set(split_words(before))
    said = {pair for line in earlier for pair in join_ngrams(split_words(line), 2)}
    runs.sort(key=lambda run: -_score_run(split_words(run.text), asked, said, usage, length.wanted))
    return next((run for run in runs if not any(repeats_text(run.text, line) for line in earlier)), None)


def _score_run(
    tokens: list[str], asked: Collection[str], said: Collection[str], usage: Usage, wanted: int
) -> float:
    pairs = join_ngrams(tokens, 2)
    repetition = sum(pair in said for pair in pairs) / max(1, len(pairs))
    return (
        min(MOST_SHARED, usage.shared(tokens, asked))
        - REPETITION_COST * max(0.0, repetition - REPETITION_FREE)
        - abs(len(tokens) - wanted) / WORDS_A_POINT
    )


class _Sentence(Struct, frozen=True):
    start: int
    end: int
    tokens: list[str]
    ended: bool  # it ends with a mark


def _split_sentences(text: str) -> list[_Sentence]:
    """Return the sentences in order. Text without a word belongs to the sentence after it."""
    found: list[_Sentence] = []
    start = looked = 0
    for end, ended in [*((mark.end(), True) for mark in re.finditer(_ENDING, text)), (len(text), False)]:
        tokens = split_words(text[looked:end])
        if tokens:
            found.append(_Sentence(start, end, tokens, ended))
            start = end
        looked = end
        if len(found) == MOST_SENTENCES:
            break
    return found


def _was_cut_off(text: str, max_tokens: int) -> bool:
    return len(re.findall(_WORD_OR_MARK, text)) >= STOPPED_FROM * max_tokens


def _whole_runs(text: str, usage: Usage, length: Length, stopped: bool) -> Iterator[str]:
    sentences = _split_sentences(text)
    if stopped and len(sentences) > 1:
        sentences.pop()
    for first in range(len(sentences)):
        count, said = 0, list[list[str]]()
        for sentence in sentences[first:]:
            run = text[sentences[first].start : sentence.end].strip()
            count += len(sentence.tokens)
            whole = sentence.ended and usage.may_end(sentence.tokens[-1]) and sentence.tokens not in said
            if not whole or count > length.most_words or len(run) > length.most_chars:
                break
            said.append(sentence.tokens)
            yield run


def _cut_sentences(text: str, usage: Usage, length: Length, stopped: bool) -> Iterator[str]:
    """Yield each sentence cut to the length of a line, if possible not on a function word."""
    parts = [text[sentence.start : sentence.end].strip() for sentence in _split_sentences(text)]
    for part in parts or [text]:
        kept = clamp_text(part, most_chars=length.most_chars, most_words=length.most_words)
        if kept != part or stopped:
            tokens = split_words(kept)
            count = max((n for n, word in enumerate(tokens, 1) if usage.may_end(word)), default=len(tokens))
            kept = clamp_text(kept, most_chars=length.most_chars, most_words=count).rstrip(" ,;:–—-") or kept
        if kept:
            yield kept
