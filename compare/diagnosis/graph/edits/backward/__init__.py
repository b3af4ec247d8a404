"""Edits of the derivation: another rule for one of its steps."""
