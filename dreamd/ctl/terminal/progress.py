"""A bar that shows how far a copy is."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dreamd.ctl.terminal.ascii import Plain
from dreamd.store.file.files import Tell


@contextmanager
def progress_bar(label: str) -> Iterator[Tell | None]:
    """Show a progress bar on a terminal. Yield the function to call after each step, or None without a terminal."""
    if not sys.stderr.isatty() or isinstance(sys.stderr, Plain):
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=None)
        yield lambda left, of: progress.update(task, total=of, completed=of - left)
