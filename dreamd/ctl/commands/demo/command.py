"""`demo`: a small organism replies, and then dreams through a real daemon while the user watches."""

import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TextIO

import click
from dreamclient.paths import socket_path, state_dir

from dreamd.ctl.commands.demo.conversation import Show, nearest_path, open_talk
from dreamd.ctl.commands.demo.corpus import folder_name, read_corpus
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.start import daemon_for
from dreamd.ctl.machine.places import has_listener
from dreamd.ctl.stand_in.field import TrigramField, read_story, split_sentences
from dreamd.ctl.terminal.layout import terminal_width
from dreamd.ctl.terminal.output import emit_line, json_option
from dreamd.ctl.terminal.signals import signals_as_exit
from dreamd.process.state_folder import make_private_folder

# Novelty is never below 0, so no reply is too calm for a dream.
OPEN_GATES = ("gate.enabled=true", "gate.cooldown_s=0", "gate.chance=1", "gate.novelty_above=-1")
PROMPT_CHARS = 2000
FIRST_LINE_S = 1.0  # how long to wait for the first line of a pipe before the demo uses its own prompts

HELP = frozenset({"?", "/?", "/help", "help"})  # what people type for help, and to leave: no prompts
QUIT = frozenset({"quit", "/quit", "exit", "/exit", ":q"})
OPENING = 8  # seed of the organism if no person types: its first reply was chosen
PROMPTS = (
    "Good evening, little one. Are you awake?",
    "What do you remember of the water?",
    "Are you afraid of the dark?",
    "Good night. Tell your friend about me.",
)


@click.command
@click.option(
    "--corpus",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A text to feed the organism with, instead of its own story.",
)
@click.option("--fresh", is_flag=True, help="Begin without the dreams of earlier demos, in a new folder.")
@json_option
@click.pass_obj
def demo(target: Target, corpus: Path | None, fresh: bool) -> None:
    """Talk with a small organism, and watch it dream.

    In a terminal you type: ? helps, quit ends. From a pipe, each line is a prompt. Otherwise it holds a short
    conversation of its own. If no daemon serves the state folder, one is started, and stopped when the last demo
    ends. If no state folder is given, the demo uses one of its own, so that the dreams of your leo stay his. Each
    corpus has a folder of its own in it. An earlier demo with the same text is continued.

    \b
    dreamctl demo
    dreamctl demo --fresh
    dreamctl demo --corpus poems.txt
    echo "Do you remember me?" | dreamctl demo
    """
    click.get_current_context().with_resource(signals_as_exit())  # so that the daemon is stopped
    text = read_story() if corpus is None else read_corpus(corpus)
    typed = sys.stdin.isatty() and sys.stdout.isatty() and not target.as_json
    field = TrigramField(Random(None if typed or corpus else OPENING))
    field.observe(text)
    if not field.vocabulary:
        raise click.UsageError(f"there is no word in {corpus}")
    show = emit_line if target.as_json else _choose_stage(typed)
    state = _state(target, None if corpus is None else folder_name(corpus, text), fresh=fresh)
    socket = socket_path(target.given_socket, state=state)
    with daemon_for(state, socket, OPEN_GATES, insist=bool(target.given_socket)) as (socket, ours):
        source = "a story of its own" if corpus is None else corpus.name
        with open_talk(field, split_sentences(text), socket, show) as talk:
            about = {"source": source, "words": field.vocabulary, "ours": ours, "before": talk.before}
            show({"type": "intro", **about})
            with suppress(KeyboardInterrupt):
                for prompt in _read_prompts(sys.stdin, typed):
                    if prompt.casefold() in QUIT:
                        break
                    if prompt.casefold() in HELP:
                        show({"type": "help"})
                    else:
                        talk.say(prompt)
            end = talk.end()
    show({**end, "ours": not has_listener(socket), "state_dir": nearest_path(str(state))})


def _state(target: Target, corpus: str | None, *, fresh: bool) -> Path:
    """Return the state folder of the demo, below the one that was given, or in the demo's own."""
    given = target.given_state or os.environ.get("DREAMD_STATE_DIR")
    # In the user's own folder the story of the demo would become the origin of his leo.
    state = state_dir(given) if given else state_dir() / "demo"
    if corpus:
        state /= corpus
    return make_fresh_folder(state) if fresh else state


def make_fresh_folder(state: Path) -> Path:
    """Make a new folder in `state`, named by the time, and return its path."""
    make_private_folder(state)
    first = folder = state / time.strftime("fresh-%Y%m%dT%H%M%S")
    number = 1
    while True:
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:  # of another demo that began in this second
            number += 1
            folder = first.with_name(f"{first.name}-{number}")
        else:
            return folder


def _read_prompts(stdin: TextIO, typed: bool) -> Iterator[str]:
    """Yield what the user types, or else the lines of a pipe, or else the demo's own prompts."""
    if typed:
        yield from _typed_prompts()
        return
    silent = True
    if not stdin.isatty() and select.select([stdin], [], [], FIRST_LINE_S)[0]:
        for line in stdin:
            if line.strip():
                silent = False
                yield line.strip()[:PROMPT_CHARS]
    if silent:
        yield from PROMPTS


def _typed_prompts() -> Iterator[str]:
    with suppress(ImportError):
        import readline  # noqa: F401 - lets input() edit and recall lines
    while True:
        try:
            line = input("   you  ").strip()
        except (EOFError, KeyboardInterrupt):
            click.echo()
            return
        if line:
            yield line[:PROMPT_CHARS]


def _choose_stage(typed: bool) -> Show:
    from rich.console import Console

    from dreamd.ctl.commands.demo.stage import Stage

    # On a dumb terminal rich respects a width only with a height. It prints bold and dim even if NO_COLOR is set.
    plain = Console(width=terminal_width(), height=100, highlight=False, color_system=None)
    coloured = Console(width=terminal_width(), height=100, highlight=False)
    return Stage(plain if os.environ.get("NO_COLOR") else coloured, typed=typed).show
