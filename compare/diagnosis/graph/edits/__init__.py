"""What people get wrong, one file per kind of operation: steps of the derivation (backward), operations (forward)."""
