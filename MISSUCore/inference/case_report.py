"""The report of a segmented case."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from .. import __version__
from ..contract.model_identity import ModelIdentity
from ..contract.segmentation_report import FileFact, SegmentationReport
from ..core.messages import Text
from ..io.reading import checksum
from ..measurement.maps import MeasuredMaps
from ..models.store import Model
from .case_plan import Plan
from .case_scans import ScansInOneSpace
from .segmentation import Segmentation

PACKAGES = ("torch", "SimpleITK", "numpy", "scipy")


def report_of(
    plan: Plan,
    scans: ScansInOneSpace,
    result: Segmentation,
    measured: MeasuredMaps,
    seconds: Mapping[str, float],
    notes: Sequence[str] = (),
) -> SegmentationReport:
    """Report on scans, result and measured maps; ``notes`` are warnings about written files."""
    case, prepared, name = scans.case, scans.prepared, scans.reference_name
    path = case.paths.get(name, Path(name))
    transforms = {scan: file.name for scan, file in plan.transforms.items()}
    return SegmentationReport(
        missu_version=__version__,
        software=software_versions(prepared.brain_method),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        inputs={
            modality: FileFact(str(source), case.checksums[modality])
            for modality, source in case.paths.items()
        },
        sequences=dict(plan.sequences),
        reference=FileFact(str(path), case.checksums.get(name) or checksum(Path(name))),
        output=str(plan.files.labels),
        model=_identity(plan.model),
        finder=_identity(plan.model.finder),
        options={**asdict(plan.options), "preprocessing": asdict(plan.inputs.preprocessing)},
        device=result.device,
        windows=result.windows,
        seconds={stage: round(value, 2) for stage, value in seconds.items()},
        fixed=prepared.fixed,
        registrations=prepared.registration_facts(transforms if prepared.was_moved else {}),
        brain_method=prepared.brain_method,
        brain_ml=prepared.brain_ml,
        volumes_ml={region: round(volume, 3) for region, volume in result.volumes_ml.items()},
        confidence={region: round(value, 3) for region, value in result.confidence.items()},
        maps=measured.statistics,
        warnings=[
            Text(warning)
            for warning in (
                *prepared.warnings,
                *result.warnings,
                *measured.warnings,
                *_left_out(plan, result),
                *notes,
            )
        ],
    )


def _left_out(plan: Plan, result: Segmentation) -> list[str]:
    """Warning about regions left out of the DICOM segmentation because they are empty."""
    empty = [region for region, volume_ml in result.volumes_ml.items() if volume_ml == 0]
    if not plan.files.dicom_seg or not empty:
        return []
    if len(empty) == len(result.volumes_ml):
        return ["nothing was found, so no DICOM segmentation was written"]
    return [f"left out of the DICOM segmentation, being empty: {', '.join(empty)}"]


def _identity(model: Model | None) -> ModelIdentity:
    return ModelIdentity(model.card.name, model.card.sha256) if model else ModelIdentity()


def software_versions(brain_method: str = "") -> dict[str, str]:
    """Versions of Python and of the packages that computed a result, by name.

    Args:
        brain_method: how the brain was found, as in reports; "deepbet" adds that package.
    """
    versions = {"python": platform.python_version()}
    for name in (*PACKAGES, "deepbet") if brain_method == "deepbet" else PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # no metadata, such as SimpleITK in Slicer
    return versions
