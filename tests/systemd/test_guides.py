"""The units that the guides show, under a real user manager: each does what its guide says."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dreamclient import DreamClient

from dreamd.inbox import Inbox
from tests.helpers.dreaming import STIRRED
from tests.helpers.nats_server import NatsServer
from tests.helpers.openmetrics import parse
from tests.helpers.peer import saying
from tests.helpers.waiting import until
from tests.systemd.conftest import CHECKOUT, UserManager

GUIDES = CHECKOUT / "docs/guides"
UNIT = re.compile(r"^`~/.config/systemd/user/(\S+)`:\n\n```ini\n(.*?)^```", re.MULTILINE | re.DOTALL)


def write_units(manager: UserManager, guide: str, places: dict[str, str]) -> None:
    """Write the units of a guide, with places of this machine in place of those that it shows."""
    folder = manager.config / "systemd" / "user"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in UNIT.findall((GUIDES / guide).read_text()):
        for shown, place in places.items():
            text = text.replace(shown, place)
        (folder / name).write_text(text)
    manager.systemctl("daemon-reload")


def dream(socket: Path) -> None:
    with DreamClient(saying, lambda _: None, socket_path=socket, origin=["I am small."]) as leo:
        assert leo.start(20)
        assert leo.dream_now(STIRRED)["outcome"] == "complete"


@pytest.fixture
def tools(tmp_path: Path) -> str:
    """The folder of dreamctl, under a name without a blank: a unit would be split there."""
    (tmp_path / "tools").symlink_to(Path(sys.executable).parent)
    return str(tmp_path / "tools")


@pytest.fixture
def service(manager: UserManager) -> Iterator[UserManager]:
    manager.dreamctl("service", "install")
    yield manager
    manager.dreamctl("service", "uninstall")


def test_a_dream_writes_a_page_of_the_diary(service, tools):
    home = service.base / "home"
    box = service.state / "dreamd" / "inbox" / "dreams"
    places = {"%h/.local/state/dreamd/inbox/dreams": str(box), "%h/.local/bin": tools, "$HOME": str(home)}
    write_units(service, "diary.md", places)
    service.systemctl("enable", "--now", "dreamd-diary.path")
    dream(service.socket)
    until(
        lambda: any("**leo**" in page.read_text() for page in home.glob("dreams/*.md")), "a page is written"
    )
    [page] = home.glob("dreams/*.md")
    assert page.stat().st_mode & 0o777 == 0o600
    service.systemctl("disable", "--now", "dreamd-diary.path")


def test_a_timer_writes_the_figures_of_an_instance(manager, tools, tmp_path):
    manager.dreamctl("service", "install", "--instance", "ada")
    figures = tmp_path / "figures"
    figures.mkdir()
    places = {"/var/lib/node_exporter/dreamd": str(figures), "'dreamctl": f"'{tools}/dreamctl"}
    write_units(manager, "many-leos.md", places)
    soon = manager.config / "systemd/user/dreamd-figures@.timer.d/soon.conf"
    soon.parent.mkdir()
    # Beside the minute of the guide. By default systemd takes up to a minute more.
    soon.write_text("[Timer]\nRandomizedDelaySec=0\nAccuracySec=100ms\nOnActiveSec=1\n")
    manager.systemctl("daemon-reload")
    manager.systemctl("enable", "--now", "dreamd-figures@ada.timer")
    assert "OnCalendar=*-*-* *:*:00" in manager.systemctl("show", "dreamd-figures@ada.timer")
    until((figures / "dreamd-ada.prom").exists, "the figures are written")
    assert parse((figures / "dreamd-ada.prom").read_text())
    manager.systemctl("disable", "--now", "dreamd-figures@ada.timer")
    manager.dreamctl("service", "uninstall", "--instance", "ada")


def test_the_unit_of_the_puller_fills_its_folder(manager, tools, tmp_path):
    server = NatsServer(tmp_path / "jetstream")
    try:
        server.make_stream()
        sender = Inbox(tmp_path / "state" / "inbox" / "dreams")
        sender.write({}, [{"index": 1, "timestamp": 1}], trace_id="one")
        relay = ("inbox", "relay", "--to", server.url, "--machine", "one", "--once")
        manager.dreamctl("--state-dir", str(tmp_path / "state"), *relay)
        into = tmp_path / "memory"
        places = {
            "%h/.local/bin": tools, "tls://memory.example": server.url, "/srv/dreams": str(into),
            " --creds %E/dreamd/pull.creds": "",
        }  # fmt: skip
        write_units(manager, "many-leos.md", places)
        manager.systemctl("enable", "--now", "dreamd-pull.service")
        until(lambda: Inbox(into).counts()["waiting"] == 1, "the file is there")
        manager.systemctl("disable", "--now", "dreamd-pull.service")
        assert manager.systemctl("is-failed", "dreamd-pull.service", check=False) == "inactive"
    finally:
        server.kill()
