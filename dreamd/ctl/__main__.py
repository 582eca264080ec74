"""dreamctl: the options that all commands share, and the table of commands."""

import os
import sys
from importlib import import_module
from typing import Any, cast

import click
from dreamclient.errors import HomeUnknown

from dreamd import __version__
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.terminal.ascii import prepare_streams
from dreamd.ctl.terminal.layout import terminal_columns
from dreamd.ctl.terminal.output import prepare_error
from dreamd.ctl.terminal.summaries import Summarized

# The commands under their headings of `--help`. Each is a file or a folder of commands/. One that is not asked for is
# not imported: `status` must answer fast.
HEADINGS = {
    "Health and activity": "status doctor why watch",
    "Dreams": "recent show diary search whence effect replay dream undream pause resume",
    "The friend": "friend drift",
    "Details": "report stats inbox trace call host",
    "Setup and maintenance": "service config backup restore export forget prune leo completions demo",
}
COMMANDS = " ".join(HEADINGS.values()).split()


class NoPath(click.ClickException):
    """No path can be derived, because there is no home folder."""

    exit_code = 2


class Commands(Summarized):
    """The commands, each imported when it is used."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Make a context as wide as the terminal. click's own least width is 50."""
        return super().make_context(*args, terminal_width=min(terminal_columns(), 80) - 2, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Ctrl-C ends it without a message."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise SystemExit(1) from None
        except (click.ClickException, HomeUnknown, OSError) as error:
            if isinstance(error, OSError) and error.filename is None:  # writing to standard output failed
                raise
            told = _as_click_error(error)
            prepare_error(told)
            raise told from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was named, or fail with those of a similar name."""
        if args[0] not in COMMANDS:
            from difflib import get_close_matches  # needed after a slip alone

            if near := " or ".join(f"`{one}`" for one in get_close_matches(args[0], COMMANDS, 2)):
                ctx.fail(f"There is no command {args[0]!r}. Did you mean {near}?")
        return super().resolve_command(ctx, args)

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return COMMANDS

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        home = import_module(f"dreamd.ctl.commands.{cmd_name}")
        if hasattr(home, "__path__"):
            home = import_module(f"{home.__name__}.command")
        command: click.Command = getattr(home, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under their headings."""
        for heading, names in HEADINGS.items():
            with formatter.section(heading):
                formatter.write_dl(self.summaries(ctx, names.split()))


def _as_click_error(error: Exception) -> click.ClickException:
    if isinstance(error, OSError):
        from dreamd.ctl.machine.access import explain_os_error  # needed after a failure alone

        return click.ClickException(explain_os_error(error))
    return NoPath(str(error)) if isinstance(error, HomeUnknown) else cast(click.ClickException, error)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--socket", metavar="PATH", help="Where the daemon listens.  [env: DREAMD_SOCKET]")
@click.option("--state-dir", metavar="DIR", help="The daemon's state folder.  [env: DREAMD_STATE_DIR]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON. Each command takes this too.")
@click.version_option(__version__, prog_name="dreamctl")
@click.pass_context
def cli(context: click.Context, socket: str | None, state_dir: str | None, as_json: bool) -> None:
    """Look inside dreamd, the daemon in which leo dreams.

    \b
    dreamctl demo      see all of it at work, with a small organism to dream
    dreamctl status    is the daemon well, and who is connected?
    dreamctl why       did he dream after the last replies, and if not, why not?

    Exit codes: 0 ok, 1 a problem was found, 2 wrong usage, 3 no daemon answers, 4 the daemon refused.
    """
    if "" in (socket, state_dir):  # a variable that was not set must not mean the default
        raise click.UsageError("--socket and --state-dir expect a path, not an empty text")
    context.obj = Target(socket, state_dir, as_json)
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        context.color = False


def main() -> None:
    """Run the command `dreamctl`."""
    prepare_streams()
    if "_DREAMCTL_COMPLETE" in os.environ:
        import_module("dreamd.ctl.commands.completions")  # registers how bash passes its words
    try:
        try:
            cli(prog_name="dreamctl")
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is not None:
            from dreamd.ctl.machine.access import explain_os_error  # needed after a failure alone

            raise SystemExit(f"dreamctl: {explain_os_error(error)}") from None
        if isinstance(error, FileNotFoundError):  # of os.getcwd; no write fails so
            raise SystemExit(
                "dreamctl: the current folder is not there any more; go to one that is"
            ) from None
        # Without a file name, writing to stdout failed. At its end Python would try once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        click.echo(f"dreamctl: what it prints cannot be written: {error.strerror}", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
