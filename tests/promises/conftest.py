"""Files of the inbox that are full after a few shards."""

import pytest

from dreamd.inbox.folder import writing
from tests.helpers.inbox_scenes import FILE_BYTES


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MOST_FILE_BYTES", FILE_BYTES)
