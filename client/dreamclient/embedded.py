"""The public name of `dreamclient.clients.embedded`: a daemon in this process."""

from dreamclient.clients.embedded import EmbeddedDaemon

__all__ = ["EmbeddedDaemon"]
