"""The paths of the socket and the state folder, for the daemon, the client and dreamctl alike.

All three must get equal paths from equal environments, or the client cannot find the daemon (tmux, cron and ssh
have no XDG_RUNTIME_DIR; see docs/reference/settings.md). The functions raise HomeUnknown if they need a home folder
and there is none.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from dreamclient.errors import HomeUnknown, SocketPathError

SOCKET_NAME = "dreamd.sock"
SOCKET_PATH_BYTES = 107  # sun_path of Linux is 108 bytes with its closing NUL: unix(7)


def state_dir(explicit: str | os.PathLike[str] | None = None, env: Mapping[str, str] = os.environ) -> Path:
    """Return the state folder: `explicit`, $DREAMD_STATE_DIR, $XDG_STATE_HOME/dreamd or ~/.local/state/dreamd."""
    given = _given_state_dir(explicit, env)
    return given if given is not None else _xdg(env, "XDG_STATE_HOME", ".local/state") / "dreamd"


def config_home(env: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the user's settings: $XDG_CONFIG_HOME or ~/.config. Without a home folder it does not
    exist."""
    try:
        return _xdg(env, "XDG_CONFIG_HOME", ".config")
    except HomeUnknown:
        return Path("/nonexistent/.config")


def socket_path(
    explicit: str | os.PathLike[str] | None = None,
    *,
    state: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] = os.environ,
) -> Path:
    """Return the socket: `explicit`, $DREAMD_SOCKET, else beside a state folder that was given (`state` or
    $DREAMD_STATE_DIR), else $XDG_RUNTIME_DIR/dreamd/dreamd.sock, else in the default state folder."""
    chosen = explicit or env.get("DREAMD_SOCKET")
    if chosen:
        return _absolute(chosen, env)
    given = _given_state_dir(state, env)
    if given is not None:
        return given / SOCKET_NAME
    runtime = env.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isabs(runtime):
        return Path(runtime) / "dreamd" / SOCKET_NAME
    return state_dir(env=env) / SOCKET_NAME


def check_socket_path(path: str | os.PathLike[str]) -> None:
    """Raise SocketPathError if `path` is longer than the kernel allows (107 bytes)."""
    size = len(os.fsencode(path))
    if size > SOCKET_PATH_BYTES:
        raise SocketPathError(
            f"the socket path has {size} bytes, and a Unix socket's path may have {SOCKET_PATH_BYTES}; "
            f"give a shorter one with --socket or DREAMD_SOCKET: {path}"
        )


def _given_state_dir(explicit: str | os.PathLike[str] | None, env: Mapping[str, str]) -> Path | None:
    chosen = explicit or env.get("DREAMD_STATE_DIR")
    return _absolute(chosen, env) if chosen else None


def _absolute(chosen: str | os.PathLike[str], env: Mapping[str, str]) -> Path:
    text = os.fspath(chosen)
    # The home of the environment given, which may not be that of this process.
    if text == "~" or text.startswith("~/"):
        return _home(env) / text[2:]
    return Path(os.path.expanduser(text)).absolute()  # an unknown user's ~name stays as it is


def _xdg(env: Mapping[str, str], name: str, default: str) -> Path:
    """Return a base folder of the XDG specification, which says to ignore a relative path."""
    named = env.get(name)
    return Path(named) if named and os.path.isabs(named) else _home(env) / default


def _home(env: Mapping[str, str]) -> Path:
    if home := env.get("HOME"):
        return Path(home).absolute()
    import pwd  # seldom needed, and not in leo's start

    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        raise HomeUnknown(
            f"no home folder: HOME is not set, and uid {os.getuid()} has no entry in the user database; set HOME, or "
            "DREAMD_STATE_DIR and DREAMD_SOCKET"
        ) from None
