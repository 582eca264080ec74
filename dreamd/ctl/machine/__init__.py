"""Facts of this machine, without judgement: sockets, folders, locks, unit files."""
