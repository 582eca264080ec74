"""`doctor`: report what is wrong, and what to do about it. It changes nothing."""

import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import click
from dreamclient.paths import state_dir

from dreamd.ctl.commands.doctor import daemon, database, dreaming, inbox, places, service, settings
from dreamd.ctl.commands.doctor.finding import Finding, Level, findings_of
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.machine import systemd_state
from dreamd.ctl.machine.places import listener_pid as listener_at
from dreamd.ctl.machine.places import look_at_socket, look_at_state
from dreamd.ctl.machine.relay_state import read_relay_state
from dreamd.ctl.terminal.layout import fold_text, terminal_width
from dreamd.ctl.terminal.output import emit_answer, json_option, with_given
from dreamd.process.state_folder import DATABASE_NAME
from dreamd.settings import read_sources

COLOURS: dict[Level, str] = {"FAIL": "red", "WARN": "yellow", "OK": "green"}  # the worst first


@click.command
@click.option("--strict", is_flag=True, help="Exit with 1 for a WARN too.")
@json_option
@click.pass_obj
def doctor(target: Target, strict: bool) -> None:
    """Report what is wrong, and what to do about it. Works without a running daemon, and changes nothing.

    Exit code 1 if something FAILs.

    \b
    dreamctl doctor
    dreamctl doctor --strict --json | jq .verdict
    """
    findings = [
        replace(one, text=with_given(one.text), advice=with_given(one.advice)) for one in examine_all(target)
    ]
    counts = Counter(finding.level for finding in findings)
    verdict = next(level for level in COLOURS if counts[level])
    emit_answer(
        {"verdict": verdict, "counts": dict(counts), "findings": [asdict(one) for one in findings]},
        lambda: show_findings(findings, terminal_width()),
    )
    if verdict == "FAIL" or (strict and verdict == "WARN"):
        raise SystemExit(1)


def examine_all(target: Target) -> Iterator[Finding]:
    """Yield the findings of all sections, in the order of printing."""
    state, now = state_dir(target.given_state), time.time()
    installed = systemd_state.look_at_units(os.environ)
    folder = look_at_state(state)
    # If systemd listens, do not connect: that would start the daemon, and the doctor changes nothing.
    listener = None if installed.guarded else listener_at(target.socket)
    asked = listener is not None and not folder.stopped
    answers = daemon.ask_daemon(target.socket) if asked else daemon.Answers()
    file = database.look_at_database(state / DATABASE_NAME)
    box = inbox.look_at_inbox(state, answers)
    socket = look_at_socket(target.socket)
    if not (alive := answers.status is not None):
        answers = replace(answers, decisions=file.decisions)

    held = {"listener": listener, "guarded": installed.guarded, "state": folder}
    yield from findings_of(
        "socket", places.check_socket, socket, os.getuid(), deaf=bool(answers.silence), **held
    )
    refused = "socket" if socket.refused else "database" if folder.refused else None
    yield from findings_of("daemon", daemon.check_daemon, answers, folder, target.socket, installed, refused)
    yield from findings_of("versions", daemon.check_versions, answers)
    yield from findings_of("versions", daemon.check_installed)
    yield from findings_of("service", service.check_service, installed, alive, folder)
    yield from findings_of("service", service.check_places, installed, state, target.socket)
    told = (answers.status or {}).get("database", {})
    trouble, lost = told.get("trouble"), {"served": told.get("path"), "ended": folder.ended}
    yield from findings_of("database", database.check_database, file, trouble, **lost)
    yield from findings_of("database", database.check_damaged, database.damaged_files(state / DATABASE_NAME))
    yield from findings_of("database", places.check_state, folder, trouble)
    yield from findings_of("database", database.check_sqlite, sqlite3.sqlite_version_info)
    reading = read_sources(env=os.environ)
    yield from findings_of("database", settings.check_kept, reading)
    yield from findings_of("settings", settings.check_settings, reading)
    yield from findings_of("inbox", inbox.check_inbox, box, answers, file.pending)
    yield from findings_of("inbox", inbox.check_relay, read_relay_state(state, now))
    yield from findings_of("leo", dreaming.check_leo, answers, file, now)
    yield from findings_of("friend", dreaming.check_friend, answers, file)
    yield from findings_of("gates", dreaming.check_gates, answers, now)
    yield from findings_of("host", daemon.check_host, answers)


def show_findings(findings: Sequence[Finding], columns: int) -> str:
    """Return findings as text: level, section and what was found, and below it what to do."""
    sections = max(len(finding.section) for finding in findings)
    lines = []
    for finding in findings:
        mark = click.style(f"{finding.level:4}", fg=COLOURS[finding.level])
        head, indent = f"{finding.level:4}  {finding.section:{sections}}  ", " " * (sections + 8)
        text = fold_text(finding.text, columns, indent, head)
        lines.append(mark + text[4:])
        if finding.advice:
            lines.append(fold_text(finding.advice, columns, f"{indent}  ", f"{indent}→ "))
    counts = Counter(finding.level for finding in findings)
    told = ", ".join(f"{counts[level]} {level}" for level in COLOURS if counts[level])
    return "\n".join([*lines, "", told])
