"""dreamctl: look inside the daemon.

It talks to the daemon only over the wire. Each `show` function turns an answer into text and has no side effect.
"""
