"""Stands for PythonSlicer in the panel's tests: runs the program it is given on a fake MISSUCore.

The fake behaves as the file ``behavior`` beside it says, a JSON object, and writes the arguments of
``missu`` to the file ``arguments``. The label map it makes is the T1 volume, rounded.
PyTorch is never loaded.
"""

import json
import runpy
import sys
import time
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
TORCH_IS_BROKEN = "Traceback\nOSError: [WinError 126] Error loading torch_python.dll"

if sys.argv[1] == "-c":  # whether it can import PyTorch
    isBroken = json.loads((HERE / "behavior").read_text()).get("torch") == "broken"
    sys.exit(TORCH_IS_BROKEN if isBroken else 0)

sys.path.insert(0, sys.argv[2])  # of MISSUCore, whose light classes build the answers
import fake_fine_tuning

from MISSUCore.contract.model_identity import ModelIdentity
from MISSUCore.contract.segmentation_report import ScanRegistration, SegmentationReport
from MISSUCore.core.errors import ErrorCode
from MISSUCore.core.events import ErrorEvent, Event, ProgressEvent, Stage
from MISSUCore.core.messages import Text


def tell(event: Event) -> None:
    print(event.to_line(), flush=True)


def main(arguments: list[str]) -> int:
    """As MISSUCore.cli.main.main."""
    import SimpleITK as sitk

    def value(option: str) -> str:
        return arguments[arguments.index(option) + 1]

    behavior = json.loads((HERE / "behavior").read_text())
    (HERE / "arguments").write_text(json.dumps(arguments))
    if behavior.get("torch") == "broken":
        print(TORCH_IS_BROKEN)
        return 1
    tell(ProgressEvent(Stage.SEGMENT, 0.4, seconds_left=65.0))
    while behavior.get("hang") and not (HERE / "go").exists():
        time.sleep(0.02)
    if "error" in behavior:
        code = behavior.get("code", ErrorCode.FAILED)
        tell(ErrorEvent(Text.from_json(behavior["error"]), code))
        return 1
    if arguments[0] in ("library", "finetune", "models"):
        return fake_fine_tuning.main(arguments, behavior)
    if arguments[0] == "segment":
        labels = sitk.Cast(sitk.Round(sitk.ReadImage(value("--t1"))), sitk.sitkUInt8)
        sitk.WriteImage(labels, value("--output"))
        scans = {}
        for modality, shift in behavior.get("moved", {}).items():
            name = f"labels_transform_{modality}.tfm"
            transform = sitk.TranslationTransform(3, shift)
            sitk.WriteTransform(transform, str(Path(value("--output")).with_name(name)))
            scans[modality] = ScanRegistration(transform=name)
        report = SegmentationReport(
            fixed="t1",
            registrations=scans,
            model=ModelIdentity("missu-brats-fast"),
            seconds={"total": 0.1},
            volumes_ml={"WT": 0.0, "TC": 0.0, "ET": 0.0},
            confidence=behavior.get("confidence", {}),
            warnings=[Text.from_json(warning) for warning in behavior.get("warnings", [])],
        )
        Path(value("--report")).write_text(json.dumps(report.to_dict()))
        Path(value("--quality-page")).write_text(f"<html>{value('--output')} {value('--t1')}")
    else:
        rows = [{"region": name, **scores} for name, scores in behavior["scores"].items()]
        Path(value("--json")).write_text(json.dumps({"rows": rows}))
    tell(ProgressEvent(Stage.DONE, 1.0, seconds_left=0.0))
    return 0


if __name__ == "__main__":
    program, *given = sys.argv[1:]
    commandLine = ModuleType("MISSUCore.cli.main")
    commandLine.main = main
    # Whatever else the program imports of MISSUCore is there, and costs nothing.
    modules = {name: ModuleType(name) for name in given if name not in sys.modules}
    sys.modules.update(modules, **{"MISSUCore.cli.main": commandLine})
    sys.argv = [program, *given]
    runpy.run_path(program, run_name="__main__")
