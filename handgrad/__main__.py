"""`python -m handgrad` is the command `handgrad`."""

import sys

from handgrad import load

if __name__ == "__main__":
    sys.exit(load("handgrad.compare.commands.main").main())
