"""The dream database. `Store` is the front; schema.py says what is kept, writes.py and reads.py
what is done with it; the rest is about the file: opening it, trouble with it, importing leo's."""

from dreamd.store.records import Finish, Memory, NewDialog, OpenDialog, StoredDialog
from dreamd.store.store import Store

__all__ = ["Finish", "Memory", "NewDialog", "OpenDialog", "Store", "StoredDialog"]
