"""`leo`: dreamd in place of leo's own dream.py, and back."""
