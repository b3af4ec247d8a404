"""Two sides of one stage beside each other: what rounding explains, and what it does not."""
