"""The reference taken apart into its operations, and what a derivation can do wrong at each."""
