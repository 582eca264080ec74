"""Reaching a daemon: connecting, starting one, following its events."""
