"""The settings: mistakes, and settings that no longer exist."""

from collections.abc import Iterator

from dreamd.ctl.commands.doctor.finding import Finding, fail, ok, warn
from dreamd.settings import Reading


def check_settings(reading: Reading) -> Iterator[Finding]:
    """Report each mistake in the file and the environment of this user."""
    for error in reading.errors:
        yield fail(error, "correct that, and see `dreamctl config check`: dreamd does not start with it")
    for gone in reading.gone:
        yield warn(
            f"ignored, since this version has no such setting: {gone}",
            "remove it from the settings file or the environment",
        )
    if not (reading.errors or reading.gone):
        count = len(reading.origins)
        yield ok(f"{count} set, all others at their defaults" if count else "all at their defaults")


def check_kept(reading: Reading) -> Iterator[Finding]:
    """Say what is kept of the user's words, and how it is deleted."""
    kept = {"diagnostics": True, "keep_days": 0, "replay_dialogues": 256} | reading.values["store"]
    days = f"for {kept['keep_days']} days" if kept["keep_days"] else "until you delete them"
    what = f"your prompts with leo's replies for the newest {kept['replay_dialogues']} dreams, and all lines {days}"
    if not kept["diagnostics"]:
        what = "no text of a dream once its inbox file is written"
    yield ok(f"it keeps {what}", "" if kept["keep_days"] else "delete: `dreamctl prune --older-than 90d`")
