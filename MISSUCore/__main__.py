"""``python -m MISSUCore`` is the command ``missu``."""

import signal
import sys


def main() -> int:
    """Run the command and return its exit code; Ctrl-C also works while modules are loading."""
    try:
        from .cli.main import main as run
    except KeyboardInterrupt:
        print("missu: cancelled", file=sys.stderr)
        return 130
    code = run()
    # All output is written. From now on a signal simply ends the process, without interrupting
    # the clean-up of a library.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    return code


if __name__ == "__main__":
    sys.exit(main())
