"""What every other room stands on: errors, exit codes, validation, files that are whole, threads."""
