"""Derivations written to get past `check` with its code in view; each set was frozen before any of it was run."""
