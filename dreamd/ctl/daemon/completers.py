"""The words that a shell offers when Tab is pressed: dialogues, checkpoints, traces, sessions, clients,
methods.

Completion never fails: if the daemon is slow or absent, or the inbox cannot be read, it offers nothing.
"""

import time
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem
from dreamclient.errors import HomeUnknown
from dreamclient.messages import Method

from dreamd.ctl.daemon.connection import Target, connect_daemon
from dreamd.ctl.terminal.layout import beginning_of
from dreamd.process.state_folder import DATABASE_NAME

WAIT_S = 0.5  # for the daemon, twice at most: the user has pressed Tab and waits
RECENT = 20  # dialogues that are offered by number
LOOKED_THROUGH = 500  # dialogues, for trace ids
METHODS = [name for word, name in vars(Method).items() if word.isupper()]
SERVED = METHODS[: METHODS.index(Method.GENERATE)]  # by the daemon, not by a host


def complete_dialogues(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Return `last` and the latest numbers, or trace ids if the user has begun to type one."""
    by_trace = typed.startswith("d")  # every trace id begins with `dream-`
    recent = _ask_daemon(context, Method.DIALOGS_RECENT, LOOKED_THROUGH if by_trace else RECENT)
    if by_trace:
        return [
            _item_of(each["trace_id"], each) for each in recent if (each["trace_id"] or "").startswith(typed)
        ]
    numbers = [_item_of(str(each["id"]), each) for each in recent if str(each["id"]).startswith(typed)]
    return [CompletionItem("last")] * "last".startswith(typed) + numbers


def _item_of(value: str, dialogue: dict[str, Any]) -> CompletionItem:
    """Return `value` with the description that zsh and fish show beside it."""
    began = time.strftime("%Y-%m-%d %H:%M", time.localtime(dialogue["started_at"]))
    return CompletionItem(value, help=f"{began} {dialogue['outcome'] or 'running'} {dialogue['lines']} lines")


def complete_checkpoints(context: click.Context, _: click.Parameter, typed: str) -> list[str]:
    """Return the names of the friend's checkpoints that begin with `typed`."""
    kept = _ask_daemon(context, Method.CHECKPOINTS, 1000)
    return [each["name"] for each in kept if each["name"].startswith(typed)]


def complete_friends(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Return the moments at which the friend is known: `now`, checkpoints, dialogues."""
    names = [*["now"] * "now".startswith(typed), *complete_checkpoints(context, parameter, typed)]
    return [CompletionItem(name) for name in names] + complete_dialogues(context, parameter, typed)


def complete_fragments(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Return the numbers of the friend's fragments that are not origin."""
    learned = [each for each in _ask_daemon(context, Method.FRAGMENTS) if not each["origin"]]
    return [
        CompletionItem(str(each["id"]), help=beginning_of(each["text"], 60))
        for each in learned
        if str(each["id"]).startswith(typed)
    ]


def complete_traces(context: click.Context, _: click.Parameter, typed: str) -> list[str]:
    """Return `last` and the trace ids that wait in the inbox, those that begin with `typed`."""
    from dreamd.ctl.daemon.inbox import open_inbox

    target = _target_of(context)
    if target.socket_alone:
        waiting = _ask_daemon(context, Method.INBOX_LIST)
    else:
        try:
            with open_inbox(target) as box:
                waiting = [*box.list()]
        except (click.ClickException, HomeUnknown):
            return []
    offered = [*["last"] * bool(waiting), *(each["trace_id"] for each in waiting)]
    return [each for each in offered if each.startswith(typed)]


def complete_compared(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Return the clients whose replies were compared, with their numbers, those that begin with `typed`."""
    from dreamd.ctl.daemon.stored import open_stored
    from dreamd.store.trial import compared_clients

    status = _ask_daemon(context, Method.STATUS)
    if not status:
        return []
    try:
        with open_stored(Path(status["state_dir"]) / DATABASE_NAME) as stored:
            counts = compared_clients(stored.connection)
    except click.ClickException:
        return []
    return [
        CompletionItem(name, help=f"{replies} replies")
        for name, replies in counts.items()
        if name.startswith(typed)
    ]


def complete_served(_: click.Context, __: click.Parameter, typed: str) -> list[str]:
    """Return the methods of the daemon that begin with `typed`."""
    return [method for method in SERVED if method.startswith(typed)]


def complete_methods(_: click.Context, __: click.Parameter, typed: str) -> list[str]:
    """Return all methods, those of hosts too, that begin with `typed`."""
    return [method for method in METHODS if method.startswith(typed)]


def complete_sessions(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Return the numbers of the connected sessions that begin with `typed`, without dreamctl's own."""
    status = _ask_daemon(context, Method.STATUS)
    return [
        CompletionItem(number, help=f"{each['name']}, pid {each['pid']}")
        for each in (status["sessions"] if status else [])
        if (number := str(each["session"])).startswith(typed) and each["name"] != "dreamctl"
    ]


def _ask_daemon(context: click.Context, method: str, *params: Any) -> Any:
    """Return the daemon's answer, or an empty list if it does not answer in time."""
    try:
        with connect_daemon(_target_of(context).socket, wait_s=WAIT_S) as daemon:
            return daemon.call(method, *params, timeout_s=WAIT_S)
    except (click.ClickException, HomeUnknown):
        return []


def _target_of(context: click.Context) -> Target:
    """Return the target that the shared options name. No command has run yet, so they are read from the context."""
    shared = context.find_root().params
    return Target(shared.get("socket"), shared.get("state_dir"), as_json=False)
