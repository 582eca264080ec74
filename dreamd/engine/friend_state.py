"""The friend of the daemon: a value in memory and rows on disk, which change only together."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
from dreamclient.messages import Code

from dreamd.clock import Clock
from dreamd.dream.fragment_records import FragmentRecord, merge_records, to_records
from dreamd.dream.friend import Friend, FriendSettings, Ranks, split_origin
from dreamd.dream.measures import words_overlap
from dreamd.dream.model import Fragment
from dreamd.errors import Refusal
from dreamd.store.file.late_calls import OneByOne, wait_uncancelled
from dreamd.store.forgetting import Asked, Dream, Forgotten
from dreamd.store.records import Finish, Memory
from dreamd.store.store import Store

P = ParamSpec("P")
T = TypeVar("T")


def _run_uncancelled(
    change: Callable[Concatenate["FriendState", P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["FriendState", P], Coroutine[Any, Any, T]]:
    """Run a change under the lock and to its end even if the caller is cancelled, so that store and memory stay
    equal."""

    @wraps(change)
    async def alone(self: "FriendState", /, *args: P.args, **kwargs: P.kwargs) -> T:
        async def locked() -> T:
            async with self._changing:
                return await change(self, *args, **kwargs)

        task = asyncio.get_running_loop().create_task(locked())
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        return await wait_uncancelled(task)

    return alone


class FriendState:
    """The one friend of all sessions. Changes run one after the other, each to its end even if the caller is cancelled.
    If the store cannot take a change, methods raise StoreUnavailable and the friend stays as he was."""

    def __init__(self, store: Store, clock: Clock, settings: FriendSettings) -> None:
        self.friend = Friend()
        self.settings = settings
        self._store = store
        self._clock = clock
        self._loaded = False
        self._changing = asyncio.Lock()
        self._changes: set[asyncio.Task[Any]] = set()
        self._seeding = OneByOne()  # each client may ask for it

    @property
    def seeded(self) -> bool:
        """True if there is an origin."""
        return bool(self._origin)

    @property
    def fragments(self) -> tuple[Fragment, ...]:
        """The fragments of the friend, in the order of their ids."""
        return self.friend.fragments

    def overlap(self, words: Sequence[str]) -> float:
        """Return how much the words of a text have in common with the origin."""
        return words_overlap(words, self.friend.origin_profile)

    @property
    def _origin(self) -> list[Fragment]:
        return [fragment for fragment in self.friend.fragments if fragment.origin]

    @_run_uncancelled
    async def load(self) -> Memory:
        """Load the friend from the store, and return all that the store has loaded."""
        memory = await self._store.load()
        self._take_up(memory)
        return memory

    async def close(self) -> None:
        """Wait for the running changes. Cancelling this call does not cancel them."""
        if self._changes:
            await asyncio.wait(self._changes)

    # Dialogues.

    @_run_uncancelled
    async def finish(self, dialog: int, end: Finish) -> Finish:
        """Store the end of a dialogue and, if it spoke and was fed, the next friend in one transaction. Return the end
        with the change and the drift."""
        friend = self.friend
        if end.lines and end.fed:
            said = [line for line in end.lines if line.speaker == "friend"]
            ranks = Ranks(await self._store.last_measures())  # including those of this dialogue
            friend, change = friend.after(said, dialog=dialog, at=end.at, settings=self.settings, ranks=ranks)
            end = msgspec.structs.replace(end, change=change, drift=friend.drift())
        await self._store.finish(dialog, end)
        self.friend = friend
        return end

    # The origin.

    async def seed(self, origin: Sequence[str], readme: Sequence[str]) -> int:
        """Make the first non-empty seed the origin, and return how many fragments were stored."""
        return await self._seeding.run(partial(self._seed, origin, readme))

    @_run_uncancelled
    async def _seed(self, origin: Sequence[str], readme: Sequence[str]) -> int:
        if self.seeded:
            return 0
        stored, memory = await self._store.seed(self._split(origin, readme), self._clock.wall())
        self._take_up(memory)
        return stored

    @_run_uncancelled
    async def reseed(self, origin: Sequence[str], readme: Sequence[str]) -> dict[str, Any]:
        """Replace the origin, and keep what was learned. Return as `take_in` does. Raise Refusal if there is no word in
        it."""
        await self._load_once()
        at = self._clock.wall()
        born = [
            FragmentRecord(text=text, weight=1.0, origin=True, added_at=at)
            for text in self._split(origin, readme)
        ]
        if not born:
            raise Refusal(Code.INVALID_PARAMS, "there is no word in it to be born of")
        learned = [fragment for fragment in self.friend.fragments if not fragment.origin]
        return await self._replace([*born, *to_records(learned)])

    @_run_uncancelled
    async def forget(self, dreams: Sequence[Dream], asked: Asked) -> Forgotten:
        """Delete dialogues from the store, and with `friend` the fragments that came from them. Return what went."""
        gone, memory = await self._store.forget(dreams, asked)
        self._take_up(memory)
        return gone

    @_run_uncancelled
    async def take_back(self, dialogs: Sequence[int]) -> dict[int, int]:
        """Note that dialogues are to be taken back, and lose the fragments that came from them. Return how many, by
        dialogue."""
        lost, memory = await self._store.ask_undream(dialogs, self._clock.wall())
        self._take_up(memory)
        return lost

    # Checkpoints.

    @_run_uncancelled
    async def restore(self, name: str) -> dict[str, Any]:
        """Make the friend what he was at a checkpoint, his origin included. Return as `take_in` does. Raise Refusal."""
        return await self._replace(await self._store.checkpoint(name))

    @_run_uncancelled
    async def restore_before(self, dialog: int) -> dict[str, Any]:
        """Make the friend what he was before a dialogue, his origin included. Return as `take_in` does, with {missing},
        the count of fragments that were forgotten since. Raise Refusal."""
        then = await self._store.friend_before(dialog)
        there = [fragment for fragment in then if fragment.text]
        return {**await self._replace(to_records(there)), "missing": len(then) - len(there)}

    @_run_uncancelled
    async def drop(self, ids: Sequence[int]) -> dict[str, Any]:
        """Remove learned fragments. Return as `take_in` does. Raise Refusal if one is unknown or of the origin, and
        change nothing."""
        await self._load_once()
        origin = {fragment.id: fragment.origin for fragment in self.friend.fragments}
        for number in ids:
            if number not in origin:
                what = f"the friend has no fragment {number}; `dreamctl friend -n 0` shows their numbers"
                raise Refusal(Code.NOT_FOUND, what)
            if origin[number]:
                what = f"fragment {number} is of the origin, which stays; `dreamctl friend reseed` replaces the origin"
                raise Refusal(Code.INVALID_PARAMS, what)
        rest = [fragment for fragment in self.friend.fragments if fragment.id not in ids]
        return await self._store_buffer(to_records(rest), dropped=ids)

    @_run_uncancelled
    async def take_in(self, copies: Sequence[FragmentRecord]) -> dict[str, Any]:
        """Replace the fragments of the friend by `copies`. If these hold no origin, his origin stays.

        Return {fragments, origin, drift} of the new friend, the counts {kept, added, left, skipped}, of the added ones
        {added_dropped, added_forgotten}, those that the user had dropped and those of forgotten dialogues, and {undo,
        origin_kept}, the checkpoints of the old friend and of the old origin, nil if there are none. Raise Refusal.
        """
        return await self._replace(copies)

    async def _replace(self, copies: Sequence[FragmentRecord]) -> dict[str, Any]:
        await self._load_once()
        origin = () if any(copy.origin for copy in copies) else self._origin
        taken, skipped = merge_records(copies, origin, self.settings)
        return await self._store_buffer(taken, skipped=skipped)

    async def _store_buffer(
        self, taken: Sequence[FragmentRecord], *, skipped: int = 0, dropped: Sequence[int] = ()
    ) -> dict[str, Any]:
        memory, counts = await self._store.replace_friend(taken, self._clock.wall(), dropped)
        self._take_up(memory)
        return {
            "fragments": len(self.friend.fragments),
            "origin": len(self._origin),
            "drift": self.friend.drift(),
            **counts,
            "skipped": skipped,
        }

    async def _load_once(self) -> None:
        """Load the friend if the start could not: a change of what is not known would drop what is stored (P4)."""
        if not self._loaded:
            self._take_up(await self._store.load())

    def _take_up(self, memory: Memory) -> None:
        """Set the friend to the fragments in the order of their ids, as after any start (P13)."""
        self._loaded = True
        self.friend = Friend(tuple(memory.fragments), memory.next_fragment_id)

    def _split(self, origin: Sequence[str], readme: Sequence[str]) -> list[str]:
        return split_origin(list(origin), list(readme), self.settings.origin_most)
