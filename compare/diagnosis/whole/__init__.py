"""Hypotheses about a result as a whole, for which the reference need not be taken apart."""
