"""The call of other programs, as the earlier inbox writer had it."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dreamd.inbox import CapabilityError, Inbox, InboxUnavailable, ValidationError, persist_dream_shards

TOKEN = {"token_id": "dev", "scopes": ["other", "memory.inbox.dreams.write"], "exp_ts": 4_000_000_000}
SEED = {"goal": "g", "ul_tags": ["x"]}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No variable of ours but those that a test sets."""
    for name in [name for name in os.environ if name.startswith(("DREAM", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def persist(
    shards: Any, base_dir: Path | None = None, *, trace_id: Any = "t", token: Any = None, **more: Any
) -> Any:
    result = {"trace_id": trace_id, "shards": shards} | more
    return persist_dream_shards(seed=SEED, result=result, cap_token=token or TOKEN, base_dir=base_dir)


def test_imports_no_heavy_module() -> None:
    code = (
        "import sys; from dreamd.inbox import persist_dream_shards, CapabilityError, ValidationError;"
        "print(sorted({'aiosqlite', 'uvloop', 'numpy', 'asyncio', 'phonenumbers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_takes_the_settings_that_the_daemon_has(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = home / ".config/dreamd/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[inbox]\ndir = "shared"\nmode = "0660"\nredact = true\n')
    report = persist([{"password": "hunter2"}])
    file = Path(report["path"])
    assert file == home / ".local/state/dreamd/shared/t.json"
    assert (report["redacted"], file.stat().st_mode & 0o777) == ({"key": 1}, 0o660)
    monkeypatch.setenv("DREAM_INBOX_REDACT", "0")  # the variables come first
    monkeypatch.setenv("DREAM_INBOX_DIR", str(home / "mine"))
    report = persist([{"password": "hunter2"}])
    assert (report["redacted"], report["path"]) == ({}, str(home / "mine/t.json"))
    config.write_text("[inbox]\nredakt = true\n")
    with pytest.raises(InboxUnavailable, match=r"the settings cannot be read: .*redakt"):
        persist([{"password": "hunter2"}])


def test_folder_is_the_argument_the_variable_or_the_daemons(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert persist([{"a": 1}])["path"] == str(home / ".local/state/dreamd/inbox/dreams/t.json")
    monkeypatch.setenv("DREAMD_STATE_DIR", str(home / "state"))
    assert persist([{"a": 1}])["path"] == str(home / "state/inbox/dreams/t.json")
    monkeypatch.setenv("DREAM_INBOX_DIR", str(home / "other"))
    assert persist([{"a": 1}])["path"] == str(home / "other/t.json")
    assert persist([{"a": 1}], home / "here")["path"] == str(home / "here/t.json")
    monkeypatch.chdir(home)
    assert persist([{"a": 1}], "there")["path"] == str(home / "there/t.json")
    monkeypatch.setenv("DREAM_INBOX_DIR", "mine")  # where the daemon looks for it too
    assert persist([{"a": 1}])["path"] == str(home / "state/mine/t.json")


@pytest.mark.parametrize(
    ("base_dir", "says"),
    [
        (5, "base_dir is a int, expected a path or its text"),
        (b"/x", "base_dir is a bytes, expected a path or its text"),
        ("", "base_dir is empty"),
        ("a\0b", "base_dir is empty, or holds what no path can"),
        ("\ud800", "base_dir is empty, or holds what no path can"),
        ("x" * 300, "the folder's path, or a name in it, is too long"),
        ("x/" * 3000, "the folder's path, or a name in it, is too long"),
    ],
)
def test_p6_a_base_dir_that_is_no_path_is_refused(
    base_dir: Any, says: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    with pytest.raises(ValidationError, match=says):
        persist([{"a": 1}], base_dir)
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("yes", ["1", "true", "YES", "On", " True "])
def test_the_variables_that_mask_and_check(yes: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAM_INBOX_REDACT", yes)
    monkeypatch.setenv("DREAM_INBOX_VALIDATE", yes)
    assert persist([{"text": "a@b.org"}], home / "x")["redacted"] == {"email": 1}
    assert Inbox(home / "x").read("t")["shards"] == [{"text": "[email]"}]
    with pytest.raises(ValidationError, match="matada_nodes"):
        persist([], home / "x", matada_nodes=[{}])


def test_accepts_the_arguments_of_the_earlier_writer(home: Path) -> None:
    """The earlier writer kept all of this. Here its JSON form is kept."""
    shard = {"index": 0.5, "timestamp": 1, 1: {2: "x"}}
    for number, seed in enumerate(
        (
            None,
            {"goal": 5, "ul_tags": [1, None, "x"], "constraints": {"flags": ["no_pii"]}},
            {"constraints": {"flags": "x"}},
        )
    ):
        for scopes in (
            {"memory.inbox.dreams.write": 1},
            [7, "memory.inbox.dreams.write"],
            {None, "memory.inbox.dreams.write"},
        ):
            result = {"trace_id": f"t{number}", "shards": [shard]}
            persist_dream_shards(seed=seed, result=result, cap_token={"scopes": scopes}, base_dir=home / "x")
    found = [Inbox(home / "x").read(f"t{number}") for number in range(3)]
    assert [one["shards"] for one in found] == [[{"index": 0.5, "timestamp": 1, "1": {"2": "x"}}]] * 3
    assert found[1]["seed"] == {
        "goal": "5",
        "ul_tags": ["1", "None", "x"],
        "constraints": {"flags": ["no_pii"]},
    }


@pytest.mark.parametrize("no", ["0", "false", "no", "off", "", "2"])
def test_other_values_of_a_variable_mean_no(no: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAM_INBOX_REDACT", no)
    monkeypatch.setenv("DREAM_INBOX_VALIDATE", no)
    report = persist([{"text": "a@b.org"}], home / "x", matada_nodes=[{}])
    assert (report["redacted"], report["nodes_skipped"]) == ({}, 1)


@pytest.mark.parametrize("result", [None, {"trace_id": "../x"}, {"trace_id": "t", "shards": []}])
def test_checks_the_token_first(result: Any, home: Path) -> None:
    """Otherwise a caller without a token would learn which shards are accepted."""
    with pytest.raises(CapabilityError):
        persist_dream_shards(seed=5, result=result, cap_token={"scopes": []}, base_dir=home / "x")  # type: ignore[arg-type]


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


BAD_SHARDS = {
    "no mapping": "x",
    "nil": None,
    "nan": {"x": math.nan},
    "infinity": {"x": [math.inf]},
    "a lone surrogate": {"x": "\ud800"},
    "an integer of 400 digits": {"x": 10**400},
    "nesting of 5000": {"x": nested(5000)},
    "10 MB": {"x": "y" * 10_000_000},
    "index as a string": {"index": "0", "timestamp": 1},
}
BAD_TRACE_IDS = ["../x", "..", "/tmp/x", "", "x" * 200, "a\0b", "а", "a/../../x", None]
BAD_RESULTS = [
    *({"trace_id": "t", "shards": [{"a": 1}, bad]} for bad in BAD_SHARDS.values()),
    *({"trace_id": bad, "shards": [{"a": 1}]} for bad in BAD_TRACE_IDS),
]


@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize("result", BAD_RESULTS, ids=[*BAD_SHARDS, *map(ascii, BAD_TRACE_IDS)])
def test_p6_bad_input_is_refused_whole(result: dict[str, Any], existing: bool, home: Path) -> None:
    """P6: it raises a ValidationError, and no file inside or outside the folder is written or changed."""
    if existing:
        persist([{"a": 0}], home / "in" / "box")
    before = {path: path.is_file() and path.read_bytes() for path in home.rglob("*")}
    with pytest.raises(ValidationError):
        persist_dream_shards(seed=SEED, result=result, cap_token=TOKEN, base_dir=home / "in" / "box")
    assert {path: path.is_file() and path.read_bytes() for path in home.rglob("*")} == before


@pytest.mark.parametrize("expiry", [math.nan, None, "4000000000", True, 1_000_000_000])
def test_p6_a_bad_expiry_is_refused_whole(expiry: Any, home: Path) -> None:
    """P6: it raises a CapabilityError, and no file is written."""
    with pytest.raises(CapabilityError):
        persist([{"a": 1}], home / "box", token=TOKEN | {"exp_ts": expiry})
    assert not (home / "box").exists()


def test_the_two_line_module_of_the_documentation_keeps_an_old_import_working(home: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/guides/inbox.md").read_text()
    module = page.split("```python\n# dreams_inbox.py\n")[1].split("```")[0]
    assert len(module.strip().splitlines()) == 2
    (home / "dreams_inbox.py").write_text(module)
    code = "from dreams_inbox import persist_dream_shards, CapabilityError; print(CapabilityError.__mro__)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, cwd=home
    )
    assert "RuntimeError" in done.stdout


def test_a_relative_folder_without_a_working_folder_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(InboxUnavailable, match="find the inbox's folder"):
        persist([{"a": 1}], Path("inbox"))


def test_without_a_home_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)  # a user without an entry, as in a container
    with pytest.raises(InboxUnavailable, match="no home folder"):
        persist([{"a": 1}])
