"""What is found of wrong derivations, and what is said of right ones."""
