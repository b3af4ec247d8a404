"""How long a check, a judged step and a training step take."""
