"""`config`: show, change and check the settings."""
