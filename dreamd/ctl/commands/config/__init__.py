"""`config`: the settings, where each comes from, and the file that holds them."""
