"""The types of the numbers that options take."""

from typing import Any

import click


class Count(click.IntRange):
    """A whole number, from `min` to `max` if these are given."""

    name = "number"  # in the help, and in click's message for a word that is none

    def _describe_range(self) -> str:
        """Return the range in words, as click puts it behind `in the range`."""
        least, most = self.min or 0, self.max
        return f"{least} or more" if most is None else f"{least} to {most}"


class Seconds(click.FloatRange):
    """Seconds, above 0 and at most `most`."""

    name = "seconds"

    def __init__(self, most: float) -> None:
        super().__init__(0, most, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the seconds that were typed. click's own ranges contain NaN."""
        try:
            seconds = float(value)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= (self.max or 0):
            self.fail(f"expected seconds {self._describe_range()}", param, ctx)
        return seconds

    def _describe_range(self) -> str:
        return f"above 0, at most {self.max:g}"
