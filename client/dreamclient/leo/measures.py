"""The measures that the gates need and leo does not tell: how new a prompt is, how good a reply will be.

His callers observe the prompt before they ask for a reply, so he always finds it known. His quality is measured on the
reply, not predicted. This module measures the novelty and predicts the quality, on the reply path.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from dreamclient.leo.names import given, level, plain_expert
from dreamclient.messages import DreamContext, PulseSnapshot
from dreamclient.protocol.contexts import number

# Characters: a longer text is no prompt (leo reads his README through `observe`), and would cost more than 1 ms.
PROMPT_CHARS = 2000
REMEMBERED = 8  # prompts, since several people may talk to one leo
THEMES = 3  # that are active: as many as leo takes
_WORD = re.compile(r"\w+")


class Senses:
    """The measures of one leo. `names` is his namespace."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names
        self._novelty: dict[str, float] = {}  # by prompt

    def _tokens(self, text: str) -> list[str]:
        tokenize: Callable[[str], list[str]] = self._names["tokenize"]
        return tokenize(text[:PROMPT_CHARS])

    def prompt(self, leo: Any, text: str) -> None:
        """Measure how new a text is to leo, before he observes it or answers it."""
        if len(text) > PROMPT_CHARS or text in self._novelty:
            return
        if len(self._novelty) >= REMEMBERED:
            del self._novelty[next(iter(self._novelty))]
        self._novelty[text] = novelty(text, self._tokens(text), leo.vocab, getattr(leo, "trigrams", {}))

    def answered(self, prompt: str) -> None:
        """Forget a prompt that was answered, so that it is measured again if it is said again."""
        self._novelty.pop(prompt, None)

    def context(self, leo: Any, prompt: str, reply: str) -> DreamContext:
        """Return the context that leo's own dream layer would make of this reply."""
        pulse, trauma = getattr(leo, "last_pulse", None), level(getattr(leo, "_trauma_state", None))
        felt = PulseSnapshot(**{name: number(getattr(pulse, name, None)) for name in vars(PulseSnapshot())})
        quality = number(getattr(getattr(leo, "last_quality", None), "overall", None))
        state = None
        if "MathState" in self._names:
            known = given(**vars(felt), pulse=getattr(pulse, "pulse", None), quality=quality)
            state = self._names["MathState"](**known, trauma_level=trauma)
        expert = getattr(getattr(leo, "last_expert", None), "name", "")
        return DreamContext(prompt, reply, state, felt, trauma, [], expert, quality)

    def sharpened(self, leo: Any, ctx: DreamContext) -> DreamContext:
        """Return a copy of `ctx` with the themes that the prompt touches and the expert's plain name, with novelty if
        leo found none, and with the quality that his MathBrain predicts."""
        pulse, quality = ctx.pulse, ctx.quality
        seen = self._novelty.get(ctx.prompt)
        if seen is not None and not (pulse and pulse.novelty):
            pulse = replace(pulse, novelty=seen) if pulse else PulseSnapshot(novelty=seen)
        predict = getattr(getattr(leo, "_math_brain", None), "predict", None)
        if predict is not None and ctx.math_state is not None:
            try:
                quality = number(predict(ctx.math_state))
            except Exception:  # noqa: BLE001 a brain that cannot tell keeps its gate shut
                quality = None
        known = {**vars(ctx), "pulse": pulse, "quality": quality, "expert": plain_expert(ctx.expert)}
        return DreamContext(**known | {"themes": self._themes(leo, ctx.prompt)})

    def _themes(self, leo: Any, prompt: str) -> list[int]:
        """Return the themes that most words of the prompt belong to."""
        themes_of, found = getattr(leo, "token_to_themes", {}), dict[int, int]()
        for token in self._tokens(prompt):
            for theme in themes_of.get(token, ()):
                found[theme] = found.get(theme, 0) + 1
        return sorted(found, key=lambda theme: -found[theme])[:THEMES]


def novelty(text: str, tokens: list[str], vocab: Iterable[str], trigrams: Mapping[Any, Any]) -> float:
    """Return the mean of the shares of unknown words and of unknown triples, in [0, 1]: leo measures both, but too
    late. Words alone miss a new thought in old words. Triples are nearly always new."""
    found = set(_WORD.findall(text))
    words = {word.lower() for word in found}
    if not words:
        return 0.0
    forms = found | words | {word.capitalize() for word in words}
    known = {word.lower() for word in forms.intersection(vocab)}  # quick, though his vocabulary is a list
    strange = 1 - len(words & known) / len(words)
    triples = list(zip(tokens, tokens[1:], tokens[2:], strict=False))
    if not triples:
        return strange
    old = sum(third in (trigrams.get((first, second)) or ()) for first, second, third in triples)
    return (strange + 1 - old / len(triples)) / 2
