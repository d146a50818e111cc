"""``python -m MISSUCore`` is the command ``missu``."""

import signal
import sys


def main() -> int:
    """Run the command; returns its exit code. It may be cancelled while its code is loaded, too."""
    try:
        from .cli.main import main as run
    except KeyboardInterrupt:
        print("missu: cancelled", file=sys.stderr)
        return 130
    code = run()
    # All is written: from now on a signal ends the process, and no library's clean-up.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    return code


if __name__ == "__main__":
    sys.exit(main())
