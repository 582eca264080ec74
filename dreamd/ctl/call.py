"""`call`: any method of the daemon."""

import json
from typing import Any

import click
from dreamclient.messages import Method

from dreamd.ctl.connection import ANSWER_S, DIALOGUE_S, Target, emit, json_option


@click.command(context_settings={"ignore_unknown_options": True})  # -1 is a number here
@click.argument("method")
@click.argument("params", metavar="[JSON]...", nargs=-1)
@click.option("--timeout", "timeout_s", type=click.FloatRange(0, min_open=True), help="Seconds to wait.")
@json_option
@click.pass_obj
def call(target: Target, method: str, params: tuple[str, ...], timeout_s: float | None) -> None:
    """Call METHOD of the daemon (docs/protocol.md lists them), each parameter one JSON value.

    \b
    dreamctl call why 3
    dreamctl call dialogs.get 7
    dreamctl call inbox.read '"dream-1700000000-7-0a1b2c3d"'

    The answer is printed as JSON.
    """
    values = [_value(text, place) for place, text in enumerate(params, 1)]
    with target.daemon() as daemon:
        wait_s = timeout_s or (DIALOGUE_S if method == Method.NOW else ANSWER_S)
        emit(daemon.call(method, *values, timeout_s=wait_s))


def _value(text: str, place: int) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise click.UsageError(
            f"parameter {place} is not JSON; a text takes quotes of its own, as in '\"{text[:40]}\"'"
        ) from None
