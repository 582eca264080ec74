"""A group of commands whose `--help` has whole summaries."""

import click

MOST_CHARS = 100  # more than any has: a summary is folded, not cut off


class Summarized(click.Group):
    """A group of commands. click cuts their summaries off at the width of the terminal, these are folded."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, each with its whole summary."""
        names = self.list_commands(ctx)
        with formatter.section("Commands"):
            formatter.write_dl(self.summaries(ctx, names))

    def summaries(self, ctx: click.Context, names: list[str]) -> list[tuple[str, str]]:
        """Return these commands with their summaries."""
        found = ((name, self.get_command(ctx, name)) for name in names)
        return [(name, command.get_short_help_str(MOST_CHARS)) for name, command in found if command]
