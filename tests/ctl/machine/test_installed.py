"""The place of dreamd's packages, by the direct_url.json that pip, pipx and uv leave."""

import json
from importlib import metadata

import pytest

from dreamd import __version__
from dreamd.ctl.machine.installed import requirement_of


@pytest.fixture
def came_from(monkeypatch):
    def came_from(**origin):
        text = json.dumps(origin) if origin else None
        monkeypatch.setattr(metadata.PathDistribution, "read_text", lambda self, name: text)

    return came_from


def test_a_git_address_gives_both_packages_of_that_commit(came_from):
    came_from(url="https://git.example/dreamd", vcs_info={"vcs": "git", "commit_id": "abc"})
    assert requirement_of("dreamd") == "git+https://git.example/dreamd@abc"
    assert requirement_of("dreamd-client") == "git+https://git.example/dreamd@abc#subdirectory=client"


def test_a_checkout_gives_its_two_folders(came_from, tmp_path):
    checkout = tmp_path / "a checkout"
    (checkout / "client").mkdir(parents=True)
    came_from(url=checkout.as_uri(), dir_info={"editable": True})
    assert requirement_of("dreamd") == str(checkout)
    assert requirement_of("dreamd-client") == str(checkout / "client")


def test_finds_the_wheel_beside_an_installed_one(came_from, tmp_path):
    came_from(url=(tmp_path / f"dreamd-{__version__}-py3-none-any.whl").as_uri(), archive_info={})
    client = tmp_path / f"dreamd_client-{__version__}-py3-none-any.whl"
    assert requirement_of("dreamd-client") == "dreamd-client"
    client.touch()
    assert requirement_of("dreamd-client") == str(client)


@pytest.mark.parametrize(
    "origin", [{}, {"url": "https://index.example/dreamd-0.1.0.whl", "archive_info": {}}]
)
def test_without_a_place_the_package_is_named(came_from, origin):
    came_from(**origin)
    assert requirement_of("dreamd-client") == "dreamd-client"


def test_a_checkout_that_is_gone_is_not_named(came_from, tmp_path):
    came_from(url=(tmp_path / "gone").as_uri(), dir_info={})
    assert requirement_of("dreamd-client") == "dreamd-client"
