"""Read the dreams that wait in the inbox, and acknowledge each one when it is safe. No daemon is needed.

Usage: python read_inbox.py FOLDER, for example ~/.local/state/dreamd/inbox/dreams
"""

import sys
from pathlib import Path

from dreamd.inbox import Inbox, InboxError

inbox = Inbox(Path(sys.argv[1]))
for entry in inbox.list():  # the oldest first
    try:
        document = inbox.read(entry["trace_id"])
        for shard in document["shards"]:  # another program may have written any JSON
            dreamt = isinstance(shard, dict) and {"speaker", "text"} <= shard.keys()
            print(f"{shard['speaker']}: {shard['text']}" if dreamt else shard)
        inbox.ack(entry["trace_id"], document.get("saved_ts"))
    except InboxError as why:  # it is damaged, or has grown since: the next run reads all of it
        print(f"{entry['trace_id']} stays: {why}")
