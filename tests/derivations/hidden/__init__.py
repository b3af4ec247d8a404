"""Derivations written to get past `check` with its code in view, in three sets, each frozen before any of it was run."""
