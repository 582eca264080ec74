"""`leo`: put dreamd in place of leo's own dream.py, and take it out again."""
