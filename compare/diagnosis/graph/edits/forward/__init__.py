"""Edits of the reference: the right gradient of another function."""
