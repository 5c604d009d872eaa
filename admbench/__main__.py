"""`python -m admbench` is the command `bench`."""

import sys

from admbench.bench.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
