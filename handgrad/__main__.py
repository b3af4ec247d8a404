"""`python -m handgrad` is the command `handgrad`."""

import sys

from handgrad import _load

if __name__ == "__main__":
    sys.exit(_load("handgrad.compare.commands.main").main())
