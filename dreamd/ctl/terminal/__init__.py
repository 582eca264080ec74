"""How text looks on a terminal. Values in, lines out."""
