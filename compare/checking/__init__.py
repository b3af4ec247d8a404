"""`check`: one derivation against its torch twin, and the report."""
