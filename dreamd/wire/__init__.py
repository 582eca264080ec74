"""The socket: `server` listens and admits, `session` is one connection, `handlers` answers each method.

Only `handlers` knows what a dream is.
"""
