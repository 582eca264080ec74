"""Use for upgrades: the state folders and settings that earlier versions left, in tests/data."""

import tarfile
from pathlib import Path

DATA = Path(__file__).parents[1] / "data" / "state_0_1"
CONFIG = DATA / "config.toml"
OPEN, CUT_SHORT, LAST = 15, 13, 14  # dialogues: open, closed by the next start, and the last complete one
OUTCOMES = {"complete": 8, "empty": 1, "imported": 4, "interrupted": 1}
ORIGIN = {
    "I am a small organism. I speak from the field.",
    "A boat waits behind the garden.",
    "Leo listens.",
}


def unpack(folder: Path, name: str = DATA.name) -> Path:
    """Unpack a state folder into `folder`; return its path."""
    with tarfile.open(DATA.with_name(name) / "state.tar.xz") as archive:
        if hasattr(tarfile, "data_filter"):  # from Python 3.11.4 on
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder)
    return folder / "state"
