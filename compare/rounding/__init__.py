"""Arrays that carry a bound on their own rounding error."""
