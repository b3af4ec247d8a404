"""`python -m compare` is the command `handgrad`."""

import sys

from compare.cli import main

if __name__ == "__main__":
    sys.exit(main())
