"""The pictures of the README, made of a real run of `dreamctl demo`: demo.svg, and report.png by a Chromium.

`make pictures` writes them to docs/pictures/. Each run has other dreams.
"""

import json
import subprocess
import sys
import tempfile
from html import escape
from io import StringIO
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.text import Text

from dreamd.ctl.commands.demo.command import PROMPTS
from dreamd.ctl.commands.demo.stage import Event, Stage
from tests.helpers.browser import CHROMIUM, Browser

FOLDER = Path(__file__).parent
MORE = (  # said after the demo's own prompts, so that the report has something to show
    "What is behind the door?", "Who waits near the light?", "Do you know the rain?", "Where does the thread go?",
)  # fmt: skip
COLUMNS = 84
LINE, CELL, EDGE = 19, 8.43, 22  # pixels: height of a line, width of a character at 14 px, margin
REPORT_SIZE = (900, 1000)  # pixels

# The frame is light or dark as the reader's system is. Contrast with the paper is 4.5 or more in both.
SCHEMES = """
.paper { fill: #fbfaf7; stroke: #d9d5cc; } text { fill: #1c1b22; white-space: pre; }
.dim { fill: #5d5a67; } .green { fill: #2f6b37; } .cyan { fill: #0f6674; } .magenta { fill: #8a3f8f; }
.bold { font-weight: 700; }
@media (prefers-color-scheme: dark) {
  .paper { fill: #16151b; stroke: #35333d; } text { fill: #e6e3dc; }
  .dim { fill: #a9a5b2; } .green { fill: #8fc79a; } .cyan { fill: #7fc5d2; } .magenta { fill: #d9a3e0; }
}
"""
# Of the styles that a terminal is sent: bold, dim, and colours by number.
CLASSES = {"bold": "bold", "dim": "dim", "color(2)": "green", "color(6)": "cyan", "color(5)": "magenta"}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        events = dream(state)
        (FOLDER / "demo.svg").write_text(draw(first_turn(events)), encoding="utf-8")
        print(FOLDER / "demo.svg")
        if CHROMIUM is None:
            sys.exit("report.png needs Chromium, and there is none in the PATH: the earlier picture stays.")
        page = Path(folder) / "page.html"
        dreamctl(state, "report", "--out", page)
        (FOLDER / "report.png").write_bytes(photograph(page, Path(folder) / "profile"))
        print(FOLDER / "report.png")


def dreamctl(state: Path, *arguments: object, said: str | None = None) -> str:
    """Return what dreamctl prints, given `said` through a pipe."""
    command = [sys.executable, "-m", "dreamd.ctl", "--state-dir", str(state), *map(str, arguments)]
    return subprocess.run(command, input=said, check=True, stdout=subprocess.PIPE, text=True).stdout


def dream(state: Path) -> list[Event]:
    """Let the demo dream, and return its events."""
    said = "".join(f"{prompt}\n" for prompt in (*PROMPTS, *MORE))
    return [json.loads(line) for line in dreamctl(state, "demo", "--json", said=said).splitlines()]


def first_turn(events: list[Event]) -> Text:
    """Return the first turn as the demo shows it on a terminal."""
    console = Console(
        file=StringIO(), width=COLUMNS, height=100, highlight=False, force_terminal=True, color_system="standard"
    )  # fmt: skip
    stage = Stage(console, typed=False)
    for event in events[1 : [event["type"] for event in events].index("friend") + 1]:
        stage.show(event)
    assert isinstance(console.file, StringIO)
    return Text.from_ansi(console.file.getvalue().strip("\n"))


def draw(text: Text) -> str:
    """Return a text as SVG, in a frame. It names only fonts that are installed anyway."""
    lines = [Text("$ dreamctl demo", "bold"), *text.split("\n")]
    width, height = COLUMNS * CELL + 2 * EDGE, len(lines) * LINE + 2 * EDGE
    drawn = "".join(
        f'<text x="{EDGE}" y="{EDGE + LINE * number + 14}">{_spans(line)}</text>\n'
        for number, line in enumerate(lines)
        if line.plain.strip()
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" '
        f'height="{height}" role="img" aria-label="A turn of dreamctl demo: a reply, a dream, and its traces"\n'
        'font-family="ui-monospace, \'DejaVu Sans Mono\', Menlo, Consolas, monospace" font-size="14">\n'
        f'<style>{SCHEMES}</style>\n<rect class="paper" x=".5" y=".5" width="{width - 1:.0f}" height="{height - 1}" '
        f'rx="10"/>\n{drawn}</svg>\n'
    )


def _spans(line: Text) -> str:
    """Return a line with its colours, each piece in a place of its own, so that columns stay aligned in any font."""
    edges = sorted({0, len(line.plain), *(edge for span in line.spans for edge in (span.start, span.end))})
    pieces = []
    for start, end in pairwise(edges):
        styles = [str(span.style) for span in line.spans if span.start <= start < span.end] or [
            str(line.style)
        ]
        names = [name for style, name in CLASSES.items() if style in " ".join(styles)]
        place = f'x="{EDGE + start * CELL:.1f}" textLength="{(end - start) * CELL:.1f}"'
        pieces.append(f'<tspan {place} class="{" ".join(names)}">{escape(line.plain[start:end])}</tspan>')
    return "".join(pieces)


def photograph(page: Path, profile: Path) -> bytes:
    """Return the top of the report as PNG."""
    with Browser(profile) as browser:
        browser.resize(*REPORT_SIZE)
        browser.open(page)
        browser.run("document.documentElement.style.overflow = 'hidden'")
        return browser.picture()


if __name__ == "__main__":
    main()
