"""`friend`: list, keep, restore, export, import and reseed the fragments that the imaginary friend is made of.
`drift`: show how far they have moved from the origin."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from dreamclient.messages import Method

from dreamd.ctl.daemon.completers import complete_checkpoints
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.machine.output_files import check_free, regular_file, write_private
from dreamd.ctl.terminal.ascii import is_plain
from dreamd.ctl.terminal.bars import draw_bar
from dreamd.ctl.terminal.layout import (
    fold_text,
    format_moment,
    format_number,
    format_span,
    terminal_width,
    text_table,
)
from dreamd.ctl.terminal.output import command_to_copy, emit_json, json_option, utc_option
from dreamd.ctl.terminal.summaries import Summarized

KIND, VERSION = "dreamd.friend", 1  # written into an exported file
MOST = 20  # fragments that are shown if the user names no number
CHANGE_S = 60.0  # a dialogue that runs is waited for, or suspended
NARROW = 60  # columns; with fewer, a fragment is shown without its bar and its age

Row = Mapping[str, Any]


@click.group(
    cls=Summarized,
    invoke_without_command=True,
    short_help="Show and change what the imaginary friend is made of.",
)
@click.option(
    "-n", "count", type=click.IntRange(0), help="How many, 0 for all.  [default: 20, and all with --json]"
)
@json_option
@click.pass_context
def friend(context: click.Context, count: int | None) -> None:
    """Show what the imaginary friend is made of, the heaviest fragments first.

    \b
    dreamctl friend                       his fragments, their weights, where they came from
    dreamctl friend checkpoint tuesday    keep him as he is
    dreamctl friend restore tuesday       make him what he was then
    dreamctl friend restore previous      undo the last restore, import or reseed

    The origin is what leo was born with. Dreams never remove it. restore, import and reseed may put another in its
    place, and the one that goes stays as a checkpoint: `origin~1`, `origin~2` and so on.
    """
    if context.invoked_subcommand is not None:
        return
    target: Target = context.obj
    with target.dreams() as daemon:
        fragments = daemon.call(Method.FRAGMENTS)
    if target.as_json:
        emit_json(fragments[: count or None])
    else:
        most = MOST if count is None else count
        click.echo(show_fragments(fragments, terminal_width(), time.time(), most=most, plain=is_plain()))


@friend.command
@click.argument("name", required=False, shell_complete=complete_checkpoints)
@click.option("--again", is_flag=True, help="Replace an earlier checkpoint of that name.")
@click.option("--delete", is_flag=True, help="Delete the checkpoint NAME. There is no way back.")
@json_option
@utc_option
@click.pass_obj
def checkpoint(target: Target, name: str | None, again: bool, delete: bool) -> None:
    """Keep the friend as he is, under NAME. Without a name, list the checkpoints.

    At most 32 may be kept under names of your own.

    \b
    dreamctl friend checkpoint tuesday
    dreamctl friend checkpoint
    dreamctl friend checkpoint --delete tuesday
    """
    if delete and (name is None or again):
        raise click.UsageError("--delete takes the NAME of a checkpoint, and no --again")
    with target.dreams() if name is None else target.daemon() as daemon:
        if name is None:
            answer = daemon.call(Method.CHECKPOINTS, 1000)
        elif delete:
            answer = daemon.call(Method.DELETE_CHECKPOINT, name)
        else:
            answer = daemon.call(Method.CHECKPOINT, name, again)
    if target.as_json:
        emit_json(answer)
    elif name is None:
        click.echo(show_checkpoints(answer, terminal_width(), time.time()))
    elif delete:
        click.echo(f"Deleted the checkpoint {name}.")
    else:
        click.echo(f"Kept as {name}: {answer['fragments']} fragments, {answer['origin']} of them origin.")


@friend.command(short_help="Make the friend what he was at a checkpoint.")
@click.argument("name", shell_complete=complete_checkpoints)
@json_option
@click.pass_obj
def restore(target: Target, name: str) -> None:
    """Make the friend what he was at the checkpoint NAME, his origin included.

    What was there before is kept as `previous`, what was there before that as `previous~2`, and so on to
    `previous~5`. If NAME holds what is there already, nothing changes, and `previous` stays.

    \b
    dreamctl friend restore tuesday
    dreamctl friend restore previous        undo the last restore, import or reseed
    """
    with target.daemon() as daemon:
        _print_change(target, "Restored", daemon.call(Method.RESTORE, name, timeout_s=CHANGE_S))


@friend.command(short_help="Write the friend to a file, as JSON.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), callback=regular_file)
@click.option(
    "--checkpoint",
    "name",
    shell_complete=complete_checkpoints,
    help="Write him as he was at this checkpoint.",
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@json_option
@click.pass_obj
def export(target: Target, file: Path, name: str | None, force: bool) -> None:
    """Write the friend to FILE, as JSON. His fragments are dreams: the file is readable for you alone.

    \b
    dreamctl friend export friend.json
    dreamctl friend export then.json --checkpoint tuesday
    """
    with target.dreams() as daemon:
        check_free(file, Path(daemon.call(Method.STATUS)["state_dir"]), force=force)
        fragments = daemon.call(Method.FRAGMENTS, *([] if name is None else [name]))
    kept = [{key: fragment[key] for key in _EXPORTED} for fragment in fragments]
    text = json.dumps({"kind": KIND, "version": VERSION, "fragments": kept}, ensure_ascii=False, indent=1)
    write_private(file, f"{text}\n".encode())
    if target.as_json:
        emit_json({"path": str(file), "fragments": len(kept)})
    else:
        click.echo(f"{file}: {len(kept)} fragments")


@friend.command("import", short_help="Replace the friend by one that was exported.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), callback=regular_file)
@json_option
@click.pass_obj
def import_(target: Target, file: Path) -> None:
    """Make the friend what FILE says, which `dreamctl friend export` wrote, his origin included.

    A file without an origin leaves his own in place. `dreamctl friend restore previous` takes an import back.

    \b
    dreamctl friend import friend.json
    """
    exported = _parse_exported(_read_text(file))
    if exported is None:
        raise click.UsageError(f"{file} was not written by `dreamctl friend export`")
    with target.daemon() as daemon:
        answer = daemon.call(Method.IMPORT, exported, timeout_s=CHANGE_S)
    _print_change(target, "Imported", answer)


@friend.command(short_help="Give the friend another origin.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), callback=regular_file)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def reseed(target: Target, file: Path, yes: bool) -> None:
    """Give the friend another origin: the sentences and short paragraphs of FILE, or the origin of a friend that
    was exported to it. What he has learnt since stays.

    `dreamctl friend restore previous` takes a reseed back. The origin that goes also stays as a checkpoint of its
    own, `origin~1` for example, at most 16 of them.

    \b
    dreamctl friend reseed README.md
    """
    text = _read_text(file)
    exported = _parse_exported(text)
    origin = [text] if exported is None else [each["text"] for each in exported if each.get("origin")]
    if not yes and not can_ask():
        raise click.UsageError("this replaces what leo was born with; say --yes if this is no terminal")
    if not yes:
        click.confirm("This replaces what leo was born with. Go on?", abort=True, err=True)
    with target.daemon() as daemon:
        _print_change(target, "Reseeded", daemon.call(Method.RESEED, {"origin": origin}, timeout_s=CHANGE_S))


def can_ask() -> bool:
    """Return whether standard input is a terminal."""
    return sys.stdin.isatty()


def show_fragments(
    fragments: Sequence[Row], columns: int, now: float, *, most: int = 0, plain: bool = False
) -> str:
    """Return the first `most` fragments of a `friend.fragments` answer as text, or all if it is 0."""
    if not fragments:
        return "The friend is empty: the first leo that connects brings his origin."
    shown = fragments[: most or None]
    lines = [_show_fragment(fragment, columns, now, plain) for fragment in shown]
    origin = sum(fragment["origin"] for fragment in fragments)
    rest = f"; {len(fragments) - len(shown)} more with -n 0" if len(shown) < len(fragments) else ""
    return "\n".join(
        [*lines, "", fold_text(f"{len(fragments)} fragments, {origin} of them origin{rest}.", columns)]
    )


def show_checkpoints(checkpoints: Sequence[Row], columns: int, now: float) -> str:
    """Return the answer of `friend.checkpoints` as text."""
    if not checkpoints:
        return f"Nothing is kept yet: {command_to_copy('friend checkpoint NAME')}"
    rows = [
        [each["name"], format_moment(each["at"], now), str(each["learned"]), str(each["origin"])]
        for each in checkpoints
    ]
    return text_table(["name", "kept", "learned", "origin"], rows, columns)


_EXPORTED = ("text", "weight", "origin", "dialog", "added_at")


def _show_fragment(fragment: Row, columns: int, now: float, plain: bool) -> str:
    source = (
        "origin" if fragment["origin"] else f"from {fragment['dialog']}" if fragment["dialog"] else "brought"
    )
    if columns < NARROW:
        label = f"{format_number(fragment['weight'])}  {source}  "
    else:
        age = (
            " ".join(format_span(max(0.0, now - fragment["added_at"])).split()[:2])
            if fragment["added_at"]
            else "-"
        )
        label = f"{format_number(fragment['weight'])} {draw_bar(fragment['weight'], 6, plain)}  {source:<9}  {age:>7}  "
    return fold_text(fragment["text"], columns, " " * min(len(label), columns // 2), label)


def _print_change(target: Target, done: str, answer: Row) -> None:
    """Print what a restore, import or reseed changed, and how to undo it."""
    if target.as_json:
        emit_json(answer)
        return
    words = (
        f"{done}: {answer['fragments']} fragments, {answer['origin']} of them origin, drift "
        f"{format_number(answer['drift'])}; {answer['kept']} stayed, {answer['added']} came, {answer['left']} went."
    )
    if undo := answer.get("undo", "previous"):  # a daemon of 0.1.0 does not name it
        words += f" `{command_to_copy(f'friend restore {undo}')}` takes this back."
    elif not answer["added"]:
        words += " Nothing changed."
    if kept := answer.get("origin_kept"):
        words += f" The origin that went is kept as {kept}."
    click.echo(fold_text(words, terminal_width()))
    if skipped := answer["skipped"]:
        why = "they say the same words twice, or are more than the buffer holds"
        click.echo(f"{skipped} had no place: {why}.", err=True)


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None


def _parse_exported(text: str) -> list[dict[str, Any]] | None:
    """Return the fragments of an exported file, None for another text. Raise UsageError if its version is unknown or
    its fragments are malformed."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("kind") != KIND:
        return None
    version = found.get("version", VERSION)
    if version != VERSION:
        raise click.UsageError(f"the file is of version {version!r}, and this dreamctl knows {VERSION}")
    fragments = found.get("fragments")
    if not isinstance(fragments, list) or not all(map(_has_text, fragments)):
        raise click.UsageError("a fragment of the file is no map with a text")
    return fragments


def _has_text(fragment: Any) -> bool:
    return isinstance(fragment, dict) and isinstance(fragment.get("text"), str)
