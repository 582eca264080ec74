"""The two files of leo's folder that `dreamctl leo` changes: dream.py, and dream_original.py beside it.

leo feeds his modules' docstrings into his field at the first start, and remembers a fingerprint of them. If it
changes, he feeds himself everything again. So the new dream.py begins with the old one's bytes up to the end of its
docstring, and without dreamclient it imports all from the old one.
"""

import ast
import io
import os
import re
import shutil
import tokenize
import warnings
from dataclasses import dataclass
from pathlib import Path

from dreamd.ctl.machine.output_files import sync_folder

DREAM, ORIGINAL = "dream.py", "dream_original.py"
DROPIN = b"dreamclient.dropin"
IMPORT = """\
try:
    from dreamclient.dropin import *  # `dreamctl leo uninstall` brings back dream_original.py
except ImportError:  # no dreamclient in this environment: leo as he was
    from dream_original import *
"""


@dataclass(frozen=True)
class Plan:
    """The state of leo's folder, and what to do about it."""

    state: str  # leo's own | installed | hand-made | changed | in the way | unreadable | missing
    action: str  # install | uninstall | nothing | refuse
    message: str
    docstring: bool = True  # whether the original has one
    content: bytes = b""  # the new dream.py


class LeoFiles:
    """The files of one leo. `path`: his folder, or his dream.py."""

    def __init__(self, path: Path) -> None:
        self.folder = (path.parent if path.name == DREAM else path).absolute()
        self.dream = self.folder / DREAM
        self.original = self.folder / ORIGINAL

    def installing(self) -> Plan:
        """Return what `install` has to do."""
        found = self._look()
        match found.state:
            case "installed":
                return _with_action(found, "nothing", "dreamd is installed already")
            case "hand-made":
                return _with_action(
                    found, "nothing", f"{self.dream} imports dreamclient already, put there by hand"
                )
        return found

    def uninstalling(self) -> Plan:
        """Return what `uninstall` has to do."""
        found = self._look()
        match found.state:
            case "leo's own":
                return _with_action(found, "nothing", f"{self.dream} is leo's own; there is nothing to undo")
            case "installed":
                return _with_action(found, "uninstall", f"{ORIGINAL} becomes {DREAM} again")
            case "hand-made":
                return _with_action(
                    found, "refuse", f"there is no {ORIGINAL} to bring back; {DREAM} was made by hand"
                )
        return found

    def do(self, plan: Plan) -> None:
        """Carry out a plan. Whenever it is interrupted, a whole dream.py is there. Raise OSError."""
        if plan.action == "install":
            self._write(self.original, self.dream.read_bytes())
            self._write(self.dream, plan.content)
        elif plan.action == "uninstall":
            os.replace(self.original, self.dream)
        sync_folder(self.folder)

    def _look(self) -> Plan:
        if self.dream.is_symlink():
            return Plan("in the way", "refuse", f"{self.dream} is a link; give the folder that it leads to")
        try:
            now = self.dream.read_bytes()
            kept = self.original.read_bytes() if self.original.exists() else None
        except OSError as error:
            what = "missing" if isinstance(error, FileNotFoundError | NotADirectoryError) else "unreadable"
            return Plan(what, "refuse", f"no {DREAM} can be read in {self.folder}: {error.strerror}")
        if kept is None and now.endswith(IMPORT.encode()):
            message = f"{ORIGINAL}, which {DREAM} was made from, is gone; bring leo's own {DREAM} back, then install"
            return Plan("missing", "refuse", message, _docstring_of(now) is not None)
        if kept is None and DROPIN in now:
            return Plan("hand-made", "refuse", "", _docstring_of(now) is not None)
        try:
            content = render_dream_file(now if kept is None else kept)
            docstring = _docstring_of(content) is not None
        except (SyntaxError, ValueError) as error:
            bad = DREAM if kept is None else ORIGINAL
            return Plan("unreadable", "refuse", f"{bad} is no Python ({type(error).__name__}); mend it first")
        if kept is None or kept == now:  # the latter: an install that was cut short
            message = f"{DREAM} becomes {ORIGINAL}, a new {DREAM} takes its place"
            return Plan("leo's own", "install", message, docstring, content)
        if now == content:
            return Plan("installed", "nothing", "", docstring, content)
        if DROPIN in now:
            message = (
                f"{DREAM} was changed after it was installed; undo that, or move {ORIGINAL} over it yourself"
            )
            return Plan("changed", "refuse", message, docstring)
        message = f"{ORIGINAL} is there and is not what {DREAM} came from; move it away"
        return Plan("in the way", "refuse", message, docstring)

    def _write(self, path: Path, data: bytes) -> None:
        """Write `data` to `path` atomically, with the mode of dream.py, for the original with its times too."""
        part = path.with_name(f".{path.name}.part")
        try:
            with open(part, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            shutil.copymode(self.dream, part)
            if path == self.original:
                shutil.copystat(self.dream, part)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def render_dream_file(original: bytes) -> bytes:
    """Return the new dream.py for an old one: its bytes up to the end of its docstring, and the import. Raise
    SyntaxError, ValueError."""
    head = _docstring_head(original)
    new = head + (b"\n\n" if head else b"") + IMPORT.encode()
    if _docstring_of(new) != _docstring_of(original):
        raise ValueError("the docstring cannot be kept")
    return new


def _docstring_head(source: bytes) -> bytes:
    """Return the bytes up to the end of the docstring, empty if there is none."""
    tree = _parse_module(source)
    if ast.get_docstring(tree, clean=False) is None:
        return b""
    node = tree.body[0]
    assert node.end_lineno is not None
    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    # The syntax tree counts lines as Python does, and columns in bytes of UTF-8.
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", source.decode(encoding))
    last = lines[node.end_lineno - 1].encode()[: node.end_col_offset].decode()
    return "".join([*lines[: node.end_lineno - 1], last]).encode(encoding)


def _docstring_of(source: bytes) -> str | None:
    return ast.get_docstring(_parse_module(source), clean=False)


def _parse_module(source: bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # leo's docstring may hold an odd escape
        return ast.parse(source)


def _with_action(plan: Plan, action: str, message: str) -> Plan:
    return Plan(plan.state, action, message, plan.docstring)
