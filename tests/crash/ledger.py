"""Compare what leo's ledger says with the database and the inbox, from outside, while no daemon runs."""

import json
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.helpers.inbox_check import files, temporaries


class Broken(Exception):
    """A promise that does not hold."""


def hold(promise: str, holds: object, what: str) -> None:
    """Raise Broken unless it holds."""
    if not holds:
        raise Broken(f"{promise}: {what}")


class Ledger:
    """What leo was told and asked, as far as he could note it.

    `store_fails`: a dialogue whose end could not be stored is told as it ended, and ends as `left` later.
    """

    def __init__(self, path: Path, *, store_fails: bool = False) -> None:
        self._path, self._store_fails = path, store_fails
        self._read = 0
        self._temporaries: set[str] = set()
        self.observed: dict[tuple[str, int], str] = {}
        self.told: dict[int, tuple[str, int]] = {}
        self.sent: set[tuple[str, int, str]] = set()
        self.accepted: set[tuple[str, int, str]] = set()
        self.acknowledged: dict[str, list[int]] = {}

    def read(self) -> None:
        """Read the lines that are new. Raise Broken if a line was observed twice (P3)."""
        if not self._path.exists():
            return
        data = self._path.read_bytes()
        whole = data.rfind(b"\n") + 1
        for line in data[self._read : whole].splitlines():
            kind, *what = json.loads(line)
            if kind == "observed":
                trace, turn, text = what
                hold("P3", (trace, turn) not in self.observed, f"line {turn} of {trace} was observed twice")
                self.observed[trace, turn] = text
            elif kind == "told":
                self.told[what[0]] = (what[1], what[2])
            elif kind == "acknowledged":
                self.acknowledged[what[0]] = what[1]
            else:
                (self.sent if kind == "sent" else self.accepted).add(tuple(what))
        self._read = whole

    def check(self, state: Path, *, settled: bool = False) -> None:
        """Compare with a state folder whose daemon has ended. `settled`: no work is pending, so each dialogue that
        ended has its file. Raise Broken."""
        self.read()
        if (state / "dream.sqlite3").exists():
            lines, dialogs = _read_copy(state)
            self._check_database(lines, dialogs)
        else:
            lines, dialogs = {}, []
            hold("P2", not self.observed, "the database is gone")
        folder = state / "inbox" / "dreams"
        try:
            found = files(folder)
        except ValueError as error:
            raise Broken(f"P6: a file is not whole: {error}") from None
        left = {path.name for path in temporaries(folder)}
        hold("P7", len(left - self._temporaries) <= 1, "a daemon left more temporaries than one")
        self._temporaries = left
        self._check_writes(found)
        _check_dreams(found, lines, dialogs, settled=settled)

    def _check_database(self, lines: dict[tuple[str, int], str], dialogs: list[dict[str, Any]]) -> None:
        for at, text in self.observed.items():
            hold("P2", lines.get(at) == text, f"line {at[1]} of {at[0]} was observed and is not recorded so")
        rows = {row["id"]: row for row in dialogs}
        for number, (outcome, count) in self.told.items():
            if outcome not in ("suspended", "store_error"):
                row = rows.get(number)
                kept = row and (row["outcome"], row["episodes_count"])
                hold(
                    "P2",
                    kept == (outcome, count),
                    f"dialogue {number} was told as {outcome}, {count}: {kept}",
                )

    def _check_writes(self, found: dict[str, Any]) -> None:
        held = Counter(
            (document["trace_id"], shard["index"], shard["text"])
            for document in found.values()
            for shard in document["shards"]
            if document["trace_id"].startswith("w")
        )
        for key, times in held.items():
            hold("P7", times == 1, f"shard {key[:2]} is there {times} times")
            hold("P7", key in self.sent, f"shard {key[:2]} was never sent")
        for key in self.accepted:
            hold("P7", key in held, f"shard {key[:2]} was accepted and is gone")
        for name, indexes in self.acknowledged.items():
            document = found.get(f"done/{name}")
            there = document and [shard["index"] for shard in document["shards"]]
            hold("P7", there == indexes, f"{name} was acknowledged and is not in done/ as it was")


def _read_copy(state: Path) -> tuple[dict[tuple[str, int], str], list[dict[str, Any]]]:
    """Return the lines by trace and turn, and the dialogues, from a copy: reading would recover the database."""
    copy = state.parent / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for part in ("", "-wal"):
        if (state / f"dream.sqlite3{part}").exists():
            shutil.copy(state / f"dream.sqlite3{part}", copy)
    with closing(sqlite3.connect(copy / "dream.sqlite3")) as connection:
        connection.row_factory = sqlite3.Row
        whole = connection.execute("PRAGMA integrity_check").fetchone()[0]
        hold("P5", whole == "ok", f"the database is damaged: {whole}")
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'dream_turns'").fetchone():
            return {}, []  # it was killed before the first migration
        rows = connection.execute(
            """SELECT trace_id, turn, text FROM dream_turns JOIN dream_dialogs ON dream_dialogs.id = dialog_id"""
        )
        lines = {(row["trace_id"], row["turn"]): row["text"] for row in rows}
        return lines, [dict(row) for row in connection.execute("SELECT * FROM dream_dialogs")]


def _check_dreams(
    found: dict[str, Any],
    lines: dict[tuple[str, int], str],
    dialogs: list[dict[str, Any]],
    *,
    settled: bool,
) -> None:
    of_trace: dict[str, list[list[str]]] = {}
    for document in found.values():
        texts = [shard["text"] for shard in document["shards"]]
        of_trace.setdefault(document["trace_id"], []).append(texts)
    for row in dialogs:
        texts = [lines[row["trace_id"], turn] for turn in range(1, row["episodes_count"] + 1)]
        there = of_trace.get(row["trace_id"], [])
        hold("P5", there in ([], [texts]), f"the files of dialogue {row['id']} do not hold its lines once")
        due = row["shard_at"] is not None or (settled and row["finished_at"] is not None)
        hold("P5", there or not (due and texts), f"dialogue {row['id']} has no file")
