"""State folders with a past: a database of so many lines, or an inbox of so many files."""

import asyncio
import random
import sqlite3
from pathlib import Path

from dreamd.clock import Clock
from dreamd.store.schema import add_functions
from dreamd.store.search import REBUILD
from dreamd.store.store import Store
from tests.bench.daemon import dreamd, running
from tests.bench.leo import dream
from tests.bench.messages import WORDS

LINES_OF_ONE = 4
BEGAN = 1_700_000_000.0


def with_lines(state: Path, lines: int) -> Path:
    """Fill a database with dialogues of four lines."""
    state.mkdir()
    asyncio.run(_make_empty(state / "dream.sqlite3"))
    draw, dialogues = random.Random(lines), lines // LINES_OF_ONE
    with sqlite3.connect(state / "dream.sqlite3") as database:
        database.executemany(
            "INSERT INTO dream_dialogs (id, started_at, finished_at, episodes_count, trace_id, outcome, client,"
            " shard_at) VALUES (?, ?, ?, 4, ?, 'complete', 'leo', ?)",
            (
                (n, BEGAN + n, BEGAN + n + 0.5, f"dream-{int(BEGAN)}-{n}-00000000", BEGAN)
                for n in range(1, dialogues + 1)
            ),
        )
        database.executemany(
            "INSERT INTO dream_turns (dialog_id, turn, speaker, text, trauma_level, pulse_novelty, pulse_arousal,"
            " pulse_entropy, overlap, at) VALUES (?, ?, ?, ?, 0.5, 0.5, 0.5, 0.5, 0.5, ?)",
            (
                (n, turn, "leo" if turn % 2 else "friend", _line(draw), BEGAN + n)
                for n in range(1, dialogues + 1)
                for turn in range(1, LINES_OF_ONE + 1)
            ),
        )
        add_functions(database)
        for statement in REBUILD:
            database.execute(statement)
        # A past that grew line by line has the merges of its index behind it.
        database.execute("INSERT INTO dream_search (dream_search) VALUES ('optimize')")
        database.execute("UPDATE dream_meta SET value = ? WHERE key = 'dream_lines'", (lines,))
    database.close()
    return state


async def _make_empty(database: Path) -> None:
    async with await Store.open(database, clock=Clock()):
        pass


def _line(draw: random.Random) -> str:
    """Return a line. One word in a hundred thousand lines is rare, as in a real past."""
    return " ".join([*draw.choices(WORDS, k=10), f"w{draw.randrange(20_000)}"])


def with_files(state: Path, files: int) -> Path:
    """Fill an inbox with copies of one dreamt file."""
    state.mkdir()
    with running(dreamd(state), state / "dreamd.sock"):
        dream(state / "dreamd.sock", 1)
    folder = state / "inbox" / "dreams"
    [one] = folder.glob("*.json")
    text = one.read_text()
    for number in range(files):
        name = f"dream-{int(BEGAN)}-{number}-00000000"
        (folder / f"{name}.json").write_text(text.replace(one.stem, name))
    return state
