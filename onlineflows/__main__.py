"""`python -m onlineflows`: the command line, where the program itself isn't on the path."""

import sys

from onlineflows.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
