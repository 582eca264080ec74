"""`completions`: the script that lets a shell complete what is typed; and what it is told of ids and names.

Tab is no command: where the daemon is away or slow, or the inbox cannot be read, nothing is offered and nothing said.
"""

import time
from collections.abc import Iterable
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class, get_completion_class
from dreamclient.errors import HomeUnknown
from dreamclient.messages import Method

from dreamd.ctl.daemon.connection import Target, connected, emit, json_option

WAIT_S = 0.5  # for the daemon, twice at most: somebody has pressed Tab
RECENT = 20  # dialogues that are offered by number
LOOKED_THROUGH = 500  # dialogues, for trace ids
SHELLS = ("bash", "zsh", "fish")


@click.command
@click.argument("shell", type=click.Choice(SHELLS))
@json_option
@click.pass_context
def completions(context: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete dreamctl: commands, options, dialogues, checkpoints, traces.

    \b
    dreamctl completions bash > ~/.local/share/bash-completion/completions/dreamctl
    dreamctl completions zsh > ~/.zfunc/_dreamctl        with fpath=(~/.zfunc $fpath) before compinit
    dreamctl completions fish > ~/.config/fish/completions/dreamctl.fish
    """
    found = get_completion_class(shell)
    assert found is not None, "click has all of SHELLS"
    script = found(context.find_root().command, {}, "dreamctl", "_DREAMCTL_COMPLETE").source()
    if context.obj.as_json:
        emit({"shell": shell, "script": script})
    else:
        click.echo(script, nl=False)


@add_completion_class
class WholeWords(BashComplete):
    """What bash asks. It takes words apart at "=" and ":", as in `--state-dir=DIR`, before it tells them."""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        return joined(args), incomplete


def joined(words: Iterable[str]) -> list[str]:
    """Return the words as they were typed: one that is a sign alone stood between its neighbours."""
    whole: list[str] = []
    behind_sign = False
    for word in words:
        is_sign = word in (":", "@") or (word == "=" and bool(whole) and whole[-1].startswith("--"))
        if whole and (is_sign or behind_sign):
            whole[-1] += word
        else:
            whole.append(word)
        behind_sign = is_sign
    if behind_sign and whole[-1].endswith("="):  # its value is what is typed now
        whole[-1] = whole[-1][:-1]
    return whole


def dialogues(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """`last` and the last numbers; trace ids where one is begun."""
    by_trace = typed.startswith("d")  # as they all do: `dream-..`
    recent = _asked(context, Method.DIALOGS_RECENT, LOOKED_THROUGH if by_trace else RECENT)
    if by_trace:
        return [
            _item(each["trace_id"], each) for each in recent if (each["trace_id"] or "").startswith(typed)
        ]
    numbers = [_item(str(each["id"]), each) for each in recent if str(each["id"]).startswith(typed)]
    return [CompletionItem("last")] * "last".startswith(typed) + numbers


def _item(value: str, dialogue: dict[str, Any]) -> CompletionItem:
    """With what zsh and fish show beside it."""
    began = time.strftime("%Y-%m-%d %H:%M", time.localtime(dialogue["started_at"]))
    return CompletionItem(value, help=f"{began} {dialogue['outcome'] or 'running'} {dialogue['lines']} lines")


def checkpoints(context: click.Context, _: click.Parameter, typed: str) -> list[str]:
    """The names of the friend's checkpoints."""
    kept = _asked(context, Method.CHECKPOINTS, 1000)
    return [each["name"] for each in kept if each["name"].startswith(typed)]


def traces(context: click.Context, _: click.Parameter, typed: str) -> list[str]:
    """The trace ids that wait in the inbox."""
    from dreamd.ctl.commands.inbox import opened

    target = _target(context)
    if target.socket_alone:
        waiting = _asked(context, Method.INBOX_LIST)
    else:
        try:
            with opened(target) as box:
                waiting = [*box.list()]
        except (click.ClickException, HomeUnknown):
            return []
    return [each["trace_id"] for each in waiting if each["trace_id"].startswith(typed)]


def _asked(context: click.Context, method: str, *params: Any) -> list[dict[str, Any]]:
    try:
        with connected(_target(context).socket, wait_s=WAIT_S) as daemon:
            answer: list[dict[str, Any]] = daemon.call(method, *params, timeout_s=WAIT_S)
    except (click.ClickException, HomeUnknown):
        return []
    return answer


def _target(context: click.Context) -> Target:
    """The shared options: read, while nothing has been run yet."""
    shared = context.find_root().params
    return Target(shared.get("socket"), shared.get("state_dir"), as_json=False)
