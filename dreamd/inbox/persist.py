"""The call by which other programs write shards into the inbox without a daemon."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import structs

from dreamd.inbox.errors import InboxUnavailable, ValidationError
from dreamd.inbox.inbox import Inbox
from dreamd.inbox.settings import VARIABLES, InboxSettings, inbox_folder, settings_from_env


def persist_dream_shards(
    *,
    seed: Mapping[str, Any] | None,
    result: Mapping[str, Any],
    cap_token: Mapping[str, Any],
    base_dir: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Write `result["shards"]` and `result["matada_nodes"]` to the trace `result["trace_id"]`, each of them once.

    The folder is `base_dir`, or else that of the daemon's settings. Masking, modes and the other `inbox.*` are those of
    the settings too. `DREAM_INBOX_DIR`, `.._REDACT` and `.._VALIDATE` come before them. A relative folder of the
    settings lies in the state folder.
    Return `{path, bytes, shards_written, duplicates, conflicts, nodes_written, nodes_skipped, redacted, set_aside}`
    after all is on disk. Raise CapabilityError, ValidationError or InboxUnavailable if nothing was accepted.
    """
    from dreamclient.errors import HomeUnknown  # imported here, because this module must be cheap to import
    from dreamclient.paths import state_dir

    settings = _settings(os.environ)
    if base_dir is not None:
        folder = _check_folder(base_dir)
    elif settings.dir and os.path.isabs(settings.dir):
        folder = Path(settings.dir)  # a container may have no home folder, and so no state folder
    else:
        try:
            folder = inbox_folder(settings, state_dir())
        except HomeUnknown as unknown:
            raise InboxUnavailable(errno.ENOENT, str(unknown)) from None
    return Inbox(folder, settings).persist(seed, result, cap_token)


def _settings(env: Mapping[str, str]) -> InboxSettings:
    """Return the settings that the daemon would have, with those of the earlier writer's variables."""
    from dreamd.errors import SettingsError
    from dreamd.settings import load_settings

    try:
        chosen = load_settings(env={name: text for name, text in env.items() if name not in VARIABLES}).inbox
    except SettingsError as error:  # they may say that private texts are to be masked
        raise InboxUnavailable(errno.EINVAL, f"the settings cannot be read: {error}") from None
    from_env = settings_from_env(env)
    given = {key: getattr(from_env, key) for name, key in VARIABLES.items() if env.get(name)}
    return structs.replace(chosen, **given)


def _check_folder(base_dir: object) -> Path:
    """Return `base_dir` as a path. Raise ValidationError if it is not one."""
    if not isinstance(base_dir, str | os.PathLike) or not isinstance(text := os.fspath(base_dir), str):
        raise ValidationError(f"base_dir is a {type(base_dir).__name__}, expected a path or its text")
    try:
        possible = text and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise ValidationError("base_dir is empty, or holds what no path can (a NUL, a lone surrogate)")
    return Path(text)
