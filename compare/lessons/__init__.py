"""The lessons in `examples/lessons`: the command that runs them, and what they draw with."""
