"""Use to look into a state folder from outside: rows of its database, and files of its inbox."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def rows(state: Path, query: str) -> list[tuple[Any, ...]]:
    """Return what the database answers to `query`."""
    with closing(sqlite3.connect(state / "dream.sqlite3")) as database:
        return database.execute(query).fetchall()


def pending(state: Path) -> list[tuple[int]]:
    """Return the ids of the dialogues that lack their inbox file."""
    return rows(state, "SELECT id FROM dream_dialogs WHERE shard_at IS NULL")


def inbox_files(state: Path) -> list[Path]:
    """Return the files that wait for a reader."""
    return sorted((state / "inbox" / "dreams").glob("*.json"))


def shards(state: Path) -> list[list[str]]:
    """Return the texts of each file in the inbox, acknowledged ones too."""
    files = [*inbox_files(state), *(state / "inbox" / "dreams" / "done").glob("*.json")]
    return [[shard["text"] for shard in json.loads(file.read_text())["shards"]] for file in files]
