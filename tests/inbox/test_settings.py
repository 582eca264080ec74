"""The inbox's settings."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from dreamd.inbox.settings import InboxSettings, inbox_folder, settings_from_env


def test_defaults_are_for_the_owner_alone() -> None:
    settings = InboxSettings()
    assert (settings.file_mode, settings.folder_mode) == (0o600, 0o700)
    assert settings.retention_s == 30 * 86_400
    assert settings_from_env({}) == settings
    assert settings_from_env({"DREAM_INBOX_DIR": ""}).dir is None


@pytest.mark.parametrize("mode", ["0644", "0666", "0700", "0400", "x", "", "1600", 600, 640, 0o644, 0o777])
def test_a_mode_gives_nothing_to_the_world_and_all_to_the_owner(mode: Any) -> None:
    with pytest.raises(ValueError, match="mode"):
        InboxSettings(mode=mode)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_retention_is_a_finite_time(seconds: float) -> None:
    with pytest.raises(ValueError, match="retention_s"):
        InboxSettings(retention_s=seconds)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"redactt": True}, InboxSettings)


def test_folder_of_each_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/leo")
    state = Path("/state")
    assert inbox_folder(InboxSettings(), state) == Path("/state/inbox/dreams")
    assert inbox_folder(InboxSettings(dir="~/dreams"), state) == Path("/home/leo/dreams")
    assert inbox_folder(InboxSettings(dir="/box"), state) == Path("/box")
    assert inbox_folder(InboxSettings(dir="my/box"), state) == Path("/state/my/box")
    assert inbox_folder(InboxSettings(dir="~unknown-user/x"), state) == Path("/state/~unknown-user/x")
