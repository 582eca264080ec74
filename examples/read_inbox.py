"""Read the dreams that wait in the inbox, and acknowledge each one when it is safe. No daemon is needed.

Usage: python read_inbox.py FOLDER, for example ~/.local/state/dreamd/inbox/dreams
"""

import sys
from pathlib import Path

from dreamd.inbox import Inbox, ValidationError

inbox = Inbox(Path(sys.argv[1]))
for entry in inbox.list():  # the oldest first
    document = inbox.read(entry["trace_id"])
    for shard in document["shards"]:
        print(f"{shard['speaker']}: {shard['text']}")
    try:
        inbox.ack(entry["trace_id"], document["saved_ts"])
    except ValidationError:  # the trace has grown since: the next run reads all of it
        print(f"{entry['trace_id']} has grown; it stays")
