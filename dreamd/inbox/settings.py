"""The settings of the inbox, and the place of its folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from dreamd.inbox.document.node import NodeForm

# The variables of the earlier writer, and the settings that they are.
VARIABLES = {"DREAM_INBOX_DIR": "dir", "DREAM_INBOX_REDACT": "redact", "DREAM_INBOX_VALIDATE": "validate"}
_YES = frozenset({"1", "true", "yes", "on"})

DAY_S = 86_400.0


class InboxSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings `inbox.*`. Their names end in their unit.

    `mode`: the mode of the files, as octal text ("0600", "0640", "0660") or as a number. It may permit only owner and
    group.
    """

    enabled: bool = True  # Whether each dialogue writes a file.
    dir: str | None = None  # The folder. A relative one lies in the state folder. Not set: inbox/dreams.
    redact: bool = False  # Whether to mask what looks private.
    # Regions such as "DE, US" whose national phone numbers are masked too. Needs the extra `phones`.
    phone_regions: str = ""
    validate: bool = False  # Whether an invalid node fails the write instead of being skipped.
    require_expiry: bool = False  # Whether a token must have an expiry.
    node_form: NodeForm = "simulation"  # The form of the daemon's own nodes: "simulation" or "published".
    mode: int | str = "0600"  # The mode of the files: "0600", "0640" or "0660".
    retention_s: float = 30 * DAY_S  # Seconds for which an acknowledged file is kept: a month.
    # The most waiting files of our own dreams. The oldest go first. 0: no limit, as while a consumer was seen lately.
    keep: Annotated[int, msgspec.Meta(ge=0)] = 1000

    def __post_init__(self) -> None:
        if self.dir and "\0" in self.dir:
            raise ValueError("dir holds a NUL, which no path can")
        if self.regions:
            from dreamd.inbox.redaction.phones import wrong_regions  # compiles its patterns

            if wrong := wrong_regions(self.regions):
                raise ValueError(f"phone_regions {wrong}")
        if not 0 <= self.retention_s < float("inf"):
            raise ValueError("retention_s must be a finite number of seconds, 0 or more")
        if self.file_mode & 0o600 != 0o600 or self.file_mode & ~0o660:
            raise ValueError('mode must be "0600", "0640" or "0660", or that octal number')

    @property
    def regions(self) -> tuple[str, ...]:
        """The codes of the regions whose national phone numbers are masked."""
        return tuple(self.phone_regions.upper().replace(",", " ").split())

    @property
    def file_mode(self) -> int:
        """The permission bits of files."""
        if isinstance(self.mode, int):
            return self.mode
        try:
            return int(self.mode, 8)
        except ValueError:
            return 0

    @property
    def folder_mode(self) -> int:
        """The permission bits of new folders. If the group may read files, it may enter, and new files get that
        group."""
        shared = self.file_mode & 0o060
        return 0o700 | shared | (0o2010 if shared else 0)


def settings_from_env(env: Mapping[str, str]) -> InboxSettings:
    """Return the settings of a writer without a daemon: `DREAM_INBOX_DIR`, `.._REDACT`, `.._VALIDATE`."""
    return InboxSettings(
        dir=env.get("DREAM_INBOX_DIR") or None,
        redact=_is_yes(env, "DREAM_INBOX_REDACT"),
        validate=_is_yes(env, "DREAM_INBOX_VALIDATE"),
    )


def _is_yes(env: Mapping[str, str], name: str) -> bool:
    return env.get(name, "").strip().lower() in _YES


def inbox_folder(settings: InboxSettings, state_dir: Path) -> Path:
    """Return the inbox's folder: the one that was set, or else the one in the state folder. A relative one lies in the
    state folder, so that daemon, writers and dreamctl find one folder from any working folder."""
    return state_dir / (_of_home(settings.dir) if settings.dir else Path("inbox", "dreams"))


def _of_home(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no home of that name, so it is an ordinary name
        return Path(text)
