"""A daemon that notes when each call of `generate` began and ended: `noted FILE ARGUMENTS..`. At its end it writes to
the file a list of these moments (CLOCK_MONOTONIC, s) for each client, by name."""

import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from dreamd.__main__ import main
from dreamd.engine.session_hooks import SessionHooks


def serve(file: Path, arguments: list[str]) -> int:
    """Run the daemon, and return its exit code."""
    calls = defaultdict[str, list[list[float]]](list)
    ask = SessionHooks.generate

    async def generate(hooks: SessionHooks, what: Any) -> Any:
        began = time.monotonic()
        answer = await ask(hooks, what)
        calls[hooks._session.name].append([began, time.monotonic()])
        return answer

    SessionHooks.generate = generate  # type: ignore[method-assign] # the daemon has no hook for a measurement
    try:
        return main(arguments)
    finally:
        file.write_text(json.dumps(calls))


if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[1]), sys.argv[2:]))
