"""`dreamctl inbox relay` against a real NATS server."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dreamd.ctl.machine.relay_state import read_relay_state
from tests.ctl.commands.inbox.relay.scene import Machine, ended
from tests.helpers.dreamctl import dreamctl
from tests.helpers.nats_server import NatsServer, need_nats
from tests.helpers.waiting import until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    found = NatsServer(tmp_path_factory.mktemp("jetstream"))
    found.make_stream()
    found.make_stream("FULL", ["full.>"], max_msgs=1)
    yield found
    found.kill()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path / "machine")
    made.fill(5)
    return made


def relay(machine: Machine, url: str, *more: object) -> tuple[int, str, str]:
    result = dreamctl("--state-dir", machine.state, "inbox", "relay", "--to", url, *more)
    return result.exit_code, result.stdout, result.stderr


def test_passes_on_what_waits_and_leaves_what_is_no_document(server, machine):
    (machine.box.folder / "odd.json").write_text("{")
    code, out, err = ended(machine.relay(server.url, "--once", "--json"))
    assert (code, err, json.loads(out)) == (0, "", {"published": 5, "acknowledged": 5, "skipped": 1})
    assert machine.waiting == 1
    state = read_relay_state(machine.state, 0.0)
    assert state is not None
    assert (state["state"], state["waiting"], state["skipped"], state["last_error"]) == ("ended", 1, 1, "")


def test_follows_the_folder_over_a_crash_of_the_server(server, machine):
    process = machine.relay(server.url)
    try:
        until(lambda: machine.waiting == 0, "the first files are passed on")
        server.kill()
        server.start()
        machine.write("late", "a line")
        until(lambda: machine.waiting == 0, "a later file is passed on")
    finally:
        process.terminate()
    code, out, err = ended(process)
    assert code == 0
    assert "published     6\n" in out
    assert err.count("\n") <= 2  # the lost connection, and perhaps a refused one


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("nowhere.{machine}", "no stream takes the subject nowhere."),
        ("full.{client}", "the stream is full (maximum"),
    ],
)
def test_says_in_one_line_that_no_stream_takes_the_files(server, machine, subject, said):
    for more in ((), ("--once",)):
        process = machine.relay(server.url, "--subject", subject, *more)
        code, out, err = ended(process)
        assert (code, out, err.count("\n")) == (4, "", 1)
        assert said in err
        if subject.startswith("nowhere"):
            assert machine.waiting == 5
    # The one that the stream had room for.
    assert machine.waiting >= 4
    state = read_relay_state(machine.state, 0.0)
    assert state is not None
    assert said in state["last_error"]


def test_refuses_a_server_without_tls_or_without_an_answer(server, machine, tmp_path):
    code, _, err = ended(machine.relay(server.url.replace("nats:", "tls:"), "--once"))
    assert (code, "it offers no TLS" in err, machine.waiting) == (4, True, 5)
    code, _, err = ended(machine.relay("nats://127.0.0.1:1", "--once"))
    assert (code, err) == (3, "Error: nats://127.0.0.1:1: no NATS server answers (Connection refused)\n")


def test_reports_wrong_credentials_without_naming_them(machine, tmp_path):
    server = NatsServer(tmp_path / "locked", "--user", "leo", "--pass", "secret")
    try:
        for url in (server.url, server.url.replace("//", "//leo:wrongword@")):
            code, _, err = ended(machine.relay(url))
            assert (code, err.count("\n"), machine.waiting) == (4, 1, 5)
            assert "it refuses these credentials" in err
            assert "wrongword" not in err + (machine.state / "relay.json").read_text()
    finally:
        server.kill()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_reports_a_certificate_of_an_unknown_authority(machine, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=127.0.0.1"
    command = ["openssl", *words.split(), "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    server = NatsServer(tmp_path / "tls", "--tls", f"--tlscert={certificate}", f"--tlskey={key}")
    try:
        code, _, err = ended(machine.relay(server.url.replace("nats:", "tls:")))
        assert (code, err.count("\n"), machine.waiting) == (4, 1, 5)
        assert "its certificate is not accepted (self-signed certificate)" in err
        code, _, err = ended(machine.relay(server.url, "--tls-ca", certificate))
        assert (code, "no stream takes the subject" in err) == (4, True)
    finally:
        server.kill()


def test_says_which_extra_is_missing(machine, monkeypatch):
    monkeypatch.setitem(sys.modules, "nats", None)
    code, _, err = relay(machine, "nats://127.0.0.1", "--once")
    assert (code, err) == (2, "Error: this command needs nats-py: pip install 'dreamd[nats]'\n")


@pytest.mark.parametrize("url", ["127.0.0.1", "http://a", "nats://", "nats://a:b", "nats://a:99999"])
def test_refuses_what_is_no_url_of_a_server(machine, url):
    code, _, err = relay(machine, url)
    assert (code, "expected nats://HOST" in err) == (2, True)


def test_a_plain_status_does_not_import_nats():
    need_nats()
    code = "import sys, dreamd.app, dreamd.ctl.__main__, dreamd.ctl.commands.status; print('nats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
