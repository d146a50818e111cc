"""The library of the MISSU module. Only Panel needs Qt, and nothing here loads PyTorch."""

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("MISSUCore") is None:
    # The module runs from the repository, where MISSUCore is beside its folder.
    sys.path.append(str(Path(__file__).parents[2]))
