"""The reference written down: its operations, their formulas, and how it is run again."""
