"""The lessons in `examples/lessons`: the command that runs them, and the little that they share."""
