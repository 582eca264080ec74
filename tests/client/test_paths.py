"""The paths of the socket and the state folder: equal for all programs with one environment."""

import os
import pwd
from pathlib import Path

import pytest
from dreamclient import DreamClient
from dreamclient.errors import HomeUnknown, SocketPathError
from dreamclient.paths import check_socket_path, config_home, socket_path, state_dir

HOME = {"HOME": "/home/leo"}
STATE = Path("/home/leo/.local/state/dreamd")


@pytest.mark.parametrize(
    ("explicit", "env", "expected"),
    [
        (None, HOME, STATE),
        (None, HOME | {"XDG_STATE_HOME": "/var/leo"}, Path("/var/leo/dreamd")),
        (None, HOME | {"XDG_STATE_HOME": "relative"}, STATE),
        (None, HOME | {"XDG_STATE_HOME": ""}, STATE),
        (None, HOME | {"DREAMD_STATE_DIR": "/d", "XDG_STATE_HOME": "/x"}, Path("/d")),
        ("/e", HOME | {"DREAMD_STATE_DIR": "/d"}, Path("/e")),
        (Path("/e"), HOME, Path("/e")),
        ("", HOME, STATE),
    ],
)
def test_finds_the_state_folder(explicit: str | None, env: dict[str, str], expected: Path) -> None:
    assert state_dir(explicit, env) == expected


RUNTIME = HOME | {"XDG_RUNTIME_DIR": "/run/user/7"}


@pytest.mark.parametrize(
    ("explicit", "state", "env", "expected"),
    [
        (None, None, RUNTIME, "/run/user/7/dreamd/dreamd.sock"),
        (None, None, HOME, f"{STATE}/dreamd.sock"),
        (None, None, HOME | {"XDG_RUNTIME_DIR": "relative"}, f"{STATE}/dreamd.sock"),
        (None, None, HOME | {"XDG_STATE_HOME": "/x"}, "/x/dreamd/dreamd.sock"),
        (None, None, RUNTIME | {"DREAMD_STATE_DIR": "/d"}, "/d/dreamd.sock"),
        (None, "/s", RUNTIME | {"DREAMD_STATE_DIR": "/d"}, "/s/dreamd.sock"),
        (None, "/s", RUNTIME | {"DREAMD_SOCKET": "/a.sock"}, "/a.sock"),
        ("/e.sock", "/s", RUNTIME | {"DREAMD_SOCKET": "/a.sock"}, "/e.sock"),
        ("", "", RUNTIME, "/run/user/7/dreamd/dreamd.sock"),
    ],
)
def test_finds_the_socket(
    explicit: str | None, state: str | None, env: dict[str, str], expected: str
) -> None:
    assert socket_path(explicit, state=state, env=env) == Path(expected)


def test_relative_paths_and_tildes_are_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert socket_path("a.sock", env={}) == tmp_path / "a.sock"
    assert state_dir("state", env={}) == tmp_path / "state"
    assert state_dir("~/state", env=HOME) == Path("/home/leo/state")
    assert socket_path(env=HOME | {"DREAMD_SOCKET": "~/a.sock"}) == Path("/home/leo/a.sock")


def test_without_a_home_in_the_environment_the_user_database_has_one() -> None:
    assert state_dir(env={}) == Path(pwd.getpwuid(os.getuid()).pw_dir) / ".local/state/dreamd"


@pytest.mark.parametrize("name", ["x", "夢"])
def test_a_socket_path_has_107_bytes_at_most(name: str) -> None:
    def path_of(size: int) -> str:
        return "/" + name * ((size - 1) // len(name.encode())) + "y" * ((size - 1) % len(name.encode()))

    check_socket_path(path_of(107))
    for size in (108, 109):
        with pytest.raises(SocketPathError, match=f"has {size} bytes, and .* may have 107"):
            check_socket_path(path_of(size))


@pytest.fixture
def _homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without HOME and without an entry in the user database, as in many containers."""

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.mark.usefixtures("_homeless")
def test_without_a_home_only_the_defaults_are_unknown() -> None:
    for ask in (state_dir, socket_path):
        with pytest.raises(HomeUnknown, match=r"no home folder: HOME is not set, and uid \d+ has no entry"):
            ask(env={})
    with pytest.raises(HomeUnknown):
        state_dir("~/s", {})
    assert state_dir(env={"XDG_STATE_HOME": "/x"}) == Path("/x/dreamd")
    assert socket_path(env={"XDG_RUNTIME_DIR": "/run/user/7"}) == Path("/run/user/7/dreamd/dreamd.sock")
    assert socket_path(env={"DREAMD_STATE_DIR": "/d"}) == Path("/d/dreamd.sock")
    assert not config_home({}).exists()


def test_a_tilde_of_an_unknown_user_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert state_dir("~no-such-user/s", {}) == tmp_path / "~no-such-user" / "s"
    assert state_dir("~", HOME) == Path("/home/leo")
    assert config_home(HOME | {"XDG_CONFIG_HOME": "relative"}) == Path("/home/leo/.config")


@pytest.mark.usefixtures("_homeless")
def test_the_client_reports_a_missing_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DREAMD_SOCKET", "DREAMD_STATE_DIR", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with DreamClient() as client:
        client.start(1.0)
        assert client.trouble.startswith("no home folder: HOME is not set")
