"""The settings: mistakes, and settings that no longer exist."""

from collections.abc import Iterator

from dreamd.ctl.commands.doctor.finding import Finding, fail, ok, warn
from dreamd.settings import Reading


def check(reading: Reading) -> Iterator[Finding]:
    """Report each mistake in the file and the environment of this user."""
    for error in reading.errors:
        yield fail(
            "settings", error, "correct that, and see `dreamctl config check`: dreamd does not start with it"
        )
    for gone in reading.gone:
        yield warn(
            "settings",
            f"ignored, since this version has no such setting: {gone}",
            "remove it from the settings file or the environment",
        )
    if not (reading.errors or reading.gone):
        count = len(reading.origins)
        yield ok(
            "settings", f"{count} set, all others at their defaults" if count else "all at their defaults"
        )
