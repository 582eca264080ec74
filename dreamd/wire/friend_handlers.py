"""The handlers of `friend.*`. Their table is in handlers.py.

A handler that replaces the friend waits for the dialogues that run, or suspends them.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from msgspec.structs import replace

from dreamd.engine.hold import hold_dialogues
from dreamd.wire import params
from dreamd.wire.parts import Parts
from dreamd.wire.session import Session

Answer = Coroutine[Any, Any, dict[str, Any]]


async def list_fragments(parts: Parts, session: Session, asked: params.FragmentsParams) -> Any:
    found: Sequence[Any] = parts.friend.fragments
    if asked.checkpoint is not None:
        found = await parts.store.checkpoint(asked.checkpoint)
    elif asked.before is not None:
        found = await parts.store.friend_before(asked.before)
    return sorted(found, key=lambda fragment: -fragment.weight)


def list_drift(parts: Parts, session: Session, asked: params.PageParams) -> Coroutine[Any, Any, Any]:
    return parts.store.drift(asked.n, asked.before)


def keep_checkpoint(parts: Parts, session: Session, asked: params.CheckpointParams) -> Answer:
    return parts.store.keep(asked.name, parts.clock.wall(), again=asked.again)


def list_checkpoints(parts: Parts, session: Session, asked: params.CountParams) -> Coroutine[Any, Any, Any]:
    return parts.store.checkpoints(asked.n)


async def delete_checkpoint(parts: Parts, session: Session, asked: params.NameParams) -> dict[str, Any]:
    await parts.store.delete_checkpoint(asked.name)
    return {"name": asked.name}


def restore_friend(parts: Parts, session: Session, asked: params.RestoreParams) -> Answer:
    before, name = asked.before, asked.name
    if before is not None:
        return _change_friend(parts, "restore", lambda: parts.friend.restore_before(before))
    assert name is not None
    return _change_friend(parts, "restore", lambda: parts.friend.restore(name))


def drop_fragments(parts: Parts, session: Session, asked: params.DropParams) -> Answer:
    return _change_friend(parts, "drop", lambda: parts.friend.drop(asked.ids))


def import_fragments(parts: Parts, session: Session, asked: params.ImportParams) -> Answer:
    copies = [replace(copy, dialog=None) for copy in asked.fragments]
    return _change_friend(parts, "import", lambda: parts.friend.take_in(copies))


def reseed_friend(parts: Parts, session: Session, asked: params.SeedParams) -> Answer:
    seed = asked.seed
    return _change_friend(parts, "reseed", lambda: parts.friend.reseed(seed.origin, seed.readme))


async def _change_friend(parts: Parts, how: str, change: Callable[[], Answer]) -> dict[str, Any]:
    async with hold_dialogues(parts.engine.dialogues):
        answer = await change()
    told = {key: answer[key] for key in ("fragments", "kept", "added", "left", "undo")}
    if answer["undo"] or answer["added"]:  # else he is as he was
        parts.events.publish({"type": "friend.changed", "at": parts.clock.wall(), "how": how, **told})
    return answer
