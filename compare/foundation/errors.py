"""What a person is told instead of a result. Importing this costs nothing."""


class UsageError(ValueError):
    """What was asked for cannot be done; the message says what was expected, what came and what to do."""
