"""Let leo speak in a dream: by his own `generate_reply`, with the arguments that it accepts, over a private namespace.

It knows no semantic weight, so the weight becomes `token_boosts`: a boost b multiplies the count of a word by 1 + b
as a next word, so words that keep company with those of the seed come sooner.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from dreamclient.clients.process import call_in_child
from dreamclient.errors import UsageError
from dreamclient.leo.namespace import SHARED_CHANCE, own_random, private_namespace, random_is_left_alone

# What the word most tied to the seed gains at semantic weight 1: ×13. Leo's own boosts reach ×1.3, which at the
# 0.3-0.6 that a dream asks for moves nothing that could be measured: docs/background has what this moves.
SEMANTIC_GAIN = 12.0
SEED_WORDS = 64  # that look for their neighbours; a seed has about a hundred
MAX_TOKENS = 50  # of a line; leo's own dreams have 50
# What `generate_reply` may be given of a field: its parameter, and the field's attribute, if that is called otherwise.
_OF_THE_FIELD = dict.fromkeys(
    ("bigrams", "vocab", "centers", "bias", "trigrams", "co_occur", "themes", "token_to_themes")
) | {"emotion_map": "emotion", "trauma_state": "_trauma_state"}
# No echo of the seed; his measures with the line; no experts, which would replace the temperature.
_FIXED = {"echo": False, "return_context": True, "use_experts": False}
_OF_THE_LINE = ("prompt", "max_tokens", "temperature", "semantic_weight", "token_boosts")
_KNOWN = frozenset((*_OF_THE_FIELD, *_FIXED, *_OF_THE_LINE))
_LACKS, _NAMES = re.compile(r"missing \d+ required .*arguments?: (.*)"), re.compile(r"'(\w+)'")
_REFUSED = re.compile(r"unexpected keyword argument '(\w+)'")

# A field of two words, for the line that shows whether this leo can speak: his own may be large, or not loaded yet.
_TINY = SimpleNamespace(
    bigrams={"it": {"rains": 1}, "rains": {"it": 1}},
    trigrams={("it", "rains"): {"it": 1}, ("rains", "it"): {"rains": 1}},
    vocab=["it", "rains"],
    centers=["it"],
    **{name: {} for name in ("bias", "co_occur", "emotion", "token_to_themes")},
    themes=[],
    _trauma_state=None,
)


class Voice:
    """The voice of one leo. `names` is the live namespace of his module: each line looks his functions up again."""

    def __init__(self, names: Mapping[str, Any], count: Callable[[str], None]) -> None:
        self._names = names
        self._count = count
        self._renew()
        call_in_child(self._renew)
        self._examined: Any = None  # the `generate_reply` that the next two describe
        self._accepted = _KNOWN  # the arguments of ours that it accepts
        self._apart = True  # it does not draw from the process's `random`

    def _renew(self) -> None:
        """Draw other numbers than the parent in a forked child, as the process's `random` does."""
        self._random = own_random()

    def examine(self) -> None:
        """Speak a line over two words, unless that was done with this `generate_reply`. If leo cannot, raise
        UsageError, which names what is missing."""
        speak = self._names["generate_reply"]
        if speak is self._examined:
            return
        self._accepted = _KNOWN
        try:
            self._apart = random_is_left_alone(self._try)
        except Exception as error:  # noqa: BLE001 whatever it is, it is named
            said = str(error) if isinstance(error, UsageError) else f"raised {type(error).__name__}"
            if isinstance(error, TypeError) and (lacks := _LACKS.search(str(error))):
                said = f"needs {', '.join(sorted(_NAMES.findall(lacks[1])))}"
            raise UsageError(f"this leo cannot dream: his generate_reply {said}") from None
        self._examined = speak

    def _try(self) -> None:
        """Speak a line. Each time that `generate_reply` refuses an argument, try again without it."""
        for _ in _KNOWN:
            try:
                text_of(self._spoken(self._arguments(_TINY, "it rains", 1.0, 0.5, 4)))
                return
            except TypeError as error:
                refused = _REFUSED.search(str(error))
                if refused is None or refused[1] not in self._accepted:
                    raise
                self._accepted -= {refused[1]}

    def say(self, leo: Any, seed: str, temperature: float, weight: float, max_tokens: int | None) -> Any:
        """Return what leo's `generate_reply` returns: a text, or a context that holds one."""
        self.examine()
        arguments = self._arguments(leo, seed, temperature, weight, max_tokens or MAX_TOKENS)
        if self._apart:
            return self._spoken(arguments)
        self._count("chance")
        with SHARED_CHANCE.borrowed():
            return self._spoken(arguments)

    def _spoken(self, arguments: dict[str, Any]) -> Any:
        return private_namespace(self._names, self._random)["generate_reply"](**arguments)

    def _arguments(
        self, leo: Any, seed: str, temperature: float, weight: float, max_tokens: int
    ) -> dict[str, Any]:
        accepted, absent = self._accepted, object()
        found = {name: getattr(leo, attribute or name, absent) for name, attribute in _OF_THE_FIELD.items()}
        if isinstance(found["emotion_map"], dict):
            found["emotion_map"] = dict(found["emotion_map"])  # the one table that he changes in place
        found |= _FIXED | {"prompt": seed, "max_tokens": max_tokens, "temperature": temperature}
        found["semantic_weight"] = weight
        if "token_boosts" in accepted and "semantic_weight" not in accepted:
            ties = neighbours(getattr(leo, "co_occur", {}), self._names["tokenize"](seed))
            found["token_boosts"] = {word: weight * SEMANTIC_GAIN * tie for word, tie in ties.items()}
        return {name: value for name, value in found.items() if name in accepted and value is not absent}


def text_of(answer: Any) -> str:
    """Return the line in what `generate_reply` returned. Raise UsageError if there is none."""
    text = answer if isinstance(answer, str) else getattr(answer, "output", None)
    if not isinstance(text, str):
        raise UsageError(f"returned a {type(answer).__name__} and no text")
    return text


def neighbours(co_occur: Mapping[str, Mapping[str, int]], seed: Iterable[str]) -> dict[str, float]:
    """Return how closely each word is tied to the words of `seed`, the closest being 1.

    The tie is the share of the seed word's company, divided by the number of words that the neighbour keeps company
    with: otherwise articles, which are everyone's neighbours, would win. The root keeps the second closest in sight.
    """
    words = list(dict.fromkeys(word for word in seed if word in co_occur and word.isalpha()))[:SEED_WORDS]
    ties: dict[str, float] = {}
    for word in words:
        row = co_occur[word]
        whole = sum(row.values())
        for other, count in row.items():
            if other.isalpha():
                ties[other] = ties.get(other, 0.0) + count / whole / (len(co_occur.get(other, ())) or 1)
    most = max(ties.values(), default=0.0)
    return {word: math.sqrt(tie / most) for word, tie in ties.items()} if most else {}
