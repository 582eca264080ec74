"""`undream`: take a dialogue back out of leo's field."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from dreamclient.messages import Method

from dreamd.ctl.daemon.completers import complete_dialogues
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.dialogue_argument import resolve_dialogue
from dreamd.ctl.daemon.own import daemon_or_own
from dreamd.ctl.terminal.dialogues import count_of, count_of_lines
from dreamd.ctl.terminal.forgotten import UNDREAM_S, confirm_for_good, yes_option
from dreamd.ctl.terminal.layout import fold_text, terminal_width
from dreamd.ctl.terminal.output import emit_answer, json_option
from dreamd.ctl.terminal.since import parse_since_option


@click.command(short_help="Take a dialogue back out of leo's field.")
@click.argument("asked", metavar="ID", required=False, shell_complete=complete_dialogues)
@click.option(
    "--all-since",
    "since",
    metavar="WHEN",
    callback=parse_since_option,
    help="All that began since then: 3h, 2d, or a date.",
)
@yes_option
@json_option
@click.pass_obj
def undream(target: Target, asked: str | None, since: float | None, yes: bool) -> None:
    """Take a dialogue back: what its lines added to leo's field, what the friend keeps of it, and its inbox file, if
    that was not acknowledged. There is no way back. The dialogue itself stays in the database: `forget` deletes it.

    ID is its number, the beginning of its trace id, or `last`. If leo is not running, it is done when he is back. Exit
    code 1 if it is not done yet.

    \b
    dreamctl undream last
    dreamctl undream --all-since 2h
    """
    if (asked is None) == (since is None):
        raise click.UsageError("name one dialogue, or say --all-since WHEN")
    with daemon_or_own(target) as daemon:
        what: dict[str, Any] = {"since": since} if asked is None else {"id": resolve_dialogue(daemon, asked)}
        confirm_for_good(yes, lambda: f"takes back {_asked_words(what, daemon)}")
        told = daemon.call(Method.DIALOGS_UNDREAM, what, timeout_s=UNDREAM_S)
    emit_answer(told, lambda: show_undone(told, terminal_width()))
    if any(one["state"] != "done" for one in told["dialogs"]):
        raise SystemExit(1)


def _asked_words(what: Mapping[str, Any], daemon: Any) -> str:
    if "id" in what:
        return f"dialogue {what['id']}"
    found = daemon.call(Method.DIALOGS_UNDREAM, {**what, "dry_run": True})
    return count_of(len(found["dialogs"]), "dialogue")


def show_undone(told: Mapping[str, Any], columns: int) -> str:
    """Return the answer of `dialogs.undream` as text."""
    dialogs = told["dialogs"]
    lines = list(_words(dialogs)) or ["There is nothing to take back."]
    lines += _left_words(told["left"])
    return "\n".join(fold_text(line, columns, "  ", "") for line in lines)


def _words(dialogs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    done = [one for one in dialogs if one["state"] == "done"]
    if done:
        files = sum(one["inbox"] == "removed" for one in dialogs)
        parts = [f"{count_of_lines(sum(one['lines'] for one in done))} out of leo's field"]
        if fragments := sum(one["fragments"] for one in dialogs):
            parts.append(f"{count_of(fragments, 'fragment')} of the friend")
        parts += [count_of(files, "inbox file")] if files else []
        yield f"Took back {_dialogues(done)}: {', '.join(parts)}."
    for one in done:
        if one["unknown"]:
            turns = ", ".join(map(str, one["unknown"]))
            which = f"line{'s' * (len(one['unknown']) > 1)} {turns}"
            yield f"Dialogue {one['id']}, {which}: what it added is not known, so it may still be in leo's field."
        if one["missing"]:
            yield f"Dialogue {one['id']}: {one['missing']} of its counts were gone already, as leo forgets with time."
    if acknowledged := [one for one in dialogs if one["inbox"] == "acknowledged"]:
        yield f"The inbox file of {_dialogues(acknowledged)} was acknowledged already, and stays."
    for one in dialogs:
        if one["state"] != "done":
            yield f"Dialogue {one['id']} is not taken back yet: {one['why']}. {_LATER.get(one['why'], _AGAIN)}"


def _left_words(left: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    by_reason: dict[str, list[Mapping[str, Any]]] = {}
    for one in left:
        by_reason.setdefault(one["why"], []).append(one)
    for why, found in by_reason.items():
        yield f"Left: {_dialogues(found)}{', each of which' if len(found) > 1 else ''} {why}."


_LATER = {
    "leo is not running": "It is done when leo is back.",
    "leo is dreaming": "It is done after that.",
    "it was forgotten meanwhile": "What it added stays in the field.",
    "leo was lost 3 times while it was taken back": "The daemon tries again when you ask again.",
}
_AGAIN = "The daemon tries again."


def _dialogues(found: Sequence[Mapping[str, Any]]) -> str:
    return f"dialogue {found[0]['id']}" if len(found) == 1 else f"{len(found)} dialogues"
