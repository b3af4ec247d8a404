"""What went wrong, in words: each cause tested against the numbers."""
