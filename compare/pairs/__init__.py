"""Every manual thing beside its torch counterpart: the table of pairs, and each pair as a check."""
