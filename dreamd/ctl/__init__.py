"""dreamctl: look inside the daemon.

It talks to the daemon only over the wire. Each `show` function turns an answer into text and has no side effect.
"""


def main() -> None:
    """Run the command `dreamctl`. Ctrl-C ends it without a message while its modules are imported, too."""
    try:
        from dreamd.ctl.__main__ import main as run
    except KeyboardInterrupt:
        raise SystemExit(1) from None
    run()
