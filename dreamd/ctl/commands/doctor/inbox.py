"""The inbox: its folder and its files."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote
from typing import Any

from dreamd import settings
from dreamd.clock import Clock
from dreamd.ctl.commands.doctor.daemon import CURES, Answers
from dreamd.ctl.commands.doctor.finding import Finding, fail, ok, warn
from dreamd.ctl.commands.doctor.places import remount_advice, set_aside
from dreamd.ctl.machine.access import refusal_and_cure, user_name
from dreamd.errors import SettingsError
from dreamd.inbox import Inbox, InboxError, InboxSettings, ValidationError, inbox_folder
from dreamd.inbox.folder.folder import DONE, LOCK, TEMPORARY


@dataclass(frozen=True)
class InboxFacts:
    """The facts of the inbox. `error`: why it could not be written or read. `cure`: what to do then."""

    folder: Path
    enabled: bool = True
    error: str = ""
    cure: str = ""
    counts: dict[str, Any] = field(default_factory=dict)


def look_at_inbox(state: Path, answers: Answers) -> InboxFacts:
    """Gather the facts of the folder that the daemon writes to, or would write to."""
    try:
        chosen = settings.load_settings(env=os.environ).inbox
    except SettingsError:
        chosen = InboxSettings()
    folder, enabled = inbox_folder(chosen, state), chosen.enabled
    if theirs := (answers.status or {}).get("inbox"):
        folder, enabled = Path(theirs["folder"]), theirs["enabled"]
    inbox = Inbox(folder, chosen, clock=Clock())
    facts = InboxFacts(folder, enabled)
    try:
        inbox.check()
        return replace(facts, counts=inbox.counts())
    except InboxError as error:
        return replace(facts, error=str(error), cure=_cure_of(error, folder))


def _cure_of(error: InboxError, folder: Path) -> str:
    """Return what to do about an error of the folder, or of the folder that it would be made in."""
    follows = "Pending shards are then written automatically"
    if isinstance(error, ValidationError) and (culprit := _blocking_path(folder)):
        return f"{set_aside(culprit, 'inbox.dir')}. {follows}"
    if getattr(error, "errno", None) == errno.EROFS:
        there = next(place for place in (folder, *folder.parents) if os.path.exists(place))
        return f"{remount_advice(there)}. {follows}"
    for place in (folder, folder / TEMPORARY, folder / DONE):
        if cure := refusal_and_cure(place)[1]:
            return f"{cure}. {follows}"
    if os.path.exists(lock := folder / LOCK) and not os.access(lock, os.R_OK | os.W_OK):
        user = user_name(os.getuid()) or os.getuid()
        return f"`sudo chown {user} {quote(str(lock))}`, and `chmod u+rw` if it is yours. {follows}"
    return CURES.get(type(error).__name__, f"mend that. {follows}")


def _blocking_path(folder: Path) -> Path | None:
    """Return the path that is no folder although the inbox needs one there. Links are allowed above the inbox only."""
    for place in (*reversed(folder.parents), folder, folder / TEMPORARY, folder / DONE):
        is_link = place.is_relative_to(folder) and os.path.islink(place)
        if is_link or (os.path.lexists(place) and not os.path.isdir(place)):
            return place
    return None


def check_relay(relay: dict[str, Any] | None) -> Iterator[Finding]:
    """Check the relay, if one has run here."""
    if relay is None:
        return
    said = f"the relay to {relay['to']} "
    unit = "`systemctl --user status dreamd-relay` says more"
    if relay["last_error"]:
        yield warn(f"{said}fails: {relay['last_error']}", f"mend that. What waits stays here; {unit}")
    elif relay["state"] == "silent":
        yield warn(f"{said}was killed, or is stuck; {relay['waiting']} files wait", unit)
    else:
        more = (
            f"; {relay['skipped']} are no inbox documents, or cannot be read, or are too large for the server"
            if relay["skipped"]
            else ""
        )
        yield ok(
            f"{said}({relay['state']}): {relay['waiting']} waiting, {relay['published']} published{more}"
        )


def check_inbox(facts: InboxFacts, answers: Answers, pending: int) -> Iterator[Finding]:
    """Check the settings and the folder. `pending`: the number of dialogues whose shard is not written yet."""
    if not facts.enabled:
        yield ok("disabled (inbox.enabled)")
        return
    trouble = (answers.status or {}).get("inbox", {}).get("trouble")
    if facts.error or trouble:
        yield fail(
            f"{facts.folder}: {facts.error or trouble}"
            + (f"; {pending} shards are pending" if pending else ""),
            facts.cure or CURES.get(str(trouble), "`dreamctl inbox verify` says more"),
        )
        return
    counts = facts.counts
    if counts["set_aside"]:
        yield warn(
            f"{counts['set_aside']} damaged files were set aside in {facts.folder}",
            "`dreamctl inbox verify` names them. Remove them when you have looked at them",
        )
    if pending and answers.status is None:
        yield ok(f"{pending} shards are pending; the next start writes them")
    dropped = (answers.status or {}).get("inbox", {}).get("dropped")
    made_room = f"; the {dropped} oldest were removed (inbox.keep)" if dropped else ""
    yield ok(f"{counts['waiting']} waiting, {counts['done']} acknowledged in {facts.folder}{made_room}")
