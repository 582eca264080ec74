"""The pictures of the README: there, of the right kind, and without anything from elsewhere."""

import re
import struct
from pathlib import Path
from xml.etree import ElementTree as ET

from rich.text import Text

from docs.pictures.write import draw, first_turn

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/pictures"
EVENTS = [
    {"type": "intro"},
    {"type": "reply", "prompt": "Are <you> & I awake?", "reply": "I was the water."},
    {"type": "decision", "dream": True, "reason": "dream", "novelty": 0.5, "gate": {"novelty_above": -1.0}},
    {"type": "line", "speaker": "leo", "text": "The rest of the river goes by."},
    {"type": "line", "speaker": "friend", "text": "Put it near the bread."},
    {"type": "friend", "fragments": 9, "moved": [{"text": "Say bread.", "before": None, "after": 0.3}]},
    {"type": "reply", "prompt": "A second one", "reply": "is not shown."},
]


def texts(svg: str) -> list[str]:
    return ["".join(line.itertext()) for line in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_the_readme_shows_both_pictures() -> None:
    shown = re.findall(r"!\[[^\]]+\]\(docs/pictures/([\w.]+)\)", (ROOT / "README.md").read_text())
    assert shown == ["demo.svg", "report.png"]
    png = (FOLDER / "report.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert min(struct.unpack(">II", png[16:24])) >= 800
    assert len(png) < 300_000


def test_the_picture_of_the_demo_needs_nothing_from_elsewhere() -> None:
    svg = (FOLDER / "demo.svg").read_text()
    assert re.findall(r"https?://[^\"' ]*", svg) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"@import|@font-face|url\(|<script|<image", svg)
    assert "prefers-color-scheme: dark" in svg
    said = texts(svg)
    assert said[0] == "$ dreamctl demo"
    assert any(line.startswith("friend  ") for line in said)


def test_draws_the_first_turn_in_its_colours() -> None:
    svg = draw(first_turn(EVENTS))
    said = texts(svg)
    assert "   you  Are <you> & I awake?" in said
    assert "friend  Put it near the bread." in said
    assert not any("second" in line for line in said)
    assert '"magenta">Put it near the bread.<' in svg
    assert '"bold green">I was the water.<' in svg
    assert '"cyan">The rest of the river goes by.<' in svg


def test_a_piece_has_the_width_of_its_characters() -> None:
    (piece,) = re.findall(r'textLength="([\d.]+)" class="">abcd<', draw(Text("abcd")))
    assert float(piece) == 33.7
