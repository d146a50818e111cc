"""The program that runs in MISSUCore's process: loads PyTorch, then waits for a request.

    PythonSlicer StandBy.py CORE_FOLDER MODULE REQUEST_FILE SECONDS

The request (see MISSUCore.contract.requests) is a JSON file, written when the work is known. It is
a file because not every PythonSlicer passes on its standard input.
"""

import importlib
import os
import sys
import time
from pathlib import Path

POLL_SECONDS = 0.02


def main(coreFolder: str, module: str, requestFile: str, seconds: str) -> None:
    """Wait for the request and carry it out; exit if none appears within ``seconds``."""
    sys.path[0] = coreFolder  # replaces the folder of this file
    importlib.import_module(module)
    from MISSUCore.cli.main import serve

    end = time.monotonic() + float(seconds)
    while not Path(requestFile).exists():
        if time.monotonic() > end:
            return
        time.sleep(POLL_SECONDS)
    exitCode = serve(Path(requestFile))
    sys.stdout.flush()
    sys.stderr.flush()
    # Exit at once: all files are written, and unloading PyTorch would take half a second.
    os._exit(exitCode)


if __name__ == "__main__":
    main(*sys.argv[1:])
