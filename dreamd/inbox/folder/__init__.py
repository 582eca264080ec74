"""The files of the inbox: the folder, its lock, and what reads and changes it."""
