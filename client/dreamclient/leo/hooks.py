"""What the daemon calls back for: a line of leo's, a line to feed him, his memories.

The hooks hold the field weakly: a leo that his owner lets go of is not kept alive by his dreams.
"""

import inspect
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any, Protocol

from dreamclient.errors import DreamError
from dreamclient.leo.database import FieldDatabase, ingest, recall
from dreamclient.leo.diet import Known
from dreamclient.leo.known import KnownToLeo
from dreamclient.leo.names import given
from dreamclient.leo.neighbours import boosts
from dreamclient.leo.turns import Turns

MAX_TOKENS = 50  # of a line; leo's own dreams have 50


class FieldGone(DreamError):
    """Leo's field is no more."""


class Chooses(Protocol):
    """What of a dream's line reaches leo: see dreamclient.leo.diet."""

    def portions(self, tokens: Sequence[str], known: Known) -> list[str]:
        """The pieces to be fed, one by one; none where the line is refused."""


class Everything:
    """Every line, whole."""

    def portions(self, tokens: Sequence[str], known: Known) -> list[str]:  # noqa: ARG002
        return [" ".join(tokens)] if tokens else []


@dataclass(frozen=True)
class SpokenLine:
    """A line that was taken, as leo's other modules are told of it."""

    text: str
    meta: Mapping[str, Any]
    measures: Mapping[str, float]  # what `generate` told of it


Digest = Callable[[Any, SpokenLine, Turns, Path], None]


@dataclass
class FieldHooks:
    """`generate`, `observe` and `recall` of one field; `digest` tells his other modules of a line that he took,
    and does not raise."""

    field: weakref.ref[Any]
    names: Mapping[str, Any]
    database: FieldDatabase
    turns: Turns
    diet: Chooses
    count: Callable[[str], None]
    digest: Digest | None = None
    _known: KnownToLeo = dataclass_field(default_factory=KnownToLeo)
    _accepted: frozenset[str] | None = None
    _measures: dict[int, Mapping[str, float]] = dataclass_field(
        default_factory=dict
    )  # by candidate of a line

    def generate(
        self, seed: str, temperature: float, semantic_weight: float, meta: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return a line of leo's, with its own measures: `{text, entropy?, quality?, novelty?, arousal?}`."""
        leo = self._leo()
        answer = self.turns.take(lambda: self._say(leo, seed, temperature, semantic_weight, meta))
        candidate = meta.get("candidate", 1)
        if candidate == 1:
            self._measures.clear()
        self._measures[candidate] = {name: value for name, value in answer.items() if name != "text"}
        return answer

    def observe(self, text: str, meta: Mapping[str, Any]) -> dict[str, Any]:
        """Feed leo what his diet takes of a line: `{taken}`. His next `observe` picks it up."""
        leo = self._leo()
        tokenize = self.names["tokenize"]
        known = self._known.now(leo)
        portions = self.diet.portions(tokenize(text), known)
        path = self._path(leo) if portions else None
        if path is None:
            return {"taken": False}
        ingest(path, portions, self.names["ingest_text"])
        for portion in portions:
            known.fed(tokenize(portion))
        if self.digest is not None:
            measures = self._measures.get(meta.get("candidate", 1), {})
            self.digest(leo, SpokenLine(text, meta, measures), self.turns, path)
        return {"taken": True}

    def recall(self, query: str, n: int) -> list[str]:
        """Up to n of leo's own snapshots that have to do with `query`."""
        path = self._path(self._leo())
        return [] if path is None else recall(path, query, n, self.names["tokenize"])

    def _path(self, leo: Any) -> Path | None:
        path = self.database.path(leo)
        if path is None:
            self.count("no_database")
        return path

    def _leo(self) -> Any:
        leo = self.field()
        if leo is None:
            raise FieldGone("the field is gone")
        return leo

    def _say(
        self, leo: Any, seed: str, temperature: float, semantic_weight: float, meta: Mapping[str, Any]
    ) -> dict[str, Any]:
        if not leo.vocab or not leo.bigrams:
            return {"text": ""}  # he would give the seed back
        speak = self.names["generate_reply"]
        accepted = self._accepts(speak)
        possible = {
            "bigrams": leo.bigrams,
            "vocab": leo.vocab,
            "centers": leo.centers,
            "bias": leo.bias,
            "prompt": seed,
            "max_tokens": meta.get("max_tokens") or MAX_TOKENS,
            "temperature": temperature,
            "echo": False,
            "trigrams": leo.trigrams,
            "co_occur": leo.co_occur,
            "emotion_map": leo.emotion,
            "return_context": True,
            "themes": leo.themes,
            "token_to_themes": leo.token_to_themes,
            "use_experts": False,  # they would replace the temperature
            "trauma_state": getattr(leo, "_trauma_state", None),
            "semantic_weight": semantic_weight,
        }
        if "token_boosts" in accepted:
            weight = 0.0 if "semantic_weight" in accepted else semantic_weight
            words = self.names["tokenize"](seed)
            possible["token_boosts"] = boosts(leo, self.database.path(leo), words, weight, meta.get("expert"))
        answer = speak(**{name: value for name, value in possible.items() if name in accepted})
        if isinstance(answer, str):
            return {"text": answer, **self._own_measures(leo, answer)}
        pulse, quality = getattr(answer, "pulse", None), getattr(answer, "quality", None)
        told = given(entropy=getattr(pulse, "entropy", None), quality=getattr(quality, "overall", None))
        return {"text": answer.output, **self._own_measures(leo, answer.output), **told}

    def _accepts(self, speak: Callable[..., Any]) -> frozenset[str]:
        if self._accepted is None:
            self._accepted = frozenset(inspect.signature(speak).parameters)
        return self._accepted

    def _own_measures(self, leo: Any, text: str) -> dict[str, float]:
        """Of the line itself: those that leo returns with it are of the seed."""
        tokens = self.names["tokenize"](text)
        novelty, arousal = self.names.get("compute_prompt_novelty"), self.names.get("compute_prompt_arousal")
        return given(
            novelty=novelty(tokens, leo.trigrams) if novelty else None,
            arousal=arousal(tokens, leo.emotion) if arousal else None,
        )
