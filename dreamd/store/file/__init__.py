"""The database as a file: connecting, watching, and what can be wrong with it. What it holds is in the folder above."""
