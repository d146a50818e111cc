"""The program of MISSUCore's process: loads what takes seconds, waits, and runs one ``missu``.

    PythonSlicer StandBy.py CORE_FOLDER MODULE ARGUMENTS_FILE SECONDS

The arguments of ``missu`` are a JSON list in a file that appears once they are known. A file, since
not every PythonSlicer hands on its standard input.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path

POLL_SECONDS = 0.02


def main(coreFolder: str, module: str, argumentsFile: str, seconds: str) -> None:
    """Run ``missu`` when its arguments appear; end if that takes longer than some seconds."""
    sys.path[0] = coreFolder  # instead of the folder of this file
    importlib.import_module(module)
    from MISSUCore.cli.main import main as missu

    end = time.monotonic() + float(seconds)
    while not Path(argumentsFile).exists():
        if time.monotonic() > end:
            return
        time.sleep(POLL_SECONDS)
    exitCode = missu(json.loads(Path(argumentsFile).read_text(encoding="utf-8")))
    sys.stdout.flush()
    sys.stderr.flush()
    # All is written, and PyTorch would take another half second to take itself apart.
    os._exit(exitCode)


if __name__ == "__main__":
    main(*sys.argv[1:])
