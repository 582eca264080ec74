"""dreamd: the daemon in which leo dreams.

`app.run` starts it. `dream/` is the dream itself, `engine/` runs it, `store/` and `inbox/` keep it, `wire/` carries it.
"""

from dreamclient import __version__ as __version__

__date__ = "2026-11-30"  # the release date of this version, shown in the manual pages
