"""The states of the units in systemd's answer."""

from dreamd.ctl.machine import systemd_state
from dreamd.ctl.machine.systemd_state import UnitFacts


def test_asks_nothing_without_systemctl(tmp_path, monkeypatch):
    monkeypatch.setattr(systemd_state.shutil, "which", lambda _: None)
    assert systemd_state.look_at_units({"HOME": str(tmp_path)}) == UnitFacts()
