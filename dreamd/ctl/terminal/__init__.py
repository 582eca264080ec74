"""The look of text on a terminal. Values in, lines out."""
