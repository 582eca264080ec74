"""`dreamd`, and `python -m dreamd`: parse the arguments and run the daemon."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from dreamclient import paths
from dreamclient.errors import HomeUnknown

import dreamd
from dreamd import settings
from dreamd.errors import SettingsError
from dreamd.process.exit_codes import ExitCode


def _given_path(text: str) -> str:
    """Return the path. Raise ArgumentTypeError for an empty one: an unset variable must not mean the default."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, not an empty text")
    return text


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of dreamd's arguments."""
    parser = argparse.ArgumentParser(
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon in the foreground, and return the exit code (docs/reference/errors.md)."""
    asked = make_parser().parse_args(argv)
    file = Path(asked.config) if asked.config else None
    try:
        state_dir = paths.state_dir(asked.state_dir)
        socket = paths.socket_path(asked.socket, state=asked.state_dir)
        from dreamd import app  # not imported for --help and --version

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
