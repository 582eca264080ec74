"""What leo does not tell his dreams, and the gates want to know: how new a prompt is, how good a reply will be.

His callers observe the prompt before they ask for a reply, so that he always finds it known; and what he calls
quality is measured of the reply, not predicted. Both are made good here, on the reply path, in well under 1 ms.
"""

import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from dreamclient.leo.names import given, level, number, plain_expert
from dreamclient.messages import DreamContext, PulseSnapshot

# Characters: a longer text is no prompt (leo reads his README through `observe`), and would cost more than 1 ms.
PROMPT_CHARS = 2000
TOLD_CHARS = 100_000  # of a prompt, and of a reply: a message holds 1 MiB
REMEMBERED = 8  # prompts, since several people may talk to one leo
_WORD = re.compile(r"\w+")


class Senses:
    """Of one leo; `names` is his namespace."""

    def __init__(self, leo: Any, names: Mapping[str, Any]) -> None:
        self._tokenize: Callable[[str], list[str]] = names["tokenize"]
        self._novelty: dict[str, float] = {}  # by prompt
        self._math_state = names.get("MathState")
        self._foresight = foresight(getattr(leo, "_math_brain", None), names)

    def prompt(self, leo: Any, text: str) -> None:
        """Leo is about to observe this, or to answer it: measure how new it is to him, the first time."""
        if len(text) > PROMPT_CHARS or text in self._novelty:
            return
        if len(self._novelty) >= REMEMBERED:
            del self._novelty[next(iter(self._novelty))]
        self._novelty[text] = novelty(text, self._tokenize(text), leo.vocab, leo.trigrams)

    def answered(self, prompt: str) -> None:
        """The reply to this is out: said again, it is no longer new."""
        self._novelty.pop(prompt, None)

    def context(self, leo: Any, prompt: str, reply: str) -> DreamContext:
        """What leo's own dream layer would tell of this reply."""
        pulse, trauma = leo.last_pulse, level(getattr(leo, "_trauma_state", None))
        felt = PulseSnapshot(**{name: number(getattr(pulse, name, None)) for name in vars(PulseSnapshot())})
        quality = number(getattr(leo.last_quality, "overall", None))
        state = None
        if self._math_state is not None:
            known = given(**vars(felt), pulse=getattr(pulse, "pulse", None), quality=quality)
            state = self._math_state(**known, trauma_level=trauma)
        return DreamContext(
            prompt=prompt,
            reply=reply,
            math_state=state,
            pulse=felt,
            trauma_level=trauma,
            themes=[theme.id for theme in leo.themes],
            expert=getattr(leo.last_expert, "name", ""),
            quality=quality,
        )

    def sharpened(self, ctx: DreamContext) -> DreamContext:
        """A copy of `ctx` with novelty where leo found none, quality as predicted, the expert's plain name; texts
        that no message could hold are cut."""
        pulse, quality = ctx.pulse, ctx.quality
        seen = self._novelty.get(ctx.prompt)
        if seen is not None and not (pulse and pulse.novelty):
            pulse = replace(pulse, novelty=seen) if pulse else PulseSnapshot(novelty=seen)
        if self._foresight is not None and ctx.math_state is not None:
            quality = self._foresight(ctx.math_state)
        known = {**vars(ctx), "pulse": pulse, "quality": quality, "expert": plain_expert(ctx.expert)}
        known["prompt"], known["reply"] = ctx.prompt[:TOLD_CHARS], ctx.reply[:TOLD_CHARS]
        return DreamContext(**known)


def novelty(text: str, tokens: list[str], vocab: Iterable[str], trigrams: Mapping[Any, Any]) -> float:
    """In [0, 1]: the mean of the shares of unknown words and of unknown triples, the two measures of leo's own
    that he takes too late. Words alone miss a new thought in old words; triples are nearly always new."""
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


def foresight(brain: Any, names: Mapping[str, Any]) -> Callable[[Any], float | None] | None:
    """MathBrain's `predict`, or None where this leo has none.

    His builds a graph of gradients that nobody asks for, 1.2-4 ms of it; where plain arithmetic over his
    weights is seen to give the same, it is used instead.
    """
    if brain is None or not hasattr(brain, "predict"):
        return None

    def quietly(predict: Callable[[Any], Any]) -> Callable[[Any], float | None]:
        def predicted(state: Any) -> float | None:
            try:
                return number(predict(state))
            except Exception:  # noqa: BLE001 a brain that cannot tell keeps its gate shut
                return None

        return predicted

    slow, fast = quietly(brain.predict), quietly(lambda state: _forward(brain, state))
    try:
        probe = names["MathState"]()
    except Exception:  # noqa: BLE001 a leo without that class
        return slow
    right, ours = slow(probe), fast(probe)
    same = right is not None and ours is not None and math.isclose(right, ours, abs_tol=1e-9)
    return fast if same else slow


def _forward(brain: Any, state: Any) -> float:
    values: list[float] = sys.modules[type(brain).__module__].state_to_features(state)
    for layer in brain.mlp.layers:
        values = [
            math.tanh(neuron.b.data + sum(w.data * x for w, x in zip(neuron.w, values, strict=True)))
            for neuron in layer.neurons
        ]
    return min(1.0, max(0.0, values[0]))
