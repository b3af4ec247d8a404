"""Checkpoints: a run that is killed, or whose disk is full, goes on where it was, and ends with the same bytes."""
