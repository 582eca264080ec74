"""`export`: write all dialogues in a form that other programs read."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec
from dreamclient.paths import state_dir

from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.past import numbers_since, read_dialogues
from dreamd.ctl.machine.output_files import RegularFile, check_free, write_private
from dreamd.ctl.terminal.dialogues import count_of
from dreamd.ctl.terminal.layout import clean_text
from dreamd.ctl.terminal.markdown import diary
from dreamd.ctl.terminal.output import emit_json, emit_text, escape_steering, json_option, utc_option
from dreamd.ctl.terminal.since import since_option

Dialogues = Iterable[Mapping[str, Any]]


def _text(dialogues: Dialogues) -> Iterator[str]:
    """Yield each line behind its speaker, and an empty line between two dialogues."""
    for number, dialogue in enumerate(dialogues):
        yield from [""] * (number > 0)
        for turn in dialogue["turns"]:
            yield " ".join(clean_text(f"{turn['speaker']}: {turn['text']}").split())


def _json_lines(dialogues: Dialogues) -> Iterator[str]:
    return (escape_steering(msgspec.json.encode(dialogue).decode()) for dialogue in dialogues)


FORMATS: dict[str, Callable[[Dialogues], Iterator[str]]] = {"md": diary, "txt": _text, "jsonl": _json_lines}


@click.command(short_help="Write all dialogues to a file.")
@click.argument("file", required=False, type=RegularFile())
@click.option(
    "--format", "form", type=click.Choice(list(FORMATS)), default="jsonl", show_default=True, help="How."
)
@since_option
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@json_option
@utc_option
@click.pass_obj
def export(target: Target, file: Path | None, form: str, since: float | None, force: bool) -> None:
    """Write all dialogues with their lines, oldest first, to FILE or to standard output.

    jsonl has a dialogue a line, with all that `show --json` has: prompts too. txt has the lines alone. md is for
    reading.

    \b
    dreamctl export dreams.jsonl
    dreamctl export --format txt --since 7d | less
    """
    if file is not None:
        check_free(file, state_dir(target.given_state), force=force)
    with target.dreams() as dreams:
        numbers = numbers_since(dreams, since or 0.0)
        found = read_dialogues(dreams, numbers)  # one by one: all of them together may fill the memory
        if file is not None:
            write_private(file, (f"{line}\n".encode() for line in FORMATS[form](found)))
        elif target.as_json:
            emit_json(list(found))
        else:
            for line in FORMATS[form](found):
                click.echo(line)
    if file is not None and target.as_json:
        emit_json({"path": str(file), "dialogues": len(numbers)})
    elif file is not None:
        emit_text(f"Written: {count_of(len(numbers), 'dialogue')} to {file}")
