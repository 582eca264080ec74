"""`dreamd`, and `python -m dreamd`: parse the arguments and run the daemon."""

import gc
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dreamclient import paths
from dreamclient.errors import HomeUnknown

import dreamd
from dreamd.errors import SettingsError
from dreamd.process.exit_codes import ExitCode

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Arguments:
    """The arguments of `dreamd`, under the names that argparse gives them."""

    def __init__(self) -> None:
        self.state_dir: str | None = None
        self.socket: str | None = None
        self.config: str | None = None
        self.set: list[str] = []


def _given_path(text: str) -> str:
    """Return the path. Raise ArgumentTypeError for an empty one: an unset variable must not mean the default."""
    from argparse import ArgumentTypeError

    if not text:
        raise ArgumentTypeError("expected a path, not an empty text")
    return text


def make_parser() -> "ArgumentParser":
    """Return the parser of dreamd's arguments."""
    from argparse import ArgumentParser

    parser = ArgumentParser(
        prog="dreamd",
        description="The daemon in which leo dreams. It serves one user's leo over a Unix socket, in the foreground.",
        epilog="Exit codes: 0 stopped in order, 1 unexpected, 2 wrong usage or a wrong setting, 3 another daemon "
        "serves this state folder or listens at this socket, 4 the state folder cannot be used, 5 no socket can be "
        "made there, 6 the database is of a newer version, not dreamd's, or open in another dreamd, 7 the database, "
        "its log or the state folder was replaced, removed or damaged while it served, 130 Ctrl-C while it started.",
    )
    parser.add_argument(
        "--state-dir",
        metavar="D",
        type=_given_path,
        help="database, inbox and lock (default: the XDG state home)",
    )
    parser.add_argument(
        "--socket", metavar="S", type=_given_path, help="the Unix socket (default: in the runtime folder)"
    )
    parser.add_argument("--config", metavar="FILE", help="settings in TOML")
    parser.add_argument(
        "--set", metavar="NAME=VALUE", action="append", default=[], help="one setting, as in gate.chance=1"
    )
    parser.add_argument("--version", action="version", version=f"dreamd {dreamd.__version__}")
    return parser


def _print_warning(text: str) -> None:
    print(f"dreamd: {text}", file=sys.stderr)


def read_arguments(words: Sequence[str]) -> Arguments:
    """Return the arguments. Print help, the version or what is wrong, and raise SystemExit."""
    given = Arguments()
    if _take_pairs(given, words):
        return given
    return make_parser().parse_args(words, Arguments())


def _take_pairs(given: Arguments, words: Sequence[str]) -> bool:
    """Take arguments that are nothing but pairs such as `--config FILE`, as a service gives them. Return whether they
    are. argparse reads all others: to import it takes a twentieth of a start."""
    left = iter(words)
    for name in left:
        value = next(left, "")
        if not value or value.startswith("-"):
            return False
        if name == "--set":
            given.set.append(value)
        elif name in ("--state-dir", "--socket", "--config"):
            setattr(given, name[2:].replace("-", "_"), value)
        else:
            return False
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon in the foreground, and return the exit code (docs/reference/errors.md)."""
    asked = read_arguments(sys.argv[1:] if argv is None else argv)
    gc.disable()  # what a start makes stays, and to look through it again and again takes a tenth of the start
    try:
        return _run(asked)
    finally:
        gc.enable()  # `app.run` enables it as soon as the daemon serves


def _run(asked: Arguments) -> int:
    file = Path(asked.config) if asked.config else None
    try:
        state_dir = paths.state_dir(asked.state_dir)
        socket = paths.socket_path(asked.socket, state=asked.state_dir)
        from dreamd import app, settings  # not imported for --help and --version

        load = partial(settings.load_settings, file=file, assignments=asked.set, warn=_print_warning)
        return app.run(load, state_dir, socket)
    except SettingsError as error:
        print(f"dreamd: {error}", file=sys.stderr)
        return ExitCode.USAGE
    except HomeUnknown as error:
        print(f"dreamd: the state folder is not known: {error}", file=sys.stderr)
        return ExitCode.STATE
    except KeyboardInterrupt:  # only while it starts: later Ctrl-C stops it in order
        return ExitCode.INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
