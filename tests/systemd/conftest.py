"""A real user manager of systemd, in folders of its own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.helpers.cgroups import cgroups
from tests.helpers.dreamctl import dreamctl_in
from tests.helpers.waiting import until

CHECKOUT = Path(__file__).parents[2]
# A unit with a private /tmp cannot see what lies in the real one.
HIDDEN = (Path("/tmp"), Path("/var/tmp"))


def printed(ran: "subprocess.CompletedProcess[str]", check: bool) -> str:
    assert not check or ran.returncode == 0, f"{ran.args}: {ran.stdout}{ran.stderr}"
    return ran.stdout.strip()


class UserManager:
    """`systemd --user` with an empty configuration; `run` runs a command in its environment."""

    def __init__(self, base: Path, groups: Sequence[Path]) -> None:
        self.base = base
        self.config, self.runtime, self.state = base / "config", base / "run", base / "state"
        for folder in (self.config, self.runtime):
            folder.mkdir(mode=0o700)
        self.env = {
            k: v for k, v in os.environ.items() if not k.startswith(("DREAM", "XDG_", "NOTIFY_", "LISTEN_"))
        }
        self.env |= {
            "XDG_CONFIG_HOME": str(self.config),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "XDG_STATE_HOME": str(self.state),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.runtime}/bus",
        }
        self.socket = self.runtime / "dreamd" / "dreamd.sock"
        self.log = (base / "manager.log").open("wb")
        self.process = subprocess.Popen(
            ["sh", "-c", 'for group; do echo $$ >"$group"; done; exec systemd --user --log-target=console', "sh"]
            + [str(group) for group in groups],
            env=self.env, stdout=self.log, stderr=self.log,
        )  # fmt: skip

    def run(self, *command: str, check: bool = True) -> str:
        ran = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60, check=False)
        return printed(ran, check)

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        return self.run("systemctl", "--user", *arguments, check=check)

    def dreamctl(self, *arguments: str, check: bool = True) -> str:
        return printed(dreamctl_in(self.env, *arguments), check)

    def drop_in(self, text: str) -> None:
        """Add to the service's settings."""
        folder = self.config / "systemd" / "user" / "dreamd.service.d"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "test.conf").write_text(text)
        self.systemctl("daemon-reload")

    def main_pid(self) -> int:
        return int(self.systemctl("show", "-P", "MainPID", "dreamd.service"))

    def close(self) -> None:
        if self.process.poll() is None:
            self.systemctl("stop", "dreamd.socket", "dreamd.service", check=False)
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
        self.log.close()


@pytest.fixture(scope="module")
def manager() -> Iterator[UserManager]:
    """One manager for the tests of a file."""
    if not (shutil.which("systemd") and shutil.which("systemctl")):
        pytest.skip("no systemd on this machine")
    if any(Path(sys.prefix).is_relative_to(folder) for folder in HIDDEN):
        pytest.skip("this environment lies in the temporary folder, which the unit cannot see")
    if os.geteuid() == 0:
        Path("/run/systemd/system").mkdir(parents=True, exist_ok=True)  # systemctl asks for it
    base = Path(tempfile.mkdtemp(prefix=".unit-", dir=CHECKOUT))
    # In a cgroup that they share, two managers would see each other's processes.
    with cgroups(base.name) as groups:
        found = UserManager(base, groups)
        try:
            until(
                lambda: found.systemctl("is-system-running", check=False) in ("running", "degraded"),
                "the user manager runs",
            )
            yield found
        finally:
            found.close()
            shutil.rmtree(base)
