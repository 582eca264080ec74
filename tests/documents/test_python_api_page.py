"""Check that docs/reference/python-api.md names what the public modules export, and no member that is not there."""

import re
from pathlib import Path

import dreamclient
import dreamclient.leo
import pytest
from dreamclient import AsyncDreamClient, DreamClient

import dreamd.inbox

TEXT = (Path(__file__).parents[2] / "docs/reference/python-api.md").read_text()
EXPORTED = sorted({*dreamclient.__all__, *dreamclient.leo.__all__, *dreamd.inbox.__all__})
ONLY_WITH_A_THREAD = {"stop"}


def public(kind: type) -> set[str]:
    """Return the public members, without the one that marks a client that waits: the drop-in's alone."""
    return {name for name in dir(kind) if not name.startswith("_")} - {"waits"}


@pytest.mark.parametrize("name", EXPORTED)
def test_each_exported_name_is_on_the_page(name: str) -> None:
    assert re.search(rf"`{name}\b", TEXT)


def test_the_members_of_the_clients_are_all_public_ones() -> None:
    table = TEXT.split("| member |")[1].split("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    documented = {name for cell in cells for name in re.findall(r"`(\w+)", cell)}
    assert documented == public(DreamClient)
    assert public(AsyncDreamClient) in (documented, documented - ONLY_WITH_A_THREAD)
