"""The program of MISSUCore's process: loads what takes seconds, waits, and does what it is asked.

    PythonSlicer StandBy.py CORE_FOLDER MODULE REQUEST_FILE SECONDS

The request (see MISSUCore.contract.requests) is a JSON file that appears once it is known. A file,
since not every PythonSlicer hands on its standard input.
"""

import importlib
import os
import sys
import time
from pathlib import Path

POLL_SECONDS = 0.02


def main(coreFolder: str, module: str, requestFile: str, seconds: str) -> None:
    """Do what is asked when the request appears; end if that takes longer than some seconds."""
    sys.path[0] = coreFolder  # instead of the folder of this file
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
    # All is written, and PyTorch would take another half second to take itself apart.
    os._exit(exitCode)


if __name__ == "__main__":
    main(*sys.argv[1:])
