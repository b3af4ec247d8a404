"""Planted faults, each with what must be said of it."""
