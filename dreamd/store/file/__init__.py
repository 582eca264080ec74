"""The database as a file: connecting, watching, and its kinds of trouble. Its contents are in the folder above."""
