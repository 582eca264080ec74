"""The daemon: whether it answers, what it reports of itself, and whether its version is dreamctl's."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import click
from dreamclient.messages import CLIENT_VERSION, DECISIONS, PROTOCOL_VERSION, Method

from dreamd import __version__
from dreamd.ctl.commands.doctor.finding import Finding, Section, fail, ok, warn
from dreamd.ctl.daemon.connection import START, connect_daemon
from dreamd.ctl.machine.installed import CLIENT, client_is_doubled, requirement_of
from dreamd.ctl.machine.places import StateFacts
from dreamd.ctl.machine.systemd_state import SERVICE, UnitFacts
from dreamd.ctl.terminal.layout import format_span

# A word of `status` -> what to do. docs/guides/troubleshooting.md has the same list.
CURES = {
    "disk full": "make room where the state folder is, or raise your quota (`quota -s`): the daemon recovers by itself",
    "read-only": "make the database writable again",
    "locked": "end the other program that holds the database",
    "database deleted": "put a backup in its place (`dreamctl restore FILE`), or do nothing: the daemon ends, and the "
    "next start makes a new database",
    "database replaced": "do nothing: the daemon ends, and the next start serves the database that is there then",
    "database log lost": "do nothing: the daemon ends, and the next start serves the database that is there then",
    "cannot open": "look at the permissions of the state folder",
    "input/output error": "look at the disk: `dmesg`",
    "damaged": "do nothing: the daemon ends, and the next start sets the file aside and makes a new one",
    "socket vanished": "move away what stands in its place, if anything does, then `dreamctl service restart`",
    "out of descriptors": "raise its limit (`LimitNOFILE=` in `systemctl --user edit dreamd.service`), or close hosts",
    "InboxUnavailable": "make the inbox folder writable for the daemon, which systemd lets write to its state folder "
    "alone (docs/guides/inbox.md): pending files are then written automatically",
    "InboxBusy": "end the other program that holds the lock of the inbox: pending files are then written automatically",
    "ValidationError": "move away what stands in a place of the inbox",
    "database does not answer": "look at the disk if it stays so: a large database that is checked takes a while",
    "starting": "do nothing: the daemon is loading its database",
    "stopping": "do nothing: the daemon is ending",
}


@dataclass(frozen=True)
class Answers:
    """The daemon's `status` and last decisions, or in `silence` why it did not answer."""

    status: Mapping[str, Any] | None = None
    decisions: tuple[Mapping[str, Any], ...] = ()
    silence: str = ""


def ask_daemon(socket: Path) -> Answers:
    """Ask the daemon that listens at `socket`."""
    try:
        with connect_daemon(socket) as daemon:
            status = daemon.call(Method.STATUS)
            try:
                return Answers(status, tuple(daemon.call(Method.WHY, DECISIONS)))
            except click.ClickException:  # a daemon of another protocol answers only `status`
                return Answers(status)
    except click.ClickException as error:
        return Answers(silence=error.message.partition("\n")[0])


def check_daemon(
    answers: Answers, state: StateFacts, socket: Path, units: UnitFacts, refused: Section | None = None
) -> Iterator[Finding]:
    """Check that the daemon runs and is well. `refused`: the section that reports why it could not start."""
    status = answers.status
    if status is None:
        if state.holder:
            yield _silent_finding(answers.silence, state, units)
        elif state.ended:
            yield fail(
                f"does not run; the last one ended by itself: {state.ended}",
                "`dreamctl service start`: it serves what is there then. See section database",
            )
        elif answers.silence or refused:
            yield fail("does not run", f"see section {refused or 'socket'}")
        elif units.waits:
            yield ok("does not run; leo's first connection starts it")
        elif units.installed:
            yield fail("does not run", "see section service")
        else:
            yield fail("does not run", f"`dreamctl {START}`")
        return
    trouble = status["state"].partition("degraded: ")[2]
    if status["state"] == "ok":
        yield ok(f"well, pid {status['pid']}, up {format_span(status['uptime_s'])}")
    else:
        yield fail(status["state"], CURES.get(trouble, "see docs/guides/troubleshooting.md"))
    if status["state_dir"] != str(state.path):
        yield warn(
            f"the one at {socket} serves {status['state_dir']}, not {state.path}",
            "name the folder (--state-dir, DREAMD_STATE_DIR), or another socket",
        )
    yield from _check_counts(status)


def _silent_finding(silence: str, state: StateFacts, units: UnitFacts) -> Finding:
    """Report a process that holds the state folder and does not answer, and what to do about it."""
    pid, holds = state.holder, f"pid {state.holder} holds {state.path}"
    if state.stopped:
        return fail(f"{holds}, and is stopped (SIGSTOP)", f"let it go on: `kill -CONT {pid}`")
    beside = units.shown and (units.state or state.path) == state.path
    if not silence and beside and units.says(SERVICE, "MainPID") != str(pid):
        return fail(f"{holds}, and the service cannot start beside it", f"end that one: {state.way_to_end}")
    if state.embedded:
        return ok(
            f"embedded in pid {pid}, which alone can ask it",
            "`dreamctl recent`, `dreamctl show` and `dreamctl stats` read its dreams",
        )
    if not silence:
        return fail(f"{holds}, and was not asked", "see section socket")
    return fail(
        f"{holds}, and does not answer: {silence}",
        f"end it, nothing that was said is lost: `kill -KILL {pid}`, then `dreamctl service start`",
    )


def _check_counts(status: Mapping[str, Any]) -> Iterator[Finding]:
    for kind, times in status["failures"].items():
        if not kind.startswith(("host: ", *_ELSEWHERE)):
            yield warn(f"{times} × {kind}", "`dreamctl status` says when and where")


# Failures that another section reports.
_ELSEWHERE = ("generate: ", "observe: ", "recall: ", "inbox: ", "store: ")


def check_versions(answers: Answers) -> Iterator[Finding]:
    """Compare the versions of the daemon and the hosts with dreamctl's."""
    status = answers.status
    if status is None:
        yield ok(f"dreamctl {__version__}; no daemon to compare it with")
        return
    theirs = f"dreamd {status['version']}"
    if status["protocol"] != PROTOCOL_VERSION:
        yield fail(
            f"{theirs} speaks protocol {status['protocol']}, dreamctl {__version__} speaks {PROTOCOL_VERSION}",
            "upgrade the older of the two, then `dreamctl service restart`",
        )
        return
    if status["version"] != __version__:
        yield warn(
            f"{theirs} runs, {__version__} is installed",
            "`dreamctl service restart`. If that does not help, `dreamctl service install`",
        )
    else:
        yield ok(f"{theirs}, protocol {status['protocol']}")
    for session in status["sessions"]:
        if session["version"] not in (CLIENT_VERSION, ""):
            yield warn(
                f"{session['name']} (pid {session['pid']}) has dreamd-client {session['version']}, "
                f"{CLIENT_VERSION} is installed",
                "upgrade dreamd-client in its environment, and restart it",
            )


def check_installed() -> Iterator[Finding]:
    """Check that dreamclient is installed once in this environment."""
    if client_is_doubled():
        pip = f"{quote(sys.executable)} -m pip"
        yield warn(
            f"dreamd and {CLIENT} are both installed in {sys.prefix}: both put dreamclient there, so removing or "
            "upgrading one breaks the other",
            f"`{pip} uninstall -y {CLIENT}`, then "
            f"`{pip} install --force-reinstall --no-deps {quote(requirement_of('dreamd'))}`",
        )


def check_host(answers: Answers) -> Iterator[Finding]:
    """Report the errors that hosts swallowed in their own processes."""
    if answers.status is None:
        return
    told = {
        kind.removeprefix("host: "): n
        for kind, n in answers.status["failures"].items()
        if kind.startswith("host: ")
    }
    for kind, times in told.items():
        yield warn(f"{times} × {_TOLD.get(kind, (kind, ''))[0]}", _TOLD.get(kind, ("", _LOOK))[1])
    if not told:
        yield ok("no failures reported")


_LOOK = "client.failures in the host has the same count. docs/guides/leo.md says what each means"
_TOLD = {
    "not_connected": ("a reply that reached no daemon", "start dreamd before leo, or as a service"),
    "connect": ("an attempt to connect that failed", "start dreamd before leo, or as a service"),
    "lost": ("a connection that ended", "nothing, if dreamd was restarted"),
    "stalled": ("a reply that was dropped, as the daemon did not read", "is the machine overloaded?"),
    "generate": ("generate raised", "see section leo"),
    "observe": ("observe raised", "see section leo"),
    "recall": ("recall raised", "see section leo"),
}
