"""``python -m MISSUCore`` is the command ``missu``."""

import sys


def main() -> int:
    """Run the command; returns its exit code. It may be cancelled while its code is loaded, too."""
    try:
        from .cli.main import main as run
    except KeyboardInterrupt:
        print("missu: cancelled", file=sys.stderr)
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
