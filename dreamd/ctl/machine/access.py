"""Folders that this user may not enter or write, their owners, and what to do. su and sudo leave such folders."""

import os
import pwd
from pathlib import Path
from shlex import quote

ELSEWHERE = "name another place: --state-dir or DREAMD_STATE_DIR, and DREAMD_SOCKET"


def user_name(uid: int) -> str:
    """Return the name of a user, empty if the user database has none, as in many containers."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def owner_of(path: Path) -> str:
    """Return the owner of a path, such as "root (uid 0)"."""
    uid = path.stat().st_uid
    return f"{user_name(uid)} (uid {uid})" if user_name(uid) else f"uid {uid}"


def blocking_folder(path: Path) -> Path | None:
    """Return the folder that keeps this user from entering or making the folder `path`, or None."""
    last = Path("/")
    for place in (*reversed(path.parents), path):
        if not os.path.lexists(place):
            return None if os.access(last, os.W_OK | os.X_OK) else last
        if not os.access(place, os.X_OK):
            return place
        last = place
    return None if os.access(path, os.W_OK) else path


def refusal_and_cure(path: Path) -> tuple[str, str]:
    """Return why this user cannot use the folder `path`, and what to do. Return two empty strings if he can."""
    blocked = blocking_folder(path)
    if blocked is None:
        return "", ""
    if not os.path.isdir(blocked):
        return f"{blocked} is no folder", ELSEWHERE
    what = f"{blocked} belongs to {owner_of(blocked)}"
    for name, least in (("XDG_RUNTIME_DIR", f"unset it, or set it to /run/user/{os.getuid()}"), ("HOME", "")):
        named = Path(os.environ.get(name) or "/nowhere")
        foreign = _is_anothers(named)
        if foreign and path.is_relative_to(named):
            cure = least or "set it to your own, as `sudo -H` and `su -` do"
            return what, f"{name} names {named}, which is not yours (su and sudo keep it): {cure}"
    if blocked.stat().st_uid == os.getuid():
        return (
            f"{blocked} has mode {blocked.stat().st_mode & 0o777:04o}",
            f"`chmod u+rwx {quote(str(blocked))}`",
        )
    if blocked.is_relative_to(os.environ.get("HOME") or "/nowhere") or blocked == path:
        return what, f"`sudo chown -R {user_name(os.getuid()) or os.getuid()} {quote(str(blocked))}`"
    return what, ELSEWHERE


def explain_os_error(error: OSError) -> str:
    """Return the file and the reason of a failed call. If a folder keeps this user from the file, add what to do."""
    text = f"{error.filename}: {error.strerror}"
    if isinstance(error, PermissionError) and isinstance(error.filename, str):
        why, cure = refusal_and_cure(Path(os.path.abspath(error.filename)).parent)
        if why:
            return f"{text}.\n{why}. {cure}"
    return text


def _is_anothers(folder: Path) -> bool:
    """Return whether a folder belongs to another user, or is missing and this user cannot make it."""
    try:
        return folder.stat().st_uid != os.getuid()
    except PermissionError:
        return True
    except OSError:
        return blocking_folder(folder) is not None
