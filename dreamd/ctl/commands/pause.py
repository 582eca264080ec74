"""`pause`: let no dream begin, for a while or until `resume`."""

import time
from typing import Any

import click
from dreamclient.messages import DIALOGUE_S, Method

from dreamd.ctl.daemon.connection import Daemon, Target
from dreamd.ctl.daemon.own import daemon_or_own
from dreamd.ctl.terminal.dialogues import paused_in_words
from dreamd.ctl.terminal.layout import fold_text, terminal_width
from dreamd.ctl.terminal.output import command_to_copy, emit_answer, emit_note, json_option, utc_option
from dreamd.ctl.terminal.since import parse_length_option


@click.command(short_help="Let no dream begin, for a while or until resume.")
@click.argument("length", required=False, callback=parse_length_option)
@json_option
@utc_option
@click.pass_obj
def pause(target: Target, length: float | None) -> None:
    """Let no dream begin for LENGTH, or until `dreamctl resume`. Leo talks on, and his replies are only counted.

    A dialogue that is running is spoken to its end, and the command waits for it. A suspended one goes on after the
    pause. The pause outlives the daemon. `dreamctl dream` works all the same.

    \b
    dreamctl pause
    dreamctl pause 2h
    """
    with daemon_or_own(target) as daemon:
        _tell_if_one_runs(daemon)
        paused = daemon.call(Method.PAUSE, length, timeout_s=DIALOGUE_S)
    emit_answer(paused, lambda: fold_text(_told(paused), terminal_width()))


def _tell_if_one_runs(daemon: Daemon) -> None:
    status = daemon.call(Method.STATUS)
    running = [str(one["dreaming"]) for one in status["sessions"] if one.get("dreaming") is not None]
    if running:
        words = f"dialogue {', '.join(running)} is spoken to its end; Ctrl-C ends the waiting, not the pause"
        emit_note(f"Paused: {words}")


def _told(paused: dict[str, Any] | None) -> str:
    if paused is None:  # it is over, since a dialogue was waited for
        return "The pause is over already."
    resume = f"`{command_to_copy('resume')}`"
    if paused["until"] is None:
        return f"Paused: no dream begins until {resume}."
    return f"{paused_in_words(paused['until'], time.time()).capitalize()}. {resume} ends the pause earlier."
