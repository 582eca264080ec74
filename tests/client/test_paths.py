"""Where the socket and the state are: the same answer for all who ask from the same environment."""

from pathlib import Path

import pytest
from dreamclient.errors import SocketPathError
from dreamclient.paths import check_socket_path, socket_path, state_dir

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
def test_state_dir(explicit: str | None, env: dict[str, str], expected: Path) -> None:
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
def test_socket_path(explicit: str | None, state: str | None, env: dict[str, str], expected: str) -> None:
    assert socket_path(explicit, state=state, env=env) == Path(expected)


def test_relative_paths_and_tildes_are_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert socket_path("a.sock", env={}) == tmp_path / "a.sock"
    assert state_dir("state", env={}) == tmp_path / "state"
    assert state_dir("~/state", env=HOME) == Path("/home/leo/state")
    assert socket_path(env=HOME | {"DREAMD_SOCKET": "~/a.sock"}) == Path("/home/leo/a.sock")


def test_without_a_home_in_the_environment_the_user_database_has_one() -> None:
    assert state_dir(env={}) == Path.home() / ".local/state/dreamd"


@pytest.mark.parametrize("name", ["x", "夢"])
def test_a_socket_path_has_107_bytes_at_most(name: str) -> None:
    def path_of(size: int) -> str:
        return "/" + name * ((size - 1) // len(name.encode())) + "y" * ((size - 1) % len(name.encode()))

    check_socket_path(path_of(107))
    for size in (108, 109):
        with pytest.raises(SocketPathError, match=f"has {size} bytes, and .* may have 107"):
            check_socket_path(path_of(size))
