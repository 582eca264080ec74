"""Masking of secrets and personal data. Pure."""
