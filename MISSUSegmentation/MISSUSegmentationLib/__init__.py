"""What the MISSU module does, without its panel: nothing here needs Qt, and nothing loads torch."""

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("MISSUCore") is None:
    # The module's folder was added by hand, so MISSUCore lies beside it in the repository.
    sys.path.append(str(Path(__file__).parents[2]))
