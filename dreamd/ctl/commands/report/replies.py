"""What leo says of his dreams on the page: the share of his replies by day, and the dreams that speak most."""

from collections.abc import Mapping, Sequence
from typing import Any

from dreamd.ctl.commands.report.charts import draw_lines, html_table
from dreamd.ctl.terminal.dialogues import count_of
from dreamd.ctl.terminal.layout import beginning_of, format_share

TITLE_CHARS = 60  # of a dream: its first words

Row = Mapping[str, Any]

_HEADING = "<h2>His dreams in his replies</h2>"


def replies_section(stats: Row, dialogs: Sequence[Row]) -> str:
    """Return the share of the replies as HTML. `stats`: as the daemon answers. `dialogs`: those that are known, with
    their first words."""
    said = stats.get("replies") or {}
    if not said.get("triples"):
        return f"{_HEADING}<p>No reply has been counted yet.</p>"
    share = format_share(said["from_dreams"] / said["triples"])
    return "".join(
        [
            f"{_HEADING}<p>{share} of the words of {count_of(said['replies'], 'reply', 'replies')} came from dreams: ",
            "three words that a dream brought, and that he says in their order.</p>",
            _draw_days(stats.get("reply_days") or {}),
            _table(stats.get("speakers") or (), dialogs),
        ]
    )


def _draw_days(days: Mapping[str, Row]) -> str:
    shares = [of["from_dreams"] / max(1, of["triples"]) for of in days.values()]
    rows = [
        (day, str(of["replies"]), str(of["triples"]), str(of["from_dreams"]), format_share(share))
        for (day, of), share in zip(days.items(), shares, strict=True)
    ]
    head = ("day (UTC)", "replies", "word triples", "from dreams", "share")
    return draw_lines(
        "Share of his replies that came from dreams, by day",
        {"from dreams": shares},
        list(days),
        head,
        rows,
    )


def _table(speakers: Sequence[Row], dialogs: Sequence[Row]) -> str:
    """Return the dreams that speak most, each with its first words if it is known."""
    if not speakers:
        return "<p>No dream speaks in them.</p>"
    openings = {dialog["id"]: dialog.get("opening") or "" for dialog in dialogs}
    rows = [
        (
            f"dream {of['dialog']}",
            str(of["triples"]),
            beginning_of(openings.get(of["dialog"], ""), TITLE_CHARS),
        )
        for of in speakers
    ]
    return html_table(("dream", "word triples", "its first words"), rows, "Dreams that speak most")
