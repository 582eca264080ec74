"""`export`: write all dialogues in a form that other programs read."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec
from dreamclient.paths import state_dir

from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.past import dialogues_since
from dreamd.ctl.machine.output_files import check_free, regular_file, write_private
from dreamd.ctl.terminal.dialogues import count_of
from dreamd.ctl.terminal.markdown import diary
from dreamd.ctl.terminal.output import emit_json, json_option, utc_option
from dreamd.ctl.terminal.since import since_option

Dialogues = Iterable[Mapping[str, Any]]


def _text(dialogues: Dialogues) -> Iterator[str]:
    """Yield each line behind its speaker, and an empty line between two dialogues."""
    for number, dialogue in enumerate(dialogues):
        yield from [""] * (number > 0)
        yield from (f"{turn['speaker']}: {' '.join(turn['text'].split())}" for turn in dialogue["turns"])


def _json_lines(dialogues: Dialogues) -> Iterator[str]:
    return (msgspec.json.encode(dialogue).decode() for dialogue in dialogues)


FORMATS: dict[str, Callable[[Dialogues], Iterator[str]]] = {"md": diary, "txt": _text, "jsonl": _json_lines}


@click.command(short_help="Write all dialogues to a file.")
@click.argument(
    "file",
    required=False,
    type=click.Path(dir_okay=False, path_type=Path),
    callback=lambda *of: of[2] and regular_file(*of),
)
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
        found = list(dialogues_since(dreams, since or 0.0))
    if file is not None:
        write_private(file, "".join(f"{line}\n" for line in FORMATS[form](found)).encode())
        about = {"path": str(file), "dialogues": len(found)}
        if target.as_json:
            emit_json(about)
        else:
            click.echo(f"Written: {count_of(len(found), 'dialogue')} to {file}")
    elif target.as_json:
        emit_json(found)
    else:
        for line in FORMATS[form](found):
            click.echo(line)
