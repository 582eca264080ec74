"""Use to check an inbox folder at any moment: what must hold of its files, read from outside."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

TOKEN = {"scopes": ["memory.inbox.dreams.write"]}


def files(folder: Path) -> dict[str, Any]:
    """Return the JSON of every file that a reader would take for an inbox file. Fail if one is not whole."""
    found = {}
    for path in [*folder.glob("*.json"), *folder.glob("done/*.json")]:
        document = json.loads(path.read_bytes())
        assert isinstance(document["shards"], list)
        found[str(path.relative_to(folder))] = document
    return found


def indexes(folder: Path, trace_id: str) -> Counter[int]:
    """Return by index how often each shard of a trace is in the inbox, including acknowledged ones."""
    return Counter(
        shard["index"]
        for document in files(folder).values()
        if document["trace_id"] == trace_id
        for shard in document["shards"]
    )


def temporaries(folder: Path) -> list[Path]:
    return list(folder.glob(".tmp/*"))
