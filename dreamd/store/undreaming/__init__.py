"""Dialogues that are taken back out of the field that they were fed to: which may be, and each step of it."""
