"""The friend of the daemon: a value in memory and rows on disk, which change together or not at all."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import msgspec
from dreamclient.messages import Code

from dreamd.clock import Clock
from dreamd.dream.copies import Copy, copies_of, to_take_in
from dreamd.dream.friend import Friend, FriendSettings, split_origin
from dreamd.dream.shapes import Fragment
from dreamd.errors import Refusal
from dreamd.store import Finish, Memory, Store
from dreamd.store.checkpoints import PREVIOUS

T = TypeVar("T")


class FriendKeeper:
    """Keeps one friend for all sessions. What changes it waits for its turn, and goes on where the one who asked
    has gone. Methods raise StoreUnavailable where the store cannot take it; the friend is then as before."""

    def __init__(self, store: Store, clock: Clock, settings: FriendSettings) -> None:
        self.friend = Friend()
        self.settings = settings
        self._store = store
        self._clock = clock
        self._changing = asyncio.Lock()
        self._changes: set[asyncio.Task[Any]] = set()

    @property
    def seeded(self) -> bool:
        """Whether there is an origin."""
        return bool(self._origin)

    @property
    def _origin(self) -> list[Fragment]:
        return [fragment for fragment in self.friend.fragments if fragment.origin]

    async def load(self) -> Memory:
        """Take up what the store holds. One begun afresh gets the origin that is in memory (P4)."""
        async with self._changing:
            memory = await self._store.load()
            origin = [fragment.text for fragment in self._origin]
            if origin and await self._store.seed(origin, self._clock.wall()):
                memory = await self._store.load()
            self._take_up(memory)
            return memory

    async def close(self) -> None:
        """Wait for the changes that are under way."""
        await asyncio.gather(*self._changes, return_exceptions=True)

    # dialogues

    async def finish(self, dialog: int, end: Finish) -> Finish:
        """The end of a dialogue in the store and, where it spoke, the next friend, together. Returns the end with
        the change and the drift."""
        async with self._changing:
            friend = self.friend
            if end.lines:
                said = [line for line in end.lines if line.speaker == "friend"]
                friend, change = friend.after(said, dialog=dialog, at=end.at, settings=self.settings)
                end = msgspec.structs.replace(end, change=change, drift=friend.drift())
            await self._store.finish(dialog, end)
            self.friend = friend
        return end

    # the origin

    async def seed(self, origin: Sequence[str], readme: Sequence[str]) -> int:
        """The first seed that is not empty makes the origin; returns how many fragments were stored."""
        return await self._to_its_end(self._seed(origin, readme))

    async def reseed(self, origin: Sequence[str], readme: Sequence[str]) -> dict[str, Any]:
        """P4: the one way to another origin. What was learned stays. Raises Refusal where there is no text."""
        return await self._to_its_end(self._reseed(origin, readme))

    # checkpoints

    async def checkpoint(self, name: str, *, again: bool) -> dict[str, Any]:
        """Keep the friend under a name; `again` takes the place of an earlier one. Raises Refusal."""
        return await self._to_its_end(self._checkpoint(name, again))

    async def copies(self, name: str) -> list[Copy]:
        """What a checkpoint holds. Raises Refusal."""
        found = await self._store.checkpoint(name)
        if found is None:
            raise Refusal(
                Code.NOT_FOUND, "no checkpoint of that name; `dreamctl friend checkpoint` lists them"
            )
        return found

    async def restore(self, name: str) -> dict[str, Any]:
        """Make the friend what it was then, but for the origin, which stays. Raises Refusal."""
        return await self.take_in(await self.copies(name))

    async def take_in(self, copies: Sequence[Copy]) -> dict[str, Any]:
        """Replace what was learned, and the weights of the origin, by those of `copies`; what was there stays as
        the checkpoint `previous`. Returns {fragments, origin, drift: of the new friend; kept, added, left, skipped:
        how many}."""
        return await self._to_its_end(self._take_in(copies))

    # under the lock

    async def _seed(self, origin: Sequence[str], readme: Sequence[str]) -> int:
        async with self._changing:
            if self.seeded:
                return 0
            stored = await self._store.seed(self._split(origin, readme), self._clock.wall())
            if stored:
                self._take_up(await self._store.load())
            return stored

    async def _reseed(self, origin: Sequence[str], readme: Sequence[str]) -> dict[str, Any]:
        at = self._clock.wall()
        born = [Copy(text=text, weight=1.0, origin=True, added_at=at) for text in self._split(origin, readme)]
        if not born:
            raise Refusal(Code.INVALID_PARAMS, "there is no word in it to be born of")
        async with self._changing:
            learned = [fragment for fragment in self.friend.fragments if not fragment.origin]
            return await self._replace([*born, *copies_of(learned)], ())

    async def _take_in(self, copies: Sequence[Copy]) -> dict[str, Any]:
        async with self._changing:
            return await self._replace(copies, self._origin)

    async def _checkpoint(self, name: str, again: bool) -> dict[str, Any]:
        if name == PREVIOUS:
            raise Refusal(
                Code.INVALID_PARAMS, f"`{PREVIOUS}` is kept for what was there before a change; name another"
            )
        async with self._changing:
            kept = await self._store.keep(
                name, copies_of(self.friend.fragments), self._clock.wall(), again=again
            )
        if not kept:
            raise Refusal(Code.INVALID_PARAMS, "there is a checkpoint of that name already; name another")
        return {"name": name, "fragments": len(self.friend.fragments), "origin": len(self._origin)}

    async def _replace(self, copies: Sequence[Copy], origin: Sequence[Fragment]) -> dict[str, Any]:
        taken, skipped = to_take_in(copies, origin, self.settings)
        before = copies_of(self.friend.fragments)
        memory, counts = await self._store.replace_friend(taken, before, self._clock.wall())
        self._take_up(memory)
        return {
            "fragments": len(self.friend.fragments),
            "origin": len(self._origin),
            "drift": self.friend.drift(),
            **counts,
            "skipped": skipped,
        }

    def _take_up(self, memory: Memory) -> None:
        """The fragments in the order of their ids, as after any start (P13)."""
        self.friend = Friend(tuple(memory.fragments), memory.next_fragment_id)

    def _split(self, origin: Sequence[str], readme: Sequence[str]) -> list[str]:
        return split_origin(list(origin), list(readme), self.settings.origin_most)

    async def _to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result. What the store and the memory hold must not part, whoever is gone in between."""
        task = asyncio.get_running_loop().create_task(work)
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        return await asyncio.shield(task)
