"""What a command's exit code says; `handgrad --help` prints this list."""

EXIT_AGREES = 0
EXIT_DISAGREES = 1
EXIT_USAGE = 2
EXIT_DATA = 3
EXIT_STOPPED = 4
EXIT_UNDECIDED = 5
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

MEANINGS = {
    EXIT_AGREES: "all agree",
    EXIT_DISAGREES: "a stage or a check disagrees",
    EXIT_USAGE: "wrong usage or a run that diverges",
    EXIT_DATA: "data or checkpoints missing or damaged",
    EXIT_STOPPED: "stopped (no room to write, no memory, or a fault of handgrad itself)",
    EXIT_UNDECIDED: "nothing differs, but a check was not decided",
    EXIT_INTERRUPTED: "interrupted by Ctrl-C",
    EXIT_TERMINATED: "ended by SIGTERM",
}
