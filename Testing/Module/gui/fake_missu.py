"""Replaces PythonSlicer in the panel's tests: runs the given program with a fake MISSUCore.

The JSON file ``behavior`` in the same folder determines what the fake does; the fake copies its
request to ``request.json``. The label map that it makes is the T1 volume, rounded. PyTorch is never
loaded.
"""

import json
import runpy
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent
TORCH_IS_BROKEN = "Traceback\nOSError: [WinError 126] Error loading torch_python.dll"

if sys.argv[1] == "-c":  # the check that PyTorch can be imported
    isBroken = json.loads((HERE / "behavior").read_text()).get("torch") == "broken"
    sys.exit(TORCH_IS_BROKEN if isBroken else 0)

sys.path.insert(0, sys.argv[2])  # folder of MISSUCore, whose data classes build the answers
import fake_fine_tuning

from MISSUCore.contract.measurement.lesions import LesionMeasurement, Line, judge
from MISSUCore.contract.measurement.report import MeasurementReport
from MISSUCore.contract.model_identity import ModelIdentity
from MISSUCore.contract.region_scores import RegionScores
from MISSUCore.contract.requests.commands import (
    EvaluateRequest,
    GuessRequest,
    MeasureRequest,
    SegmentRequest,
    VisitsRequest,
)
from MISSUCore.contract.requests.exchange import read_request, write_request
from MISSUCore.contract.segmentation_report import ScanRegistration, SegmentationReport
from MISSUCore.contract.visits.report import FollowedLesion, Visit, VisitsReport
from MISSUCore.core.errors import ErrorCode
from MISSUCore.core.events import ErrorEvent, Event, ProgressEvent, Stage
from MISSUCore.core.messages import Text


def tell(event: Event) -> None:
    print(event.to_line(), flush=True)


def serve(path: Path) -> int:
    """Carry out a request in place of MISSUCore.cli.main.serve; returns the exit code."""
    request = read_request(path)
    behavior = json.loads((HERE / "behavior").read_text())
    write_request(HERE / "request.json", request)
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
    if isinstance(request, SegmentRequest):
        segment(request, behavior)
    elif isinstance(request, GuessRequest):
        from MISSUCore.sequences.appearance import answer  # the real one: it loads no PyTorch

        answer(request)
    elif isinstance(request, EvaluateRequest):
        scores = behavior["scores"].items()
        rows = [RegionScores(region=name, **values).to_dict() for name, values in scores]
        request.json.write_text(json.dumps({"rows": rows}))
    elif isinstance(request, MeasureRequest):
        request.output.write_text(json.dumps(measurement(request, behavior).to_dict()))
    elif isinstance(request, VisitsRequest):
        compareVisits(request, behavior)
    else:
        return fake_fine_tuning.serve(request, behavior)
    tell(ProgressEvent(Stage.DONE, 1.0, seconds_left=0.0))
    return 0


def segment(request: SegmentRequest, behavior: dict[str, Any]) -> None:
    import SimpleITK as sitk

    scan = request.scans.images["t1"]
    sitk.WriteImage(
        sitk.Cast(sitk.Round(sitk.ReadImage(str(scan))), sitk.sitkUInt8), str(request.output)
    )
    scans = {}
    for modality, shift in behavior.get("moved", {}).items():
        name = f"labels_transform_{modality}.tfm"
        transform = sitk.TranslationTransform(3, shift)
        sitk.WriteTransform(transform, str(request.output.with_name(name)))
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
    request.report.write_text(json.dumps(report.to_dict()))
    request.quality_page.write_text(f"<html>{request.output} {scan}")


def measurement(request: MeasureRequest, behavior: dict[str, Any]) -> MeasurementReport:
    """Lesions with perpendicular diameters of the lengths given by the behavior."""
    lesions = [
        LesionMeasurement(
            number,
            (0.0, 0.0, 0.0),
            {"WT": 2.0, "TC": 1.5, "ET": 1.0},
            slices=3,
            longest=Line((0.0, 0.0, 0.0), (longest, 0.0, 0.0)),
            perpendicular=Line((1.0, 0.0, 0.0), (1.0, across, 0.0)),
        )
        for number, (longest, across) in enumerate(behavior.get("lesions", []), start=1)
    ]
    return MeasurementReport(
        scheme="BraTS",
        region="ET",
        settings=request.settings,
        plane="axial",
        slice_mm=2.0,
        volumes_ml={"WT": 4.0, "TC": 3.0, "ET": 2.0},
        lesions=judge(lesions, request.settings, "ET", 2.0),
        warnings=[Text.from_json(warning) for warning in behavior.get("warnings", [])],
    )


def compareVisits(request: VisitsRequest, behavior: dict[str, Any]) -> None:
    """Report one lesion with the volumes given by the behavior, and 1 mm of diameter per ml."""
    visits = []
    for given, volume in zip(request.visits, behavior["volumes"]):
        lesion = LesionMeasurement(
            1,
            (0.0, 0.0, 0.0),
            {"WT": 2.0 * volume, "ET": volume},
            slices=5,
            longest=Line((0.0, 0.0, 0.0), (volume, 0.0, 0.0)),
            perpendicular=Line((1.0, 0.0, 0.0), (1.0, volume, 0.0)),
        )
        measured = MeasurementReport(
            scheme="BraTS",
            region="ET",
            settings=request.settings.measurement,
            plane="axial",
            slice_mm=1.0,
            volumes_ml={"WT": 2.0 * volume, "ET": volume},
            lesions=judge([lesion], request.settings.measurement, "ET", 1.0),
        )
        visits.append(Visit(given.name, given.date, measured, reader=given.reader))
    found = FollowedLesion(1, ((1,),) * len(visits), ("", *["grown"] * (len(visits) - 1)))
    report = VisitsReport(
        settings=request.settings,
        visits=tuple(visits),
        lesions=(found,),
        surgery=request.surgery,
        radiotherapy=request.radiotherapy,
        warnings=[Text.from_json(warning) for warning in behavior.get("warnings", [])],
    )
    request.output.write_text(json.dumps(report.judged().to_dict()))
    request.page.write_text(f"<html>{request.visits[0].segmentation}")


if __name__ == "__main__":
    program, *given = sys.argv[1:]
    commandLine = ModuleType("MISSUCore.cli.main")
    commandLine.serve = serve
    # All other modules of MISSUCore that the program imports exist, but are empty.
    modules = {name: ModuleType(name) for name in given if name not in sys.modules}
    sys.modules.update(modules, **{"MISSUCore.cli.main": commandLine})
    sys.argv = [program, *given]
    runpy.run_path(program, run_name="__main__")
