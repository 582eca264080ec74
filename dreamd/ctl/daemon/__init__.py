"""A daemon, as dreamctl uses it: connecting to one, starting one, following its events."""
