"""The scenes that `health.py` plays with a real leo: each in a process of its own, in his checkout and environment.

    python scenes.py SPEC      SPEC is JSON: {scene, seed, prompts, socket, diet, pause_s, result}

Needs leo, dreamclient and the standard library. What was measured is written as JSON to the file `result`.
"""

import json
import random
import re
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path.cwd()))
import leo  # type: ignore[import-not-found]  # the checkout's
import numpy as np
from dreamclient.leo import attach
from dreamclient.leo.diet import Chooses, Diet, Everything
from dreamclient.messages import DreamContext, PulseSnapshot

PROBES = 100
PROBE_SETS = range(88001, 88007)  # their seeds; the mean is taken, since one alone varies by 4 %


class Nothing:
    """No line is taken: leo stays who he was."""

    def portions(self, *_: object) -> list[str]:
        return []


DIETS: dict[str, Chooses] = {
    "diet": Diet(),
    "whole lines": Everything(),
    "nothing": Nothing(),
}
CONNECT_S = 10.0
A_PROMPT_S = 20.0  # from one prompt to the next, by the clock that leo sees

Spec = dict[str, Any]


def topics() -> list[str]:
    """Return the prompts that leo's own tests talk with."""
    files = [json.loads(path.read_text()) for path in sorted(Path("tests").glob("topics*.json"))]
    found = [
        prompt
        for file in files
        for topic in file.get("conversation_topics", ())
        for prompt in topic["prompts"]
    ]
    return list(dict.fromkeys(found))


def born(seed: int) -> Any:
    """Return a leo who has read his README, without his own dream layer, which draws by the hour.

    His MathBrain draws its first weights from `random`, and his subwords come from numpy's: without the seeds no two
    leos are equal."""
    random.seed(seed)
    np.random.seed(seed)
    connection = leo.init_db()
    leo.bootstrap_if_needed(connection)
    leo.maybe_run_dream = None
    return leo.LeoField(connection)


class Clock:
    """In the place of `time.time`: leo's memories fade, and his questions return, by the hour. Without it the same
    leo, asked the same a little faster, gives other replies."""

    def __init__(self) -> None:
        self.now_s = 1.8e9

    def __call__(self) -> float:
        return self.now_s

    def go_on(self) -> None:
        self.now_s += A_PROMPT_S


def attached(field: Any, spec: Spec) -> Any:
    """Attach the field to the daemon, and return the client, or None without a daemon."""
    if not spec["socket"]:
        return None
    client = attach(field, socket_path=spec["socket"], diet=DIETS[spec["diet"]]).client
    client.start(CONNECT_S)
    return client


def spoken(field: Any, prompt: str) -> Any:
    """Return the answer that `reply` would give, without learning from it."""
    return leo.generate_reply(
        field.bigrams, field.vocab, field.centers, field.bias, prompt, trigrams=field.trigrams,
        co_occur=field.co_occur, emotion_map=field.emotion, return_context=True, themes=field.themes,
        token_to_themes=field.token_to_themes, trauma_state=field._trauma_state,
    )  # fmt: skip


def width(field: Any) -> dict[str, float]:
    """Return three figures of 100 probe replies: the share of word pairs that are distinct, the number of distinct
    words, and the share of word pairs that are in his bootstrap."""
    before, prompts, origin = random.getstate(), topics(), set(pairwise(words_of(leo.EMBEDDED_BOOTSTRAP)))
    found = dict.fromkeys(("distinct_2", "vocabulary", "origin"), 0.0)
    for seed in PROBE_SETS:
        random.seed(seed)
        asked = random.Random(seed).choices(prompts, k=PROBES)
        replies = [words_of(spoken(field, prompt).output) for prompt in asked]
        pairs = [pair for words in replies for pair in pairwise(words)]
        found["distinct_2"] += len(set(pairs)) / len(pairs) / len(PROBE_SETS)
        found["vocabulary"] += len({word for words in replies for word in words}) / len(PROBE_SETS)
        found["origin"] += sum(pair in origin for pair in pairs) / len(pairs) / len(PROBE_SETS)
    random.setstate(before)
    return found


def words_of(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def trigrams(field: Any) -> int:
    field.refresh()
    return sum(map(len, field.trigrams.values()))


def themes_by_bits(
    co_occur: Any, min_neighbors: int = 5, min_total_cooccur: int = 10, top_neighbors: int = 16,
    merge_threshold: float = 0.4,
) -> tuple[list[Any], dict[str, list[int]]]:  # fmt: skip
    """Build leo's themes by sets of bits, in a sixth of the time of his `build_themes`, which is four fifths of all he
    does. The themes were seen to be equal on his field."""
    bit: dict[str, int] = {}
    left = []
    for token, company in co_occur.items():
        if len(company) < min_neighbors or sum(company.values()) < min_total_cooccur:
            continue
        top = sorted(company.items(), key=lambda item: item[1], reverse=True)[:top_neighbors]
        near = {word for word, _ in top}
        near.add(token)
        left.append((token, near, sum(bit.setdefault(word, 1 << len(bit)) for word in near)))
    themes = []
    while left:
        (core, near, bits), *others = left
        words, centers, left = set(near), {core}, []
        for other in others:
            token, near, theirs = other
            if (bits & theirs).bit_count() / (bits | theirs).bit_count() >= merge_threshold:
                words |= near
                bits |= theirs
                centers.add(token)
            else:
                left.append(other)
        themes.append(leo.Theme(id=len(themes), centers=centers, words=words, strength=1.0))
    index: dict[str, list[int]] = {}
    for theme in themes:
        for word in theme.words:
            index.setdefault(word, []).append(theme.id)
    return themes, index


def conversation(field: Any, spec: Spec) -> Iterator[tuple[str, str, float]]:
    """Talk with leo, and yield each prompt, his reply, and the seconds that it took him."""
    for prompt in random.Random(spec["seed"]).sample(topics(), spec["prompts"]):
        clock.go_on()
        field.observe(prompt)
        start = time.perf_counter()
        reply = field.reply(prompt)
        yield prompt, reply, time.perf_counter() - start


def context(prompt: str, reply: str, said: Any) -> DreamContext:
    pulse = PulseSnapshot(said.novelty, said.arousal, said.entropy)
    return DreamContext(prompt=prompt, reply=reply, pulse=pulse, trauma_level=0.3)


def replies(spec: Spec) -> dict[str, Any]:
    """Talk with leo under this daemon, and return his replies and the seconds that each took."""
    field = born(spec["seed"])
    attached(field, spec)
    said, seconds = [], []
    for _, reply, took_s in conversation(field, spec):
        said.append(reply)
        seconds.append(took_s)
        time.sleep(spec["pause_s"])
    return {"replies": said, "seconds": seconds}


def felt(spec: Spec) -> dict[str, Any]:
    """Talk with leo. The daemon is told of each reply and does not dream, so that it shows what its gates measure."""
    field = born(spec["seed"])
    attached(field, spec)
    for _ in conversation(field, spec):
        pass
    return {}


def alone(spec: Spec) -> dict[str, Any]:
    """Dream without a conversation, each time of a prompt and a reply that he does not learn from."""
    field = born(spec["seed"])
    client = attached(field, spec)
    before, had = width(field), trigrams(field)
    for prompt in random.Random(spec["seed"]).choices(topics(), k=spec["prompts"]):
        reply = spoken(field, prompt)
        client.dream_now(context(prompt, reply.output, reply.pulse))
        field.refresh()
    return {"before": before, "after": width(field), "gain": trigrams(field) - had}


def talk(spec: Spec) -> dict[str, Any]:
    """Talk with leo, and dream after each reply if there is a daemon."""
    field = born(spec["seed"])
    client = attached(field, spec)
    had = trigrams(field)
    for _ in conversation(field, spec):
        if client is not None:
            client.dream_now()  # of the reply that the daemon was told of
    gain = trigrams(field) - had
    return {"after": width(field), "gain": gain}


def rows(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of leo's tables, but for SQLite's own counters."""
    with closing(sqlite3.connect(path)) as connection:
        names = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        ]
        return {
            name: connection.execute(f"SELECT rowid, * FROM {name} ORDER BY rowid").fetchall()
            for name in names
            if name != "sqlite_sequence"
        }


def sequences(path: Path) -> list[set[tuple[Any, ...]]]:
    """Return his words, pairs and triples with their counts, in words, since a word may have got another number."""
    with closing(sqlite3.connect(path)) as connection:
        words = dict(connection.execute("SELECT id, token FROM tokens"))
        counted = [
            connection.execute(f"SELECT * FROM {table}").fetchall() for table in ("bigrams", "trigrams")
        ]
    return [{(word,) for word in words.values()}] + [
        {(*map(words.get, ids), count) for *ids, count in table} for table in counted
    ]


def undone(spec: Spec) -> dict[str, Any]:
    """Dream and take the dream back, at first with nothing in between, then with two replies in between. Return how
    often he was then as he had been, or as the replies alone make him."""
    field = born(spec["seed"])
    client = attached(field, spec)
    field.DECAY_INTERVAL = sys.maxsize  # otherwise his own forgetting comes in between
    heard, ingest_text = list[str](), leo.ingest_text
    leo.ingest_text = lambda connection, text: heard.append(text) or ingest_text(connection, text)
    talking, twin = conversation(field, spec), Path("twin.sqlite3")
    same, exact = [], []
    for number in range(spec["prompts"]):
        before = rows(leo.DB_PATH)
        with closing(sqlite3.connect(leo.DB_PATH)) as his, closing(sqlite3.connect(twin)) as copy:
            his.backup(copy)
        dream = client.dream_now()["dialog"]
        heard.clear()
        if number % 2:
            next(talking), next(talking)
        client.call("dialogs.undream", {"id": dream}, timeout_s=60.0)
        if not number % 2:
            same.append(rows(leo.DB_PATH) == before)
            continue
        with closing(sqlite3.connect(twin)) as copy:
            for text in heard:
                ingest_text(copy, text)
        exact.append(sequences(leo.DB_PATH) == sequences(twin))
        field.refresh()
    return {"same": same, "exact": exact}


if __name__ == "__main__":
    time.time = clock = Clock()
    leo.build_themes = themes_by_bits
    given: Spec = json.loads(sys.argv[1])
    scene = {"replies": replies, "felt": felt, "alone": alone, "talk": talk, "undone": undone}[given["scene"]]
    Path(given["result"]).write_text(json.dumps(scene(given)))
