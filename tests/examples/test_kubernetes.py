"""The pod of examples/kubernetes: valid, and a daemon that serves a client of another pid namespace."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.daemons.process import DaemonProcess

POD = Path(__file__).parents[2] / "examples" / "kubernetes" / "pod.yaml"
ALONE = (
    "unshare",
    "--user",
    "--map-current-user",
    "--pid",
    "--fork",
)  # a child sees no pid of ours, nor we its own


def documents() -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml", reason="no PyYAML here: pip install kubernetes-validate")
    return list(yaml.safe_load_all(POD.read_text()))


def test_the_pod_is_valid_for_kubernetes() -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    for document in documents():
        validate.validate(document, "1.31", strict=True)


def test_both_containers_find_one_socket_and_are_one_user() -> None:
    _, pod = documents()
    daemon, leo = pod["spec"]["containers"]
    assert daemon["env"] == leo["env"]
    places = {each["name"]: each["value"] for each in daemon["env"]}
    assert daemon["command"] == [
        "dreamd", "--socket", places["DREAMD_SOCKET"], "--state-dir", places["DREAMD_STATE_DIR"],
    ]  # fmt: skip
    shared = next(each["mountPath"] for each in leo["volumeMounts"] if each["name"] == "socket")
    assert Path(places["DREAMD_SOCKET"]).parent.parent == Path(shared)
    assert pod["spec"]["securityContext"]["runAsUser"] == 1000
    assert not any("runAsUser" in each["securityContext"] for each in (daemon, leo))


def test_p9_serves_the_owner_from_a_container_whose_pids_the_kernel_hides(tmp_path: Path) -> None:
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no pid namespace can be made here")
    with DaemonProcess(tmp_path / "state") as daemon:
        asked = [sys.executable, "-m", "dreamd.ctl", "--socket", str(daemon.socket), "status", "--json"]
        said = subprocess.run([*ALONE, *asked], capture_output=True, text=True, check=False, timeout=60)
        assert (said.returncode, said.stderr) == (0, "")
    with DaemonProcess(tmp_path / "other") as daemon:  # the daemon's own pid is unknown to dreamctl
        asked = [sys.executable, "-m", "dreamd.ctl", "--state-dir", str(daemon.state_dir), "doctor", "--json"]
        said = subprocess.run([*ALONE, *asked], capture_output=True, text=True, check=False, timeout=60)
        assert '"text": "well' in said.stdout
