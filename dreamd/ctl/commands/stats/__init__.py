"""`stats`: sums since the beginning."""
