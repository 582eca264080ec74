"""A leo that dreams: `attach(field)` gives a field as found its hooks, and tells the daemon of his replies."""

from dreamclient.leo.attachment import Attachment, attach
from dreamclient.leo.diet import Diet

__all__ = ["Attachment", "Diet", "attach"]
