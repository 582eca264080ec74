"""A stand-in for leo: a small real trigram field, and the text that it is fed with. Nothing here knows the daemon."""
