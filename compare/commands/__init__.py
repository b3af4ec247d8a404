"""The command `handgrad` and its subcommands, and the pytest plugin: where a person comes in."""
