"""What a command's exit code says; `handgrad --help` lists them."""

EXIT_AGREES = 0
EXIT_DISAGREES = 1
EXIT_USAGE = 2  # also a run that diverges
EXIT_DATA = 3  # data or checkpoints missing or damaged
EXIT_STOPPED = 4  # no room to write, no memory, or a fault of handgrad itself
EXIT_INTERRUPTED = 130  # Ctrl-C
EXIT_TERMINATED = 143  # SIGTERM
