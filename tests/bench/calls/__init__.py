"""The systems that are compared in a hook call: one file each, run as a program with `serve` or with `call`."""
