"""Whether dreams help, on the page: the answer of `dreamctl effect`."""

from collections.abc import Mapping
from typing import Any

from dreamd.ctl.commands.report.charts import escape_text, html_table
from dreamd.ctl.terminal.effect import HEAD, about_the_trial, effect_in_words, effect_rows

_HEADING = "<h2>Do his dreams help?</h2>"


def effect_section(effect: Mapping[str, Any] | None, now: float) -> str:
    """Return the answer, the table and how it was found as HTML. None: the database could not be read."""
    if effect is None:
        return f"{_HEADING}<p>The replies that were compared could not be read.</p>"
    table = html_table(HEAD, effect_rows(effect), "The replies after a dream and without one")
    about = " ".join(about_the_trial(effect, now))
    return "".join(
        [
            f"{_HEADING}<p>{escape_text(effect_in_words(effect))}</p>",
            table if effect["enough"] else "",
            f"<p><small>{escape_text(about)}</small></p>" if about else "",
        ]
    )
