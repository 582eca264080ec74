"""`friend`: show and change what the imaginary friend is made of."""
