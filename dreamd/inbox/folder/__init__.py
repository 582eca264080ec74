"""The files of the inbox: the folder, its lock, reading and writing."""
