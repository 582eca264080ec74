"""`dreamctl inbox`, which works on the folder without a daemon."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from dreamd.ctl.__main__ import cli
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl, spawn_dreamctl
from tests.helpers.waiting import until

TOKEN = {"scopes": ["memory.inbox.dreams.write"]}


@pytest.fixture
def run(tmp_path, monkeypatch):
    for name in ("DREAM_INBOX_DIR", "DREAMD_STATE_DIR", "DREAMD_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str, said: str | bytes | None = None):
        return CliRunner().invoke(cli, ["--state-dir", str(tmp_path), "inbox", *arguments], input=said)

    return run


def request(**more):
    shard = {"index": 0, "timestamp": 1, "speaker": "sim", "text": "a\x1b[31m shard"}
    result = {"trace_id": "sim-1", "shards": [shard, {"index": 1, "timestamp": 2}]}
    return json.dumps({"seed": {"goal": "g", "ul_tags": ["t"]}, "result": result, "cap_token": TOKEN} | more)


def test_lists_shows_and_acknowledges_a_trace(run, tmp_path):
    assert "Nothing waits" in run("ls").output
    written = run("persist", "-", "--json", said=request())
    assert json.loads(written.output)["shards_written"] == 2
    assert "shards written  0" in run("persist", "-", said=request()).output
    assert "sim-1" in run("ls").output
    assert [found["trace_id"] for found in json.loads(run("ls", "--json").output)] == ["sim-1"]
    shown = run("show", "sim-1").output
    assert "\x1b" not in shown
    assert "goal      g" in shown
    assert json.loads(run("show", "sim-1", "--json").output)["trace_id"] == "sim-1"
    assert run("verify").output == "1 files, 0 with problems\n"
    assert run("ack", "sim-1").output.strip() == str(tmp_path / "inbox/dreams/done/sim-1.json")
    assert json.loads(run("ack", "sim-1", "--json").output)[0]["trace_id"] == "sim-1"
    assert json.loads(run("sweep", "--json").output) == []
    (tmp_path / "inbox/dreams/.tmp/sim-9.json").write_text("half")
    assert run("sweep").output == "1 temporaries removed\n"


def test_a_name_of_another_program_steers_no_terminal(run, tmp_path):
    """Names are printed as labels: who spoke, and a file that is damaged."""
    shard = {"index": 0, "timestamp": 1, "speaker": "s\x1b[2J\nim", "text": "hello"}
    run("persist", "-", said=request(result={"trace_id": "sim-1", "shards": [shard]}))
    shown = run("show", "sim-1").output.splitlines()
    assert shown[-1] == "s [2J im  hello"
    shard["speaker"] = "a name that is as long as a line of a text may be"
    run("persist", "-", said=request(result={"trace_id": "sim-2", "shards": [shard]}))
    assert run("show", "sim-2").output.splitlines()[-1] == "a name that ..  hello"
    (tmp_path / "inbox/dreams/a\x9b2J.json").write_text("x")
    assert run("verify").output.startswith("a 2J.json  ")


def own_trace(number: int) -> dict[str, str]:
    return {
        "trace_id": f"dream-1700000000-{number}-0a1b2c3{number}",
        "shards": [{"index": 0, "timestamp": 1}],
    }


def test_names_a_waiting_trace_as_a_dialogue_is_named(run):
    """By its beginning, by the number of its dialogue, or as the last."""
    assert "nothing waits" in run("show").stderr
    for number in (7, 8):
        run("persist", "-", said=request(result=own_trace(number)))
    run("persist", "-", said=request())
    for asked, meant in (("7", "dream-1700000000-7-0a1b2c37"), ("dream-1700000000-8", "dream-1700000000-8-0a1b2c38"),
                         ("last", "sim-1"), ("sim", "sim-1")):  # fmt: skip
        assert json.loads(run("show", asked, "--json").stdout)["trace_id"] == meant
    assert run("show").stdout.startswith("trace id  sim-1\n")
    several = run("show", "dream-17")
    assert (several.exit_code, several.stdout) == (2, "")
    assert " ".join(several.stderr.splitlines()[-1].split()) == (
        "Error: 'dream-17' begins 2 trace ids: dream-1700000000-7-0a1b2c37, dream-1700000000-8-0a1b2c38; "
        "type more of the one you mean"
    )
    acked = run("ack", "last", "7", "9", "dream-17")
    assert acked.exit_code == 1
    assert [Path(line).stem for line in acked.stdout.splitlines()] == ["sim-1", "dream-1700000000-7-0a1b2c37",
                                                                     "dream-1700000000-8-0a1b2c38"]  # fmt: skip
    assert acked.stderr.startswith(
        "Error: 9: no file of that trace id is waiting or was acknowledged; `dreamctl "
    )
    run("persist", "-", said=request(result={"trace_id": "sim-10", "shards": [{"index": 0, "timestamp": 1}]}))
    assert (
        Path(run("ack", "sim-1").stdout.strip()).stem == "sim-1"
    )  # it was acknowledged: not the beginning of sim-10


def test_does_not_acknowledge_a_file_that_has_grown(run):
    run("persist", "-", said=request())
    shown = run("show", "sim-1").output
    [saved_ts] = [line.split()[-1] for line in shown.splitlines() if line.startswith("saved ts")]
    more = request(result={"trace_id": "sim-1", "shards": [{"index": 7}]})
    assert run("persist", "-", said=more).exit_code == 0
    refused = run("ack", "sim-1", "--saved-ts", saved_ts)
    assert refused.exit_code == 1
    assert "sim-1: the file has grown since it was read" in refused.stderr
    saved_ts = str(json.loads(run("show", "sim-1", "--json").output)["saved_ts"])
    assert run("ack", "sim-1", "sim-2", "--saved-ts", saved_ts).exit_code == 2
    assert run("ack", "sim-1", "--saved-ts", saved_ts).exit_code == 0


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_names_a_byte_order_mark(run, tmp_path, encoding):
    (tmp_path / "shards.json").write_text(request(), encoding=encoding)
    for refused in (
        run("persist", str(tmp_path / "shards.json")),
        run("persist", "-", said=(tmp_path / "shards.json").read_bytes()),
    ):
        assert refused.exit_code == 2
        assert "byte order mark" in refused.stderr


def test_reports_each_of_several_acknowledgements(run, tmp_path):
    for as_json in (False, True):
        run("persist", "-", said=request())
        told = run("ack", "nope", "sim-1", "../x", *["--json"] * as_json)
        assert told.exit_code == 1
        paths = [each["path"] for each in json.loads(told.stdout)] if as_json else told.stdout.splitlines()
        assert [Path(path).parent for path in paths] == [tmp_path / "inbox/dreams/done"]
        assert "nope: no file of that trace id is waiting" in told.stderr
        assert "\n../x: " in told.stderr
        assert run("ls").output.startswith("Nothing waits")


def test_a_failed_print_is_not_reported_as_an_error_of_the_inbox(run, tmp_path):
    run("persist", "-", said=request())
    with open("/dev/full", "wb") as full:
        process = spawn_dreamctl(
            "--state-dir", tmp_path, "inbox", "ack", "sim-1", cwd=tmp_path, stdout=full.fileno()
        )
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (
        1,
        "dreamctl: what it prints cannot be written: No space left on device\n",
    )


def test_refuses_an_endless_file(run):
    endless = run("persist", "/dev/zero")
    assert (endless.exit_code, endless.stdout) == (2, "")
    assert "/dev/zero: more than 16777216 bytes" in " ".join(endless.stderr.split())


def test_with_a_socket_alone_uses_the_inbox_of_its_daemon(daemon, leo, tmp_path):
    """The inbox of the default state folder is not used, since it may be another leo's."""
    leo[1].dream_now()
    until(lambda: leo[1].call("inbox.list"), "its file is written")
    (waiting,) = leo[1].call("inbox.list")
    for socket, env in ((["--socket", daemon.socket], {}), ([], {"DREAMD_SOCKET": str(daemon.socket)})):
        result = dreamctl(*socket, "inbox", "ls", "--json", HOME=str(tmp_path), **env)
        assert json.loads(result.stdout) == [waiting]
    acked = dreamctl("--socket", daemon.socket, "inbox", "ack", waiting["trace_id"], HOME=str(tmp_path))
    assert acked.stdout.startswith(str(daemon.state_dir / "inbox/dreams/done"))
    assert dreamctl("--socket", tmp_path / "s", "inbox", "ls", HOME=str(tmp_path)).exit_code == 3


def test_writes_nothing_beside_a_daemon_whose_folder_is_not_here(tmp_path):
    """Its state folder lies in another container, or its name is no UTF-8, and the daemon cannot name it so."""
    written = tmp_path / "shards.json"
    written.write_text(request())
    with DaemonProcess(tmp_path / "s\udcff") as daemon:
        assert dreamctl("--state-dir", daemon.state_dir, "backup", tmp_path / "b").exit_code == 0
        for words in (("inbox", "persist", written), ("restore", tmp_path / "b")):
            ran = dreamctl("--socket", daemon.socket, *words, HOME=str(tmp_path))
            assert (ran.exit_code, "there is no such folder here" in " ".join(ran.stderr.split())) == (
                4,
                True,
            )
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["s\udcff"]


def test_reports_what_was_written(run, tmp_path):
    told = run("persist", "-", said=request()).output
    assert told.splitlines()[0].split() == ["path", str(tmp_path / "inbox/dreams/sim-1.json")]
    assert "shards written  2" in told
    assert not {"None", "{}", "redacted", "set"} & set(told.split())
    (tmp_path / "inbox/dreams/sim-1.json").write_text("no longer JSON")
    again = run("persist", "-", said=request()).output
    assert "set aside       sim-1.json.corrupt-" in again


def test_names_an_inbox_that_cannot_be_opened(run, tmp_path):
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox/dreams").symlink_to(tmp_path / "nowhere")
    for command in ("ls", "sweep"):
        failed = run(command)
        assert (failed.exit_code, failed.stdout) in ((1, ""), (4, ""))
        assert "[Errno" not in failed.stderr


def test_verify_names_what_is_wrong(run, tmp_path):
    folder = tmp_path / "inbox" / "dreams"
    folder.mkdir(parents=True)
    (folder / "bad.json").write_text('{"trace_id": "bad", "shards": ["odd"]}')
    found = run("verify")
    assert found.exit_code == 1
    assert "bad.json" in found.output
    assert json.loads(run("verify", "--json").output)[0]["problems"]
    (folder / "link.json").symlink_to("bad.json")
    assert "link.json  it cannot be read: Too many levels of symbolic links" in run("verify").output
    assert run("show", "bad").output.splitlines()[-1].startswith("?")


@pytest.mark.parametrize(
    ("said", "code"),
    [("{", 2), ("[]", 2), ("{}", 2), (request(cap_token={"scopes": []}), 4), (request(seed=3), 4)],
)
def test_refuses_invalid_shards_and_tokens(run, said, code):
    assert run("persist", "-", said=said).exit_code == code


def test_reports_missing_traces_and_wrong_settings(run, monkeypatch):
    assert run("show", "nope").exit_code == 1
    monkeypatch.setenv("DREAMD_GATE__CHANGE", "1")
    assert run("ls").exit_code == 2


def test_prints_the_schema(run):
    assert json.loads(run("schema").output)["$defs"]
    assert json.loads(run("schema", "--json").output)["$defs"]


def test_an_empty_path_is_not_the_default():
    assert CliRunner().invoke(cli, ["--state-dir", "", "inbox", "ls"]).exit_code == 2


@pytest.mark.parametrize(
    "seed", [None, 5, [], "text", {"goal": None}, {"ul_tags": None}, {"ul_tags": 5}, {"ul_tags": [None, {}]}]
)
def test_show_prints_a_file_whatever_its_seed_is(seed, run, tmp_path):
    run("persist", "-", said=request())
    path = tmp_path / "inbox/dreams/sim-1.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": seed}))
    shown = run("show", "sim-1")
    assert shown.exit_code == 0
    assert "shard" in shown.output
    assert run("verify").exit_code == 1
