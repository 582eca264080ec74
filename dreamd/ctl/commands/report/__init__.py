"""`report`: one HTML page."""
