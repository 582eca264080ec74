"""One file or folder a command, named as it is typed."""
