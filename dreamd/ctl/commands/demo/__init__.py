"""`demo`: a small organism replies, and then dreams through a real daemon."""
