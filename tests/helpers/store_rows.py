"""Use to fill a store: whole rows, with what a test cares about as arguments."""

from typing import Any

from dreamd.dream.friend import Change
from dreamd.dream.model import Fragment, Line
from dreamd.store.records import Finish, NewDialog
from dreamd.store.store import Store

STARTED_AT = 1_700_000_000.5
SEED = 2**80 + 1  # wider than SQLite's integers


def new_dialog(trace_id: str = "dream-1", **fields: Any) -> NewDialog:
    given = {
        "trace_id": trace_id,
        "session": 3,
        "client": "leo",
        "started_at": STARTED_AT,
        "rng_seed": SEED,
        "context": '{"prompt":"what is the river — ☂"}'.encode(),
        "settings": b'{"turns_min":3}',
        "friend_state": b"\x93\x01\x02\x00",
    }
    return NewDialog(**given | fields)


def line(turn: int, text: str = "the river keeps its stones", **fields: Any) -> Line:
    given = {
        "turn": turn,
        "speaker": "leo" if turn % 2 else "friend",
        "text": text,
        "novelty": 0.1,
        "arousal": 0.2,
        "entropy": 0.3,
        "trauma": 0.4,
        "overlap": 0.5,
        "quality": None,
        "seed": "a seed of words",
        "temperature": 0.75,
        "semantic_weight": 0.35,
        "expert": "",
        "candidates": (text + " and more", "another"),
    }
    return Line(**given | fields)


def fragment(number: int, text: str = "", **fields: Any) -> Fragment:
    given = {"weight": 0.3, "origin": False, "dialog": None, "added_at": STARTED_AT}
    return Fragment(id=number, text=text or f"fragment {number}", **given | fields)


def finish(*lines: Line, outcome: str = "complete", **fields: Any) -> Finish:
    return Finish(at=STARTED_AT + 9, outcome=outcome, lines=list(lines), **fields)


def change(
    added: tuple[Fragment, ...] = (),
    weights: tuple[tuple[int, float], ...] = (),
    left: tuple[int, ...] = (),
) -> Change:
    return Change(added=list(added), weights=list(weights), left=list(left))


async def end_open(store: Store) -> list[int]:
    """End what has not ended, as an engine does whose clients do not come back. Returns which."""
    left = [dialog.id for dialog in await store.open_dialogs()]
    for number in left:
        await store.finish(number, Finish(at=STARTED_AT, outcome="left"))
    return left


async def one_dream(
    store: Store, trace_id: str = "dream-1", *, lines: int = 3, at: float = STARTED_AT
) -> int:
    """Store a finished dialogue, and return its id."""
    number = await store.begin(new_dialog(trace_id, started_at=at))
    said = [line(turn) for turn in range(1, lines + 1)]
    for each in said:
        await store.record(number, each, at + each.turn)
    await store.finish(number, finish(*said))
    return number


ADDED = b"\x81\xa4keys\x91\x01"


async def fed_dream(
    store: Store, trace_id="dream-1", *, at=STARTED_AT, field="a field", added=ADDED, **end
) -> int:
    """Store a dialogue of three lines: one is fed, one is refused, of one the answer never came."""
    number = await store.begin(new_dialog(trace_id, started_at=at, field=field))
    lines = [line(1), line(2), line(3)]
    for each in lines:
        await store.record(number, each, at + each.turn)
    await store.observed(number, lines[0], "answered", added=added)
    await store.observed(number, lines[1], "refused")
    await store.finish(number, finish(*lines, observed={3: "failed"}, **end))
    await store.shard_written(number, at + 9)
    return number
