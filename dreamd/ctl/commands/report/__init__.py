"""`report`: write one HTML page."""
