"""Private conversations: of what a host says in a `private` block, the client sends nothing but the number of replies.

The block holds for the thread or the asyncio task that it is in, for the tasks that it starts and for
`asyncio.to_thread`, and for every client there. It does not hold for a thread that it starts in another way.
"""

from contextvars import ContextVar

_depth: ContextVar[int] = ContextVar("dreamd_private", default=0)


class Private:
    """A block in which a conversation is private. Blocks nest, and one object may be entered anywhere and again."""

    def __enter__(self) -> None:
        _depth.set(_depth.get() + 1)

    def __exit__(self, *_: object) -> None:
        _depth.set(max(0, _depth.get() - 1))


def private() -> Private:
    """Keep what is said in a `with` block out of all dreams. It stays in leo's own field."""
    return Private()


# () -> how many such blocks this thread, or task, is in. The reply path asks it, so it is no function of its own.
is_private = _depth.get
