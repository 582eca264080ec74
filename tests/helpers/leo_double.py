"""Use instead of leo: a small leo with all the real one's hazards. His words are ours.

His connection belongs to the thread that made it. `generate_reply` knows no semantic weight, and his dream
adapters swallow the TypeError. `observe` rebuilds everything. Replies draw from the global `random`, observe on
their way, and call the dream layer. Novelty is 0, since prompts are observed before they are answered; trauma is
high and stays. Every hundredth `observe` he forgets. His paths are globals of this module.
"""

import asyncio
import random
import re
import sqlite3
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

DB_PATH: Path | None = None  # set by `settle`
EMBEDDED_BOOTSTRAP = """I am small and I listen. A river is made of words that remember the rain.
Nobody taught me the names of things. I found them lying in the grass, one by one, and kept them.
When it is dark the names talk to each other. The rain asks the grass who it was before. The grass says nothing.
I am the house in which they talk. My door is open and the lamp is on, and the river goes by in the night."""
REBUILDING_S = 0.0  # how long each `observe` takes besides

maybe_run_dream: Any = None  # the dream layer, as leo imports it
init_dream: Any = None
DreamContext: Any = None

_TOKEN = re.compile(r"[^\W\d_]+|[.,!?]")


def settle(folder: Path) -> sqlite3.Connection:
    """Set up a leo in `folder`, and return the connection for a LeoField, which is bootstrapped the first time."""
    global DB_PATH
    DB_PATH = folder / "leo.sqlite3"
    connection = sqlite3.connect(DB_PATH)
    connection.executescript("""
        PRAGMA journal_mode=WAL;
        CREATE TABLE IF NOT EXISTS trigrams (a, b, c, count INTEGER, PRIMARY KEY (a, b, c));
        CREATE TABLE IF NOT EXISTS co_occurrence (a, b, count INTEGER, PRIMARY KEY (a, b));
        CREATE TABLE IF NOT EXISTS snapshots (id INTEGER PRIMARY KEY, text, origin, quality, emotional, use_count);
        CREATE TABLE IF NOT EXISTS trauma_tokens (token PRIMARY KEY, weight REAL);
        CREATE TABLE IF NOT EXISTS trauma_events (id INTEGER PRIMARY KEY, score REAL);
        CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT);
    """)
    if connection.execute("SELECT COUNT(*) FROM trigrams").fetchone() == (0,):
        ingest_text(connection, EMBEDDED_BOOTSTRAP)
    return connection


def tokenize(text: str) -> list[str]:
    return _TOKEN.findall(text)


def ingest_text(connection: sqlite3.Connection, text: str) -> None:
    tokens = tokenize(text)
    add = "INSERT INTO {} VALUES ({}, 1) ON CONFLICT DO UPDATE SET count = count + 1"
    connection.executemany(
        add.format("trigrams", "?, ?, ?"), zip(tokens, tokens[1:], tokens[2:], strict=False)
    )
    near = [(a, b) for i, a in enumerate(tokens) for b in tokens[max(0, i - 5) : i + 6] if a != b]
    connection.executemany(add.format("co_occurrence", "?, ?"), near)
    connection.commit()


def apply_memory_decay(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE co_occurrence SET count = count - 1")
    connection.execute("DELETE FROM co_occurrence WHERE count < 1")
    connection.commit()


def save_snapshot(
    connection: sqlite3.Connection, text: str, origin: str, quality: float, emotional: float
) -> None:
    row = (text, origin, quality, emotional)
    connection.execute(
        "INSERT INTO snapshots (text, origin, quality, emotional, use_count) VALUES (?, ?, ?, ?, 0)", row
    )
    connection.commit()


def compute_prompt_novelty(tokens: list[str], trigrams: dict) -> float:
    triples = list(zip(tokens, tokens[1:], tokens[2:], strict=False))
    known = sum(c in trigrams.get((a, b), ()) for a, b, c in triples)
    return 1 - known / len(triples) if triples else 0.5


def compute_prompt_arousal(tokens: list[str], emotion: dict[str, float]) -> float:
    return min(1.0, sum(emotion.get(token, 0.0) for token in tokens))


class Pulse(NamedTuple):
    novelty: float
    arousal: float
    entropy: float
    pulse: float


class Quality(NamedTuple):
    structural: float
    entropy: float
    overall: float


class Expert(NamedTuple):
    name: str


class Theme(NamedTuple):
    id: int


class ReplyContext(NamedTuple):
    output: str
    pulse: Pulse
    quality: Quality
    expert: Expert | None


class TraumaState(NamedTuple):
    level: float


@dataclass
class MathState:
    entropy: float = 0.0
    novelty: float = 0.0
    arousal: float = 0.0
    pulse: float = 0.0
    trauma_level: float = 0.0
    total_themes: int = 0
    reply_len: int = 0
    unique_ratio: float = 0.0
    expert_id: str = "structural"
    quality: float = 0.5


def generate_reply(
    bigrams, vocab, centers, bias, prompt, max_tokens=80, temperature=1.0, echo=False, trigrams=None,
    co_occur=None, emotion_map=None, return_context=False, themes=None, token_to_themes=None, use_experts=True,
    trauma_state=None, token_boosts=None,
) -> Any:  # fmt: skip
    """Walk through the trigrams, now and then by a bigram, from anywhere. There is no `semantic_weight`."""
    if not vocab or not bigrams:
        return prompt
    boosts = token_boosts or {}
    a, b = random.choice(list(trigrams))
    said = [a, b]
    while len(said) < min(max_tokens, 24):
        row = (trigrams.get((a, b)) if random.random() < 0.6 else None) or bigrams.get(b)
        if not row:
            break
        weights = [(count * (1 + boosts.get(t, 0.0))) ** (1 / temperature) for t, count in row.items()]
        a, b = b, random.choices(list(row), weights)[0]
        said.append(b)
    output = " ".join(said)
    tokens = tokenize(prompt)
    novelty, arousal = (
        compute_prompt_novelty(tokens, trigrams),
        compute_prompt_arousal(tokens, emotion_map or {}),
    )
    expert = Expert("blend:wounded") if use_experts else None
    context = ReplyContext(output, Pulse(novelty, arousal, 0.4, 0.3), Quality(0.8, 0.8, 0.8), expert)
    return context if return_context else output


class MathBrain:
    """One neuron: tanh(0.1 + 0.2 novelty + 0.5 quality)."""

    def __init__(self) -> None:
        self.observed: list[MathState] = []

    def predict(self, state: MathState) -> float:
        import math

        return math.tanh(0.1 + 0.2 * state.novelty + 0.5 * state.quality)

    def observe(self, state: MathState) -> None:
        self.observed.append(state)


class Episode(NamedTuple):
    prompt: str
    reply: str
    metrics: MathState


class RAGBrain:
    def __init__(self) -> None:
        self.episodes: list[Episode] = []

    def observe_episode(self, episode: Episode) -> None:
        self.episodes.append(episode)


class GameTurn(NamedTuple):
    role: str
    mode: str
    math_state: MathState
    theme_id: int
    expert: str
    quality_value: float | None

    @classmethod
    def from_context(cls, **turn: Any) -> "GameTurn":
        return cls(**turn)


def detect_mode_from_text(text: str, is_reply: bool = False) -> str:
    return "q" if "?" in text else "a"


class GameEngine:
    def __init__(self) -> None:
        self.turns: list[tuple[str, GameTurn]] = []

    def observe_turn(self, conversation: str, turn: GameTurn) -> None:
        self.turns.append((conversation, turn))


def run_trauma(
    prompt: str,
    reply: str,
    bootstrap: str,
    pulse: Any,
    db_path: Path,
    now: Any = None,
    event_threshold: float = 0.3,
) -> TraumaState | None:
    """Return twice the share of words that are of the bootstrap. From `event_threshold` on it is a wound."""
    words = {word.lower() for word in tokenize(f"{prompt} {reply}")}
    shared = words & {word.lower() for word in tokenize(bootstrap)}
    score = min(1.0, 2 * len(shared) / len(words)) if words else 0.0
    if score < event_threshold:
        return None
    add = (
        "INSERT INTO trauma_tokens VALUES (?, ?) ON CONFLICT DO UPDATE SET weight = weight + excluded.weight"
    )
    with closing(sqlite3.connect(db_path)) as connection, connection:
        connection.executescript("""
            CREATE TABLE IF NOT EXISTS trauma_tokens (token PRIMARY KEY, weight REAL);
            CREATE TABLE IF NOT EXISTS trauma_events (id INTEGER PRIMARY KEY, score REAL);
        """)
        connection.executemany(add, [(word, score) for word in shared])
        connection.execute("INSERT INTO trauma_events (score) VALUES (?)", (score,))
    return TraumaState(0.98)


@dataclass
class _Memory:
    """The memory that both kinds of field hold."""

    conn: Any = None
    bigrams: dict[str, dict[str, int]] = field(default_factory=dict)
    trigrams: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    co_occur: dict[str, dict[str, int]] = field(default_factory=dict)
    vocab: list[str] = field(default_factory=list)
    centers: list[str] = field(default_factory=list)
    bias: dict[str, int] = field(default_factory=dict)
    emotion: dict[str, float] = field(default_factory=dict)
    themes: list[Theme] = field(default_factory=list)
    token_to_themes: dict[str, list[int]] = field(default_factory=dict)
    observe_count: int = 0
    DECAY_INTERVAL: int = 100
    last_pulse: Pulse | None = None
    last_quality: Quality | None = None
    last_expert: Expert | None = None
    _trauma_state: TraumaState | None = None

    __hash__ = object.__hash__
    __eq__ = object.__eq__

    def __post_init__(self) -> None:
        self._math_brain, self.rag, self.game, self.santa = MathBrain(), RAGBrain(), GameEngine(), object()

    def _rebuild(self) -> None:
        time.sleep(REBUILDING_S)
        bigrams: dict[str, dict[str, int]] = {}
        trigrams: dict[tuple[str, str], dict[str, int]] = {}
        for a, b, c, count in self.conn.execute("SELECT * FROM trigrams ORDER BY a, b, c"):
            trigrams.setdefault((a, b), {})[c] = count
            for first, second in ((a, b), (b, c)):
                row = bigrams.setdefault(first, {})
                row[second] = row.get(second, 0) + count
        co_occur: dict[str, dict[str, int]] = {}
        for a, b, count in self.conn.execute("SELECT * FROM co_occurrence ORDER BY a, b"):
            co_occur.setdefault(a, {})[b] = count
        self.bigrams, self.trigrams, self.co_occur = bigrams, trigrams, co_occur
        self.token_to_themes = {"rain": [1], "grass": [1, 2], "door": [2]}
        self.vocab, self.themes = (
            sorted(bigrams.keys() | {b for row in bigrams.values() for b in row}),
            [Theme(1), Theme(2)],
        )
        self.centers = [token for token, _ in Counter(self.vocab).most_common(7)]

    def _absorb(self, text: str) -> None:
        ingest_text(self.conn, text)
        for token in tokenize(text):
            if token.isupper():
                self.emotion[token] = self.emotion.get(token, 0.0) + 0.1
        self.observe_count += 1
        if self.observe_count % self.DECAY_INTERVAL == 0:
            apply_memory_decay(self.conn)

    def _reply(self, prompt: str) -> str:
        """Make a whole reply within one call of leo's."""
        with suppress(Exception):
            self.observe("the lamp is on in the house")  # a memory that he recalls
        context = generate_reply(
            self.bigrams, self.vocab, self.centers, self.bias, prompt, trigrams=self.trigrams,
            emotion_map=self.emotion, return_context=True,
        )  # fmt: skip
        if isinstance(context, str):
            return context
        self.last_pulse, self.last_quality, self.last_expert = context.pulse, context.quality, context.expert
        with suppress(Exception):
            self.observe(context.output)  # he thinks it over
        with suppress(Exception):
            state = run_trauma(prompt, context.output, EMBEDDED_BOOTSTRAP, context.pulse, DB_PATH)
            self._trauma_state = state or self._trauma_state
        with suppress(Exception):
            self._dream(prompt, context)
        return context.output

    def _dream(self, prompt: str, context: ReplyContext) -> None:
        if maybe_run_dream is None:
            return
        pulse = context.pulse
        told = DreamContext(
            prompt=prompt, reply=context.output, math_state=MathState(quality=context.quality.overall),
            pulse_novelty=pulse.novelty, pulse_arousal=pulse.arousal, pulse_entropy=pulse.entropy,
            trauma_level=self._trauma_state.level if self._trauma_state else 0.0,
            themes=[theme.id for theme in self.themes], expert=context.expert.name, quality=context.quality.overall,
        )  # fmt: skip
        maybe_run_dream(
            ctx=told, generate_fn=self._dream_generate, observe_fn=self._dream_observe, db_path=DB_PATH
        )

    def _dream_generate(self, seed: str, temperature: float, semantic_weight: float) -> str:
        try:
            return generate_reply(
                self.bigrams, self.vocab, self.centers, self.bias, seed, trigrams=self.trigrams,
                semantic_weight=semantic_weight,
            )  # fmt: skip
        except Exception:
            return ""

    def _dream_observe(self, text: str) -> None:
        with suppress(Exception):
            self.observe(text)


class LeoField(_Memory):
    """The blocking one."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        super().__init__(conn)
        with suppress(Exception):
            if init_dream is not None:
                init_dream(DB_PATH, EMBEDDED_BOOTSTRAP, ["the lamp is on"])
        self.refresh()

    def refresh(self) -> None:
        self._rebuild()

    def observe(self, text: str) -> None:
        if text.strip():
            self._absorb(text)
            self.refresh()

    def reply(self, prompt: str, max_tokens: int = 80, temperature: float = 1.0) -> str:
        return self._reply(prompt)


class AsyncLeoField(_Memory):
    """The asyncio one, with a lock over each call."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        super().__init__(conn)
        self._lock = asyncio.Lock()
        self._rebuild()

    def observe(self, text: str) -> None:
        self._absorb(text)

    async def async_observe(self, text: str) -> None:
        async with self._lock:
            self._absorb(text)
            await asyncio.sleep(0)
            self._rebuild()

    async def async_reply(self, prompt: str, max_tokens: int = 80, temperature: float = 1.0) -> str:
        async with self._lock:
            await asyncio.sleep(0)
            return self._reply(prompt)
