"""Compares a patient's visits in the scene by ``missu visits``, with or without Slicer's GUI."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import slicer

from MISSUCore.contract.labels import BRATS, LabelScheme, numbering_of
from MISSUCore.contract.provenance.record import Computation, Provenance, check_record
from MISSUCore.contract.requests.commands import VisitsRequest
from MISSUCore.contract.segmentation_report import FileFact, SegmentationReport, read_report
from MISSUCore.contract.visits.report import VisitsReport, read_visits_report
from MISSUCore.contract.visits.response import GivenVisit
from MISSUCore.core.errors import InputError
from MISSUCore.core.events import ProgressEvent
from MISSUCore.core.messages import Text

from ..Core.CoreInstallation import InstallationError, findCard
from ..Core.CoreRun import CoreRun, SegmentationError, newProcess
from ..Core.Errors import ExchangeError
from ..Core.OneRun import OneRun
from ..Scene.Provenance.EditRecorder import recorderOf
from ..Scene.SceneExchange import readGrid, relativeTo, volumeLike, writeVolume
from ..Scene.SegmentationNodes import checksumOf, importSegmentation
from ..Scene.VisitChecks import checkedVisits
from ..Scene.VisitNodes import SceneVisit, VisitsEntry, keepResult, keepVisits
from .Comparison import labelsOn
from .MeasureLogic import ALL_SEGMENTS, allSegments, reduced
from .QualityPage import keepPage


@dataclass(frozen=True)
class VisitsResult:
    """The result of a comparison.

    Attributes:
        report: names each visit after its segmentation.
        page: page for a browser; deleted with the scene.
    """

    report: VisitsReport
    page: Path


class VisitsLogic(OneRun):
    """Compares visits in a separate process, one comparison at a time.

    From a script, in Slicer or with the package slicer-core::

        visits = [SceneVisit(first, firstT1ce, "2024-01-10"), SceneVisit(second, secondT1ce)]
        report = VisitsLogic().compare(VisitsEntry(tuple(visits))).report
        print([(visit.date, visit.volume.category) for visit in report.visits])
    """

    def compare(
        self,
        entry: VisitsEntry,
        *,
        scheme: LabelScheme = BRATS,
        allowEmpty: bool = False,
        differentAnatomy: bool = False,
        onProgress: Callable[[ProgressEvent], None] | None = None,
        onFinished: Callable[[VisitsResult], None] | None = None,
        onFailed: Callable[[str, Path | None], None] | None = None,
        onCancelled: Callable[[], None] | None = None,
        blocking: bool = True,
    ) -> VisitsResult | None:
        """Follow the lesions over the visits, and propose a response; saved with the scene.

        Segments are recognized by name as in :meth:`.SegmentationLogic.compare`. The innermost
        region that is present in all visits is followed; if no visit has a known region, the union
        of all segments of each visit is. A visit without a date gets its date from DICOM.

        Args:
            entry: the visits, and what the reader has entered.
            scheme: the labels and regions.
            allowEmpty: an empty segmentation means that the tumor has disappeared.
            differentAnatomy: accept scans that seem to show two patients.
            onProgress: called with the progress.
            onFinished: called with the result.
            onFailed: called with one sentence and the path of the log; only without ``blocking``.
            onCancelled: called once everything has stopped.
            blocking: return only when the run is done.

        Returns:
            The result if ``blocking``; None if it was cancelled or is still running.

        Raises:
            SegmentationError: if the visits cannot be compared or another run is in progress; if
                ``blocking``, also if the run fails.
        """
        self._checkIdle()
        try:
            entry = checkedVisits(entry)
        except ExchangeError as error:
            raise SegmentationError(str(error)) from error
        scene = entry.visits[0].scan.GetScene()
        entry = keepVisits(scene, entry)
        checksums = [checksumOf(visit.segmentation) for visit in entry.visits]
        run = CoreRun(scene, onProgress, onFinished, None if blocking else onFailed, onCancelled)

        def prepare(run: CoreRun) -> VisitsRequest:
            request = writeVisits(run, entry, scheme)
            return replace(request, allow_empty=allowEmpty, different_anatomy=differentAnatomy)

        run.start(
            newProcess("MISSUCore.visits.comparison"),
            prepare,
            lambda run: readVisits(run, entry, checksums),
        )
        self._run = run
        return run.wait() if blocking else None


def writeVisits(run: CoreRun, entry: VisitsEntry, scheme: LabelScheme) -> VisitsRequest:
    """Write scans and label maps in the first scan's coordinate system; returns the request.

    Raises:
        ExchangeError: if one cannot be written, or the visits have no region in common.
    """
    written, masks, enhancing = _commonMasks(entry.visits, scheme)
    first, given = entry.visits[0].scan, []
    for number, (visit, mask) in enumerate(zip(entry.visits, masks), start=1):
        scan = relativeTo(first, visit.scan)
        paths = run.folder / f"visit-{number}.nrrd", run.folder / f"visit-{number}-t1ce.nrrd"
        writeVolume(volumeLike(scan, written.to_labels(mask)), paths[0], visit.name)
        writeVolume(scan, paths[1], visit.scan.GetName())
        run.names.update(zip(paths, (visit.name, visit.scan.GetName())))
        given.append(GivenVisit(visit.name, *paths, visit.date, visit.reader))
    return VisitsRequest(
        tuple(given),
        output=run.folder / "visits.json",
        page=run.folder / "visits.html",
        scheme=json.dumps(written.as_dict()),
        settings=replace(entry.settings(), enhancing=enhancing),
        surgery=entry.surgery,
        radiotherapy=entry.radiotherapy,
    )


def _commonMasks(
    visits: tuple[SceneVisit, ...], scheme: LabelScheme
) -> tuple[LabelScheme, list[np.ndarray], bool]:
    """The scheme of the regions present in all visits, their masks, and whether they enhance."""
    labels: dict[int, np.ndarray] = {}
    common, silent = set(scheme.region_names), []
    for number, visit in enumerate(visits):
        node = visit.segmentation
        if not node.GetSegmentation().GetNumberOfSegments():
            continue  # empty, so the names of its segments do not matter
        try:
            labels[number], told = labelsOn(visit.scan, node, scheme)
            common &= told
        except ExchangeError:
            silent.append(visit)
    shapes = [slicer.util.arrayFromVolume(visit.scan).shape for visit in visits]
    if silent and not labels:
        masks = [allSegments(visit.segmentation, visit.scan)[None] for visit in visits]
        return ALL_SEGMENTS, masks, True
    if silent or not common:
        names = ", ".join(scheme.region_names)
        which = silent[0].name if silent else "the visits"
        raise ExchangeError(
            f"The segments of {which} have no name in common with the others; name those of all "
            f"visits alike ({names})."
        )
    told = [name for name in scheme.region_names if name in common]
    kept = [scheme.region_names.index(name) for name in told]
    masks = [
        scheme.to_regions(labels[number])[kept]
        if number in labels
        else np.zeros((len(kept), *shape), bool)
        for number, shape in enumerate(shapes)
    ]
    return reduced(scheme, told), masks, told[-1] == scheme.region_names[-1]


def readVisits(run: CoreRun, entry: VisitsEntry, checksums: list[str]) -> VisitsResult:
    """Load the result of the process into the scene.

    Raises:
        ExchangeError: if a visit was deleted in the meantime.
    """
    for visit in entry.visits:
        if visit.segmentation.GetScene() is None or visit.scan.GetScene() is None:
            raise ExchangeError("A visit was deleted meanwhile; compare again.")
    report = read_visits_report(run.folder / "visits.json")
    warnings = [Text(run.inUsersWords(Text(warning))) for warning in report.warnings]
    if report.visits[0].measurement.scheme == ALL_SEGMENTS.name:
        warnings.append(Text("No segment is known by its name: all of them together are followed."))
    visits = [
        replace(
            found,
            measurement=replace(
                found.measurement,
                segmentation=FileFact(visit.name),
                scan=FileFact(visit.scan.GetName()),
            ),
        )
        for found, visit in zip(report.visits, entry.visits)
    ]
    report = replace(report, visits=tuple(visits), warnings=tuple(warnings))
    scene = entry.visits[0].scan.GetScene()
    keepResult(scene, entry, checksums, report)
    return VisitsResult(report, keepPage(run, run.folder / "visits.html", scene))


def loadResultFolder(folder: Path) -> SceneVisit:
    """Add a result of ``missu segment --cases`` to the scene: its segmentation and its T1ce.

    Raises:
        ExchangeError: if it is not such a folder, or one of its files cannot be used.
    """
    try:
        facts = read_report(folder / "report.json")
        scanPath = _scanOf(facts, folder)
        scheme = findCard(facts.model.name).label_scheme()
        labels, _ = readGrid(folder / "segmentation.nii.gz")
        voxels, ijkToRas = readGrid(scanPath)
    except (InputError, InstallationError, RuntimeError) as error:
        raise ExchangeError(
            f"{folder} cannot be used as the result of a visit ({error}); load its segmentation "
            "and its T1ce, and add them."
        ) from error
    found = np.unique(labels).tolist()
    numbering = numbering_of(found, scheme)
    if labels.shape != voxels.shape or not numbering.accepts(found):
        raise ExchangeError(
            f"{folder}: the segmentation does not fit {scanPath}; load it and its T1ce, and add "
            "them."
        )
    if voxels.dtype.itemsize == 8:  # Slicer has no volumes of 64-bit integers
        voxels = voxels.astype(np.float64)
    scan = slicer.util.addVolumeFromArray(voxels, ijkToRas, f"{folder.name} T1ce")
    labels = scheme.to_labels(numbering.to_regions(labels))
    segmentation = importSegmentation(labels, {"t1ce": scan}, scheme)
    segmentation.SetName(f"{folder.name} segmentation")
    computed = Computation.of(facts)
    record = Provenance(computed=computed, contents=computed.contents)
    with contextlib.suppress(ValueError):  # an invalid record is ignored
        check_record(record)
        if facts.masks:  # missing if an older version wrote it
            recorderOf(segmentation.GetScene()).adopt(segmentation, record)
    return SceneVisit(segmentation, scan)


def _scanOf(facts: SegmentationReport, folder: Path) -> Path:
    """The T1ce of a result, or the scan used as reference instead."""
    named = facts.inputs["t1ce"].path if "t1ce" in facts.inputs else facts.reference.path
    for path in (Path(named), folder / named):
        if named and path.exists():
            return path
    raise InputError(f"its scan {named!r} is not there")
