"""The front of the dream database: the calls that the daemon makes."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from dreamclient.messages import Code

from dreamd.dream.dream_words import BroughtLine, WordNumbers
from dreamd.dream.fragment_records import FragmentRecord
from dreamd.dream.gate import Decision
from dreamd.dream.model import Fragment, Line
from dreamd.dream.replay import Script
from dreamd.dream.trial import ComparedReply
from dreamd.errors import Refusal
from dreamd.store import (
    checkpoints,
    forgetting,
    reads,
    reply_shares,
    search,
    suspension,
    trial,
    writes,
)
from dreamd.store.file.transaction import OnConnection, P, T
from dreamd.store.forgetting import Asked, Dream, Forgotten, Shard
from dreamd.store.reads import DROPPED
from dreamd.store.records import (
    Charge,
    Finish,
    Memory,
    NewDialog,
    Observed,
    OpenDialog,
    Pause,
    ReplyShare,
    StoredDialog,
)
from dreamd.store.undreaming import candidates, steps
from dreamd.store.undreaming.candidates import Candidate
from dreamd.store.undreaming.steps import FedLine
from dreamd.store.watched_database import WatchedDatabase

PART = 25  # dialogues that are read at once, in 0.1 ms: a write waits no longer for them


class Store(WatchedDatabase):
    """The dream database. Open it with `Store.open` and close it, or use it as an async context manager.

    Every method may raise StoreUnavailable if the file cannot be used now. `unavailable_reason` is then a word of
    file/health.py, until a write works again at a `probe`. StoreError is a mistake of the caller. Cancelling a caller
    never splits a transaction. If the database is lost, `on_lost` is called once with the reason, and nothing more is
    written.
    """

    # The steps of a dialogue, in their order.

    async def begin(self, new: NewDialog) -> int:
        """Store a dialogue that starts, and return its id."""
        return await self._write(writes.begin_dialog, new)

    async def record(
        self, dialog_id: int, line: Line, at: float, *, charge: Charge | None = None, fed: bool = True
    ) -> None:
        """Store a line, marked as sent to `observe` if it is `fed`, and with the first line the charge. On return they
        are on disk (P2, P3)."""
        await self._write(writes.record_line, dialog_id, line, at, charge, self._keep_texts, fed)

    async def observed(
        self,
        dialog_id: int,
        line: Line,
        how: Observed,
        brought: Sequence[int] | None = None,
        added: bytes | None = None,
    ) -> None:
        """Store how `observe` was answered, the new measures of the line, the word triples that it brought, and what it
        added to the field."""
        places = {} if brought is None else {line.turn: brought}
        said = {line.turn: added} if added else {}
        await self._write(writes.mark_observed, dialog_id, {line.turn: how}, [line], places, said)

    async def recalled(self, dialog_id: int, texts: Sequence[str]) -> None:
        """Store what the client recalled for a dialogue."""
        await self._write(writes.store_recalled, dialog_id, texts)

    async def finish(self, dialog_id: int, end: Finish) -> None:
        """Store the end of a dialogue and its change of the friend, in one transaction."""
        await self._write(writes.finish_dialog, dialog_id, end, self._keep_texts)

    async def keep_decisions(
        self, decisions: Sequence[Decision], counts: Mapping[tuple[str, str], int]
    ) -> None:
        """Store decisions, and how many there were by day and reason."""
        await self._write(writes.keep_decisions, decisions, counts)

    async def decisions(self, n: int) -> list[Decision]:
        """Return the last n decisions that were stored, newest first."""
        return await self._read(reads.decisions, n)

    async def keep_trial(self, replies: Sequence[ComparedReply]) -> None:
        """Store the figures of replies that were compared."""
        await self._write(trial.keep_trial, replies)

    async def keep_pause(self, pause: Pause | None) -> None:
        """Store the pause of all dreams, or that there is none."""
        await self._write(writes.keep_pause, pause)

    async def keep_signals(self, signals: Mapping[str, bytes], at: float) -> None:
        """Store the signals among which the gates rank contexts, by client name."""
        await self._write(writes.keep_signals, signals, at)

    async def word_numbers(self) -> WordNumbers:
        """Return the numbers by which word triples are kept."""
        return WordNumbers(await self._read(reply_shares.words_key))

    async def brought_lines(self, numbers: WordNumbers, n: int) -> list[BroughtLine]:
        """Return those of the last n lines that fields took, oldest first."""
        last, found = await self._read(reply_shares.last_line), list[BroughtLine]()
        for end in range(last, max(0, last - n), -reply_shares.PAGE_LINES):
            found += await self._read(reply_shares.brought_lines, numbers, end)
        return found[::-1]

    async def said_triples(self) -> list[tuple[str, bytes]]:
        """Return the numbers of the triples of the last replies by field, oldest first."""
        return await self._read(reply_shares.said_triples)

    async def keep_share(self, share: ReplyShare) -> None:
        """Store what was counted of replies since the last time."""
        await self._write(reply_shares.keep_share, share, self._keep_texts)

    async def unwritten(self, but: Collection[int] = (), n: int = 100) -> list[StoredDialog]:
        """Return finished dialogues that have lines and no inbox file yet, by id, without those of `but`."""
        return await self._read(reads.unwritten_dialogs, but, n)

    async def shard_written(self, dialog_id: int, at: float) -> None:
        """Note that the dialogue's inbox file is on disk. Without diagnostics also empty the dialogue's texts."""
        await self._write(writes.shard_written, dialog_id, at, self._keep_texts)

    async def count_dropped(self, files: int) -> None:
        """Count inbox files that were removed to make room."""
        await self._write(writes.add_to_counter, DROPPED, files)

    async def open_dialogs(self) -> list[OpenDialog]:
        """Return the dialogues that have not ended, by id."""
        return await self._read(suspension.open_dialogs)

    async def suspend(self, dialog_id: int, interrupted_in: str) -> None:
        """Mark a dialogue as suspended."""
        await self._write(suspension.suspend_dialog, dialog_id, interrupted_in)

    async def resume(self, dialog_id: int, session: int) -> Script | None:
        """Mark a suspended dialogue as running, and return its record so far, None if that was not kept. Raise
        Unreadable."""
        return await self._write(suspension.resume_dialog, dialog_id, session)

    # The friend and the past.

    async def load(self) -> Memory:
        """Return the state that the engine keeps in memory."""
        return await self._read(reads.load_memory)

    async def last_measures(self) -> list[tuple[float | None, ...]]:
        """Return arousal, overlap and trauma of the last lines, oldest first, None for an invalid measure."""
        return await self._read(reads.last_measures)

    async def seed(self, fragments: Sequence[str], at: float) -> tuple[int, Memory]:
        """Store the origin at weight 1.0. Return its number of fragments, 0 if there is an origin already, and the new
        state for the memory."""
        return await self._write(checkpoints.seed_buffer, fragments, at, self._keep_texts)

    async def keep(self, name: str, at: float, *, again: bool) -> dict[str, Any]:
        """Keep the friend as a checkpoint, and return {name, fragments: count, origin: count}. Raise Refusal."""
        return await self._write_in_turn(checkpoints.keep_checkpoint, name, at, again)

    async def delete_checkpoint(self, name: str) -> None:
        """Delete a checkpoint. Raise Refusal if there is none of that name."""
        await self._write_in_turn(checkpoints.delete_checkpoint, name)

    async def checkpoints(self, n: int) -> list[dict[str, Any]]:
        """Return {name, at, learned: count, origin: count} of the last n checkpoints, newest first."""
        return await self._read_in_turn(checkpoints.latest_checkpoints, n)

    async def checkpoint(self, name: str) -> list[FragmentRecord]:
        """Return the friend as it was then. Raise Refusal if there is no checkpoint of that name."""
        return await self._read_in_turn(checkpoints.checkpoint_content, name)

    async def friend_before(self, dialog_id: int) -> list[Fragment]:
        """Return the friend with which a dialogue began. A fragment that was forgotten since has an empty text. Raise
        Refusal if it is not kept."""
        return await self._read_in_turn(reads.friend_before, dialog_id)

    async def replace_friend(
        self, copies: Sequence[FragmentRecord], at: float, dropped: Collection[int] = ()
    ) -> tuple[Memory, dict[str, Any]]:
        """Replace the buffer by `copies`, and keep the old one as a checkpoint, in one transaction. `dropped`: ids that
        go because the user says so. Return the new state for the memory, and what replace_buffer counts. Raise
        Refusal."""
        return await self._write(checkpoints.replace_buffer, copies, at, self._keep_texts, dropped)

    async def recent(self, n: int, before: int | None = None) -> list[dict[str, Any]]:
        """Return the last n dialogues (of those before a dialogue), newest first: {id, trace_id, started_at,
        finished_at, outcome, lines: count, client, avg_trauma, avg_arousal, drift, note, fed, opening: the
        first words, None if they were not kept}."""
        part = found = await self._read_in_turn(reads.recent_dialogs, min(n, PART), before)
        while part and len(found) < n:
            place = part[-1]["started_at"], part[-1]["id"]
            part = await self._read_in_turn(reads.earlier_dialogs, min(n - len(found), PART), place)
            found = found + part
        return found

    async def get(self, dialog_id: int) -> dict[str, Any] | None:
        """Return a dialogue as in `recent`, with `turns`, a map for each line. None if there is no such dialogue."""
        return await self._read_in_turn(reads.get_dialog, dialog_id)

    async def script(self, dialog_id: int) -> Script | None:
        """Return all that a replay needs, None if there is no such dialogue or it was not kept. Raise Unreadable."""
        return await self._read(reads.load_script, dialog_id)

    async def replayable_script(self, dialog_id: int) -> Script:
        """Return all that a replay needs. Raise Refusal with the reason if it cannot be replayed. Raise Unreadable."""
        return await self._read_in_turn(reads.replayable_script, dialog_id)

    async def search(self, asked: str, n: int, before: int | None = None) -> list[dict[str, Any]]:
        """Return the last n lines that contain each of the words, as search.find_lines does. Raise Refusal if there is
        no word, or if texts are not kept."""
        self._check_kept()
        return await self._search_in_turn(search.find_lines, asked, n, before)

    async def whence(self, asked: str, n: int, skip: int = 0) -> list[dict[str, Any]]:
        """Return n lines that hold the longest runs of the words, as search.find_sources does. Raise Refusal as
        `search` does."""
        self._check_kept()
        return await self._search_in_turn(search.find_sources, asked, n, self._clock.monotonic, skip)

    def _check_kept(self) -> None:
        if not self._keep_texts:
            raise Refusal(Code.NOT_FOUND, search.NOT_KEPT)

    # Forgetting.

    async def forgettable(self, asked: Asked) -> list[Dream]:
        """Return the dialogues that are to be forgotten. Raise Refusal if one that is named cannot be."""
        return await self._read_in_turn(forgetting.chosen, asked)

    async def shards_of(self, traces: Sequence[str]) -> dict[str, set[Shard]]:
        """Return what the dialogues of these trace ids have in the inbox: index and timestamp (ms) of each line."""
        found: dict[str, set[Shard]] = {}
        for start in range(0, len(traces), PART):
            found |= await self._read(forgetting.shards_of, traces[start : start + PART])
        return found

    async def forget(self, dreams: Sequence[Dream], asked: Asked) -> tuple[Forgotten, Memory]:
        """Delete dialogues, and what is made of them. Return what went, and the new state for the memory. `scrub` comes
        next."""
        self._unscrubbed = True
        return await self._write(forgetting.forget_and_load, dreams, asked.friend, asked.everywhere)

    async def look_at_age(self, at: float, every_s: float) -> float | None:
        """Note that what is too old is looked for. Return when it was before, as forgetting.look_at_age does."""
        return await self._write(forgetting.look_at_age, at, every_s)

    # Taking back.

    async def undream_candidates(self, asked: candidates.Asked) -> list[Candidate]:
        """Return the dialogues that are asked to be taken back. Raise Refusal."""
        return await self._read_in_turn(candidates.candidates, asked)

    async def ask_undream(self, dialogs: Sequence[int], at: float) -> tuple[dict[int, int], Memory]:
        """Note that dialogues are to be taken back, and take from the friend what they brought. Return how many
        fragments went, by dialogue, and the new state for the memory."""
        return await self._write(steps.ask_undream, dialogs, at, self._keep_texts)

    async def waiting_undreams(self) -> list[tuple[int, str, str]]:
        """Return (id, trace id, field) of the dialogues that are to be taken back, newest first."""
        return await self._read(steps.waiting_undreams)

    async def lines_to_undo(self, dialog_id: int) -> list[FedLine] | None:
        """Return the lines of a dialogue that may still be in the field, the last one first. None if it is not to be
        taken back, as after it was forgotten."""
        return await self._read(steps.lines_to_undo, dialog_id)

    async def line_undone(
        self, dialog_id: int, turn: int, how: Literal["done", "unknown"], missing: int = 0
    ) -> None:
        """Note that a line was taken back, or that it is not known what it added."""
        await self._write(steps.line_undone, dialog_id, turn, how, missing)

    async def finish_undream(self, dialog_id: int, at: float) -> dict[str, Any]:
        """Note that a dialogue is taken back, and return {lines, unknown, missing}."""
        return await self._write(steps.finish_undream, dialog_id, at)

    # The past.

    async def drift(self, n: int, before: int | None = None) -> list[dict[str, Any]]:
        """Return {id, at, drift} of the last n dialogues that spoke (before a dialogue), newest first."""
        return await self._read_in_turn(reads.drift_of_dialogs, n, before)

    async def stats(self) -> dict[str, Any]:
        """Return {dialogs, lines, fragments, origin_fragments, avg_trauma, avg_arousal, outcomes}."""
        return await self._read_in_turn(reads.total_stats)

    # Calls of clients, one at a time, so that the daemon's own calls come between. A search may take 0.3 s, and has a
    # turn of its own.

    async def _read_in_turn(self, function: "OnConnection[P, T]", *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._reading.run(partial(self._read, function, *args, **kwargs))

    async def _write_in_turn(self, function: "OnConnection[P, T]", *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._reading.run(partial(self._write, function, *args, **kwargs))

    async def _search_in_turn(self, function: "OnConnection[P, T]", *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._searching.run(partial(self._read, function, *args, **kwargs))
