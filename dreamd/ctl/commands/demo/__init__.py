"""Someone to dream with: a small real trigram field, and the text that it is fed with.

Nothing here knows the daemon; `command.py` brings the two together.
"""
