"""``python -m MISSUCore`` is the command ``missu``."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
