"""One run: its description, both trainers in lockstep, and what it leaves behind."""
