"""`check`: one derivation against its torch reference, and the report."""
