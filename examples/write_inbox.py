"""Write shards of your own into the inbox. No daemon is needed, and none is started.

Usage: python write_inbox.py FOLDER, for example ~/.local/state/dreamd/inbox/dreams
"""

import sys
import time

from dreamd.inbox import persist_dream_shards

shard = {"index": 0, "timestamp": 1700000000000, "speaker": "visitor", "text": "I dreamt of a lighthouse."}
report = persist_dream_shards(
    seed={"goal": "example", "ul_tags": ["visitor"]},
    result={"trace_id": "visitor-1", "shards": [shard]},
    cap_token={"scopes": ["memory.inbox.dreams.write"], "exp_ts": time.time() + 60},
    base_dir=sys.argv[1],  # without it: the inbox in the daemon's state folder
)
print(f"{report['shards_written']} written, {report['duplicates']} there already: {report['path']}")
