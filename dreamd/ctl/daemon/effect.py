"""The effect of dreams, from the replies that the database keeps, and from what the daemon says of its settings."""

from pathlib import Path
from typing import Any

import click
import msgspec

from dreamd.ctl.daemon.stored import open_stored
from dreamd.process.state_folder import DATABASE_NAME


def read_effect(status: dict[str, Any], client: str | None = None) -> dict[str, Any]:
    """Return the effect of dreams on the replies of one client, by default of the one with most of them. `status`: of
    the daemon, or what is known without one. The daemon stores replies at its tick, so the last 15 s may be missing.

    {client, clients: {name: replies}, chance, feed, replies, dreamt, fed, needed, enough, since, until, differences}
    """
    from dreamd.dream.effect import compare_replies  # imports numpy
    from dreamd.store.trial import compared_clients, compared_replies

    with open_stored(Path(status["state_dir"]) / DATABASE_NAME) as stored:
        replies, counts = compared_replies(stored.connection), compared_clients(stored.connection)
    if client is not None and client not in counts:
        known = f"; there are those of {', '.join(counts)}" if counts else ""
        raise click.UsageError(f"no replies of {client} were compared{known}")
    client = client or next(iter(counts), None)
    chance = status.get("chance")
    own = [reply for reply in replies if reply.client == client]
    effect = compare_replies(own, chance if chance is not None and 0 < chance < 1 else 0.5)
    about = {"client": client, "clients": counts, "chance": chance, "feed": status.get("feed")}
    return {**about, **msgspec.to_builtins(effect), "enough": effect.enough}
