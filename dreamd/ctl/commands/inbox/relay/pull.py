"""`inbox pull`: persist the documents of a JetStream stream in an inbox folder, each shard once."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from dreamd import settings
from dreamd.ctl.commands.inbox.relay.command import creds_option, tls_ca_option
from dreamd.ctl.commands.inbox.relay.following import keep_working, run_until_stopped
from dreamd.ctl.commands.inbox.relay.message import HASH_DIGITS, ID_HEADER, message_id, read_message
from dreamd.ctl.commands.inbox.relay.server import Place, check_url, import_nats
from dreamd.ctl.machine.output_files import named_folder
from dreamd.ctl.terminal.layout import label_rows, terminal_width
from dreamd.ctl.terminal.output import emit_answer, json_option
from dreamd.errors import SettingsError
from dreamd.inbox import DamagedFile, Inbox, InboxBusy, InboxUnavailable, ValidationError

BATCH: Final = 128
FETCH_S: Final = 2.0
LAST_FETCH_S: Final = 0.5  # with --once
REDELIVER_S: Final = 60.0  # a batch of the largest files is on disk long before


@click.command(short_help="Persist the files of a NATS stream in a folder.")
@click.option(
    "--from", "url", required=True, metavar="URL", callback=check_url, help="The server: nats://HOST."
)
@click.option(
    "--into",
    required=True,
    type=click.Path(file_okay=False),
    callback=named_folder,
    metavar="DIR",
    help="The inbox folder to write.",
)
@creds_option
@tls_ca_option
@click.option("--subject", default="dreams.>", show_default=True, metavar="TEXT", help="Which messages.")
@click.option(
    "--durable",
    default="dreamd",
    show_default=True,
    metavar="NAME",
    help="The consumer on the server. Each folder needs one of its own.",
)
@click.option("--once", is_flag=True, help="End when nothing is left, or at the first failure.")
@json_option
def pull(
    url: str,
    into: Path,
    creds: str | None,
    tls_ca: str | None,
    subject: str,
    durable: str,
    once: bool,
) -> None:
    """Persist each document of a JetStream stream in DIR, and acknowledge it to the server when it is on disk.

    A document that comes twice adds nothing. One that is no inbox document is set aside in DIR. Needs
    `pip install 'dreamd[nats]'`.

    \b
    dreamctl inbox pull --from nats://memory.example --into /srv/dreams
    """
    import_nats()
    try:
        box = Inbox(into, settings.load_settings().inbox)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    place = Place(url, creds, tls_ca)
    counts = {"documents": 0, "shards_written": 0, "set_aside": 0}

    async def work(client: Any, on_success: Any) -> None:
        await _pull_all(client, box, subject, durable, counts, once, on_success)

    run_until_stopped(keep_working(place, work, once))
    rows = [(key.replace("_", " "), str(value)) for key, value in counts.items()]
    emit_answer(counts, lambda: label_rows(rows, terminal_width()))


async def _pull_all(
    client: Any, box: Inbox, subject: str, durable: str, counts: dict[str, int], once: bool, on_success: Any
) -> None:
    from nats.js.api import AckPolicy, ConsumerConfig  # of the extra

    jetstream = client.jetstream()
    config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=REDELIVER_S, max_ack_pending=2 * BATCH)
    source = await jetstream.pull_subscribe(subject, durable=durable, config=config)
    on_success()
    while True:
        try:
            messages = await source.fetch(BATCH, timeout=LAST_FETCH_S if once else FETCH_S)
        except TimeoutError:
            if client.is_closed:
                raise ConnectionError("the connection was lost") from None
            if once and not (await source.consumer_info()).num_ack_pending:
                return
            continue
        documents = [(message.data, (message.headers or {}).get(ID_HEADER, "")) for message in messages]
        failures = await asyncio.to_thread(_persist_all, box, documents, counts)
        for message, failure in zip(messages, failures, strict=True):
            if failure is None:
                await message.ack()
        await client.flush()
        if failed := [failure for failure in failures if failure]:
            raise failed[0]
        on_success()


def _persist_all(
    box: Inbox, documents: Sequence[tuple[bytes, str]], counts: dict[str, int]
) -> list[InboxUnavailable | None]:
    """Persist documents, each whole and on disk. Return for each None, or why it was not: it comes again then, and does
    not hold up the others. If another process holds the folder's lock for too long, none of the others is tried."""
    found: list[InboxUnavailable | None] = []
    for data, sent_id in documents:
        busy = found and isinstance(found[-1], InboxBusy)
        found.append(found[-1] if busy else _persist_document(box, data, sent_id, counts))
    return found


def _persist_document(
    box: Inbox, data: bytes, sent_id: str, counts: dict[str, int]
) -> InboxUnavailable | None:
    try:
        try:
            trace_id, document = read_message(data, sent_id)
            report = box.write(
                document.get("seed"),
                document["shards"],
                document["matada_nodes"],
                trace_id=trace_id,
                schema_ref=document.get("schema_ref"),
            )
            counts["documents"] += 1
            counts["shards_written"] += report["shards_written"]
        except (DamagedFile, ValidationError):
            digest = message_id("x", data)[-HASH_DIGITS:]
            box.keep_aside("pulled", data, int(digest[:12], 16))
            counts["set_aside"] += 1
    except InboxUnavailable as failure:
        return failure
    return None
