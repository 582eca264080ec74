"""The installation of dreamd: which packages hold its files, and where pip can get more of them."""

import json
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from dreamd import __version__

CLIENT = "dreamd-client"
_SHARED = "dreamclient/__init__.py"


def client_is_doubled() -> bool:
    """Return whether dreamd and dreamd-client both installed the files of dreamclient. Removing or upgrading one then
    breaks the other. An editable installation has no files of its own."""
    return all(map(_holds_client, ("dreamd", CLIENT)))


def _holds_client(name: str) -> bool:
    try:
        return _SHARED in map(str, metadata.files(name) or ())
    except metadata.PackageNotFoundError:
        return False


def requirement_of(name: str) -> str:
    """Return the pip requirement of the package `name`, dreamd or dreamd-client: the place that this dreamd came from,
    or else the name, which pip looks up in its index."""
    try:
        origin = json.loads(metadata.distribution("dreamd").read_text("direct_url.json") or "{}")
        return _place_of(origin, name) or name
    except (metadata.PackageNotFoundError, ValueError, KeyError):
        return name


def _place_of(origin: dict[str, Any], name: str) -> str:
    """Return the place of a package by the direct_url.json of dreamd, empty if it is not known."""
    if "vcs_info" in origin:
        told = origin["vcs_info"]
        part = "#subdirectory=client" if name == CLIENT else ""
        return f"{told['vcs']}+{origin['url']}@{told['commit_id']}{part}"
    path = Path(unquote(urlsplit(origin.get("url", "")).path))
    if "dir_info" in origin:
        place = path / "client" if name == CLIENT else path
    else:
        wheels = path.parent.glob(f"{name.replace('-', '_')}-{__version__}-*.whl")
        place = next(wheels, Path())
    return str(place) if place.is_absolute() and place.exists() else ""
