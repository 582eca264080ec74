"""A client that knows nothing of dreamd and is not ours: pynvim's MessagePack-RPC session, as it is published."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.daemons.process import DaemonProcess

PEER = Path(__file__).parent.parent / "helpers" / "pynvim_leo.py"
PYNVIM = "pynvim==0.6.0"
INSTALL_S = 60.0  # it takes 3 s; beyond that the registry is as good as not there


@pytest.fixture(scope="module")
def python_with_pynvim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python of an environment of its own."""
    home = tmp_path_factory.mktemp("pynvim")
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--retries=0"]
    for command in (
        [sys.executable, "-m", "venv", "--without-pip", str(home)],
        [*pip, "--timeout=5", "--no-input", "--only-binary=:all:", "--disable-pip-version-check", PYNVIM],
    ):
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_S)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            pytest.skip(
                f"{PYNVIM} cannot be installed: {' '.join(command[:4])} .. failed ({type(error).__name__})"
            )
    return python


def test_a_pynvim_session_serves_the_hooks_and_dreams(tmp_path: Path, python_with_pynvim: Path) -> None:
    with DaemonProcess(tmp_path / "s") as daemon:
        command = [python_with_pynvim, PEER, daemon.socket]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert (ran.returncode, ran.stderr) == (0, "")
        found = json.loads(ran.stdout)
        assert found["dream"]["outcome"] == "complete"
        assert found["dream"]["lines"] in (3, 4)
        assert found["turns"] == found["heard"]
        assert set(found["turns"]) <= set(found["said"])
        assert found["told"][0] == ["event", "decision"]
        assert ["event", "dialog.finished"] in found["told"]
        assert found["refused"].startswith("no such method")
        # It notifies `nvim_set_client_info` when it connects. For one method that there is not it asked, and was told.
        assert found["failures"] == {"unknown method: UNKNOWN_METHOD": 1}
