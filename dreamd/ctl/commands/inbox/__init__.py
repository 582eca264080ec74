"""`inbox`: read and write the dream inbox in its folder, with or without a daemon."""
