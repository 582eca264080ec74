"""The hooks of a leo, which the daemon calls for a line of his, to feed him a line, and for his memories.

The hooks have a weak reference to the field: a leo that his owner drops is not kept alive by his dreams. They run at
any time, on the client's thread. Leo replaces his tables and never changes them in place, so a line that is made while
he talks changes nothing of his.
"""

import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any

from dreamclient.leo.database import FieldDatabase, recall
from dreamclient.leo.diet import Chooses, KnownToLeo
from dreamclient.leo.feeding import Added, drop_marks, ingest, undo_line
from dreamclient.leo.modules import Modules, SpokenLine
from dreamclient.leo.names import given
from dreamclient.leo.voice import Voice, text_of
from dreamclient.messages import ADDED_BYTES
from dreamclient.protocol.packing import packed

# Seconds. A line takes as long as a reply does, and both share the interpreter: while leo talks the line can wait.
LINE_WAITS_S = 1.0
LOADING_WAITS_S = 25.0  # within his constructor leo has no words yet; the daemon gives a hook 30
LOOKS_AGAIN_S = 0.02
# Texts, 1 MB. leo keeps 512 snapshots, but makes one of a good reply only, and keeps those that he uses for long.
PRIVATE_TEXTS = 10_000
FED = 64  # lines whose additions are kept in memory, for a daemon that did not get the answer


@dataclass
class FieldHooks:
    """The hooks `generate`, `observe`, `recall` and `unobserve` of one field. `talks` returns True while he is in a
    reply."""

    field: weakref.ref[Any]
    names: Mapping[str, Any]
    database: FieldDatabase
    voice: Voice
    diet: Chooses
    count: Callable[[str], None]
    modules: Modules
    talks: Callable[[], bool] = lambda: False
    # Hashes of what was last said in private. They are gone with the process.
    private_texts: dict[int, None] = dataclass_field(default_factory=dict)
    _known: KnownToLeo = dataclass_field(init=False)
    # Of the candidates for a line, by number.
    _measures: dict[int, Mapping[str, float]] = dataclass_field(default_factory=dict)
    # What lines added to the field, by trace id and turn.
    _fed: dict[tuple[Any, Any], Added] = dataclass_field(default_factory=dict)

    def __post_init__(self) -> None:
        origin = self.names.get("EMBEDDED_BOOTSTRAP")
        self._known = KnownToLeo(self.names["tokenize"](origin) if isinstance(origin, str) else ())

    def generate(
        self, seed: str, temperature: float, semantic_weight: float, meta: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return a line of leo's, with its own measures: `{text, entropy?, quality?, novelty?, arousal?}`."""
        leo = self._leo()
        _wait_while(lambda: not leo.vocab, LOADING_WAITS_S)
        _wait_while(self.talks, LINE_WAITS_S)
        if not leo.vocab or not leo.bigrams:
            return {"text": ""}  # he would give the seed back
        answer = self.voice.say(leo, seed, temperature, semantic_weight, meta.get("max_tokens"))
        text = text_of(answer)
        pulse, quality = getattr(answer, "pulse", None), getattr(answer, "quality", None)
        told = given(entropy=getattr(pulse, "entropy", None), quality=getattr(quality, "overall", None))
        # Novelty and arousal of the line itself: those that leo returns with it are of the seed.
        tokens, tables = self.names["tokenize"](text), {"novelty": "trigrams", "arousal": "emotion"}
        measured = {name: self.names.get(f"compute_prompt_{name}") for name in tables}
        own = {name: of(tokens, getattr(leo, tables[name], {})) for name, of in measured.items() if of}
        if (candidate := meta.get("candidate", 1)) == 1:
            self._measures.clear()
        self._measures[candidate] = measures = given(**own) | told
        return {"text": text, **measures}

    def observe(self, text: str, meta: Mapping[str, Any]) -> dict[str, Any]:
        """Feed leo the parts of a line that his diet takes, and return `{taken, added}`. His next `observe` reads
        them."""
        leo = self._leo()
        _wait_while(self.talks, LINE_WAITS_S)  # both write to his database, and one of them would wait
        tokenize = self.names["tokenize"]
        known = self._known.now(leo)
        portions = self.diet.portions(tokenize(text), known)
        path = self._path(leo) if portions else None
        if path is None:
            return {"taken": False}
        added = ingest(path, portions, self.names["ingest_text"])
        for portion in portions:
            known.fed(tokenize(portion))
        measures = self._measures.get(meta.get("candidate", 1), {})
        self.modules.tell(leo, SpokenLine(text, meta, measures, path))
        if not added or len(packed(added)) > ADDED_BYTES:
            self.count("added")
            return {"taken": True}
        self._fed[meta.get("trace_id"), meta.get("turn")] = added
        while len(self._fed) > FED:
            self._fed.pop(next(iter(self._fed)))
        return {"taken": True, "added": added}

    def unobserve(self, what: Added | str | None, meta: Mapping[str, Any]) -> dict[str, Any]:
        """Take a line out of leo's field again, once, and return `{undone, missing?}`. `what`: the `added` of
        `observe`, or the text of a line that it did not answer, or None if all lines of a dialogue are done. leo's next
        `observe` reads what is left."""
        path = self._path(self._leo())
        if path is None:
            raise LookupError("leo's database is not known")
        if what is None:
            drop_marks(path, meta)
            return {"undone": True}
        known = self._fed.get((meta["trace_id"], meta["turn"])) if isinstance(what, str) else what
        self._known.forget()
        missing = undo_line(path, known, meta)  # an earlier process may have done it, and known what it added
        return {"undone": False} if missing is None else {"undone": True, "missing": missing}

    def recall(self, query: str, n: int) -> list[str]:
        """Return up to n of leo's own snapshots that share words with `query`, and were not said in private."""
        path = self._path(self._leo())
        return [] if path is None else recall(path, query, n, self.names["tokenize"], self.private_texts)

    def keep_private(self, text: str) -> None:
        """Keep a text out of what `recall` returns."""
        self.private_texts[hash(text)] = None
        if len(self.private_texts) > PRIVATE_TEXTS:
            self.private_texts.pop(next(iter(self.private_texts)), None)

    def field_id(self) -> str | None:
        """Return the id of the field, or None if it has none."""
        leo = self.field()
        return None if leo is None else self.database.field_id(leo)

    def _leo(self) -> Any:
        leo = self.field()
        if leo is None:
            raise ReferenceError("the field is gone")
        return leo

    def _path(self, leo: Any) -> Path | None:
        path = self.database.path(leo)
        if path is None:
            self.count("no_database")
        return path


def _wait_while(holds: Callable[[], bool], most_s: float) -> None:
    """Wait while `holds` returns True, for `most_s` seconds at most. Nothing of leo's waits for this thread."""
    end = time.monotonic() + most_s
    while holds() and time.monotonic() < end:
        time.sleep(LOOKS_AGAIN_S)
