"""`stats`: print sums over all dreams."""
