"""The type of the whole numbers that options take."""

import click


class Count(click.IntRange):
    """A whole number, from `min` to `max` if these are given."""

    name = "number"  # in the help, and in click's message for a word that is none

    def _describe_range(self) -> str:
        """Return the range in words, as click puts it behind `in the range`."""
        least, most = self.min or 0, self.max
        return f"{least} or more" if most is None else f"{least} to {most}"
