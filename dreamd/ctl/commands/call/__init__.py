"""`call`: call any method of the daemon."""
