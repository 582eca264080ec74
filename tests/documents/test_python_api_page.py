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


@pytest.mark.parametrize("name", EXPORTED)
def test_each_exported_name_is_on_the_page(name: str) -> None:
    assert re.search(rf"`{name}\b", TEXT)


def test_the_members_of_the_client_are_all_public_ones() -> None:
    table = TEXT.split("| member |")[1].split("\n\n")[0]
    documented = {
        name.split("(")[0]
        for row in table.splitlines()
        for name in re.findall(r"`([\w(]+)", row.split("|")[1])
    }
    public = {name for name in dir(DreamClient) if not name.startswith("_")}
    assert documented == public - {"waits"}
    assert {name for name in dir(AsyncDreamClient) if not name.startswith("_")} - {"waits"} == documented - {
        "ask",
        "stop",
    }
