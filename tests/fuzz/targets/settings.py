"""The bytes of a settings file: any file gives settings, or errors of one line each."""

import tempfile
from pathlib import Path

from dreamd.errors import SettingsError
from dreamd.settings import GROUPS, read_sources

_FOLDER = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


def read_file(data: bytes) -> None:
    """Read a file, and then its values again as text, as the environment gives them."""
    file = Path(_FOLDER.name) / "config.toml"
    file.write_bytes(data)
    reading = read_sources(file=file, env={})
    assert all("\n" not in error for error in reading.errors), "an error of several lines"
    assert all(origin.kind == "file" for origin in reading.origins.values())
    try:
        settings = reading.settings()
    except SettingsError:
        assert reading.errors
        return
    assert not reading.errors
    for key in reading.origins:
        group, _, name = key.partition(".")
        value = getattr(getattr(settings, group), name)
        if isinstance(value, bool | int | float):
            again = read_sources(file=Path("/dev/null"), env={}, assignments=[f"{key}={value}"])
            assert again.values[group][name] == value, "a number means another one as text"
    assert set(reading.values) == set(GROUPS)
