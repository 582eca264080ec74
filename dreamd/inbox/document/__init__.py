"""The contents of an inbox file, in memory. Pure."""
