"""Folders of another user, which su and sudo leave in the environment."""

import os
import stat
from pathlib import Path

import pytest

from dreamd.ctl.commands.doctor.places import check_socket
from dreamd.ctl.machine import access, places
from tests.helpers.places import STRANGER


@pytest.fixture
def _of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Act as another user in what the doctor asks: what is there belongs to a third. `tmp_path` comes first, because
    pytest looks at the user too when it makes the first folder."""
    monkeypatch.setattr(os, "getuid", lambda: STRANGER)
    real = os.access

    def allowed(path: Path, mode: int) -> bool:
        owner = os.stat(path).st_uid
        bits = os.stat(path).st_mode & 0o7
        wanted = (os.R_OK & mode) | (os.W_OK & mode) | (os.X_OK & mode)
        return real(path, mode) if owner == STRANGER else bits & wanted == wanted

    monkeypatch.setattr(os, "access", allowed)


@pytest.mark.usefixtures("_of_another")
def test_the_runtime_folder_of_another_user_is_named_with_its_owner(tmp_path, monkeypatch) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    facts = places.look_at_socket(tmp_path / "dreamd" / "dreamd.sock")
    [finding] = check_socket(
        facts, STRANGER, listener=None, deaf=False, guarded=False, state=places.StateFacts(tmp_path, "folder")
    )
    assert finding.level == "FAIL"
    assert access.owner_of(tmp_path) in finding.text
    assert finding.advice.startswith(f"XDG_RUNTIME_DIR names {tmp_path}, which is not yours")
    assert f"/run/user/{STRANGER}" in finding.advice


@pytest.mark.usefixtures("_of_another")
def test_a_call_that_a_folder_refused_says_whose_it_is_and_what_to_do(tmp_path, monkeypatch) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "dream.sqlite3"
    first, second = access.explain_os_error(PermissionError(13, "Permission denied", str(file))).split("\n")
    assert first == f"{file}: Permission denied."
    assert access.owner_of(tmp_path) in second
    assert f"HOME names {tmp_path}, which is not yours" in second
    assert access.explain_os_error(FileNotFoundError(2, "No such file", str(file))) == f"{file}: No such file"


@pytest.mark.usefixtures("_of_another")
def test_names_the_home_of_another_user_and_does_not_advise_to_change_its_owner(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    why, cure = access.refusal_and_cure(tmp_path / ".local" / "state" / "dreamd")
    assert access.owner_of(tmp_path) in why
    assert cure.startswith(f"HOME names {tmp_path}, which is not yours")
    assert "chown" not in cure


def test_advises_to_change_the_owner_of_a_root_folder_in_the_own_home(tmp_path, monkeypatch) -> None:
    local = tmp_path / ".local"
    local.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(access, "_is_anothers", lambda _folder: False)
    monkeypatch.setattr(access, "blocking_folder", lambda _path: local)
    monkeypatch.setattr(os, "getuid", lambda: STRANGER)
    why, cure = access.refusal_and_cure(local / "state" / "dreamd")
    assert why == f"{local} belongs to {access.owner_of(local)}"
    assert cure == f"`sudo chown -R {STRANGER} {local}`"


def test_names_an_owner_by_number_if_he_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert access.owner_of(Path("/")) == "root (uid 0)"
    assert access.user_name(STRANGER) == ""


def test_a_file_in_place_of_a_folder_is_not_made_executable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "state"):
        assert access.refusal_and_cure(place) == (f"{tmp_path}/file is no folder", access.ELSEWHERE)


def test_accepts_a_folder_that_exists_or_can_be_made(tmp_path: Path) -> None:
    assert access.refusal_and_cure(tmp_path) == access.refusal_and_cure(tmp_path / "a" / "b") == ("", "")
    assert stat.S_ISDIR(tmp_path.stat().st_mode)
