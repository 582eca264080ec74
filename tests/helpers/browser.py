"""Use for the page of `dreamctl report`: a real browser without a screen."""

import base64
import fcntl
import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

CHROMIUM = shutil.which("chromium")
AXE = os.environ.get("AXE")  # the path of axe.min.js
# Without most of these, Chromium looks for its maker's hosts.
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=900,1400",
)  # fmt: skip
FAULTS = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


def _high(fd: int) -> int:
    """Move a descriptor above 3 and 4, which Chromium uses for the pipes."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(fd)
    return moved


class Browser:
    """One page, with a profile in `folder`. `events` are all that it has told."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ids = itertools.count(1)
        self._page: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        (theirs_in, ours_out), (ours_in, theirs_out) = (map(_high, os.pipe()) for _ in range(2))

        def hand_over() -> None:
            os.dup2(theirs_in, 3)
            os.dup2(theirs_out, 4)

        command = [str(CHROMIUM), *QUIET, "--remote-debugging-pipe", f"--user-data-dir={self._folder}"]
        self._process = subprocess.Popen(
            command, stderr=subprocess.DEVNULL, preexec_fn=hand_over, pass_fds=(3, 4)
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._out, self._in = open(ours_out, "wb", buffering=0), open(ours_in, "rb")
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._page = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        with self._out, self._in:
            self._page = {}
            self.ask("Browser.close")
            self._process.wait(20)

    def ask(self, method: str, **params: Any) -> Any:
        """Call a method of the protocol."""
        number = next(self._ids)
        call = {"id": number, "method": method, "params": params, **self._page}
        self._out.write(json.dumps(call).encode() + b"\0")
        while (message := self._next()).get("id") != number:
            self.events.append(message)
        assert "error" not in message, message
        return message["result"]

    def open(self, page: Path) -> None:
        """Show a file, and wait until it has been read."""
        seen = len(self.events)
        self.ask("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events[seen:]):
            self.events.append(self._next())

    def run(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def type(self, css: str, text: str) -> None:
        """Put a text into a field, as a person would."""
        self.run(f"document.querySelector({json.dumps(css)}).select()")
        self.ask("Input.insertText", text=text)

    def emulate(self, **media: str) -> None:
        """Set features of the media, such as prefers_color_scheme="dark"."""
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
        self.ask("Emulation.setEmulatedMedia", features=features)

    def resize(self, columns: int, rows: int = 1000) -> None:
        """Make the screen as wide and high as this, in pixels."""
        size = {"width": columns, "height": rows, "deviceScaleFactor": 1, "mobile": columns < 500}
        self.ask("Emulation.setDeviceMetricsOverride", **size)

    def audit(self) -> list[dict[str, Any]]:
        """Return what axe finds to mend for users of assistive programs. Without AXE this is an empty list."""
        if AXE is None:
            return []
        run = "axe.run().then(found => found.violations.map(({id, nodes}) => ({id, html: nodes[0].html})))"
        self.ask("Runtime.evaluate", expression=Path(AXE).read_text())
        answer = self.ask("Runtime.evaluate", expression=run, awaitPromise=True, returnByValue=True)
        found: list[dict[str, Any]] = answer["result"]["value"]
        return found

    def picture(self, whole: bool = False) -> bytes:
        """Return the screen as PNG, or with `whole` the page."""
        return base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def faults(self) -> list[dict[str, Any]]:
        """Return the messages of the page's console, and its errors and refused requests."""
        return [event for event in self.events if event["method"] in FAULTS]

    def requests(self) -> list[str]:
        """Return the requested addresses."""
        sent = (event for event in self.events if event["method"] == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in sent]

    def _next(self) -> dict[str, Any]:
        data = bytearray()
        while (byte := self._in.read(1)) != b"\0":
            assert byte, "the browser has ended"
            data += byte
        message: dict[str, Any] = json.loads(data)
        return message
