"""Derivatives that books have in closed form, each recorded like a reference and edited in turn."""
