"""dreamctl: looking inside the daemon. One file a command group.

It talks to the daemon over the wire only; each `show` makes text of an answer and touches nothing.
"""
