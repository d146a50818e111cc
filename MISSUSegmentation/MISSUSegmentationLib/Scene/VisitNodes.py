"""A patient's visits in the scene: the reader's entries, the comparison, DICOM dates and IDs.

Entries and comparison are attributes of one node, which references the segmentations and scans, so
everything is saved and loaded with the scene. Measurements are those of the comparison; entries
made afterwards are applied at once, with the rules of MISSUCore.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import slicer

from MISSUCore.contract.visits.report import VisitsReport, VisitsSettings
from MISSUCore.contract.visits.response import ReaderEntry, iso_date

from .SegmentationNodes import isAsKept

NODE_NAME = "MISSU visits"
ENTRY_ATTRIBUTE, RESULT_ATTRIBUTE = "MISSU.Visits", "MISSU.VisitsResult"
SEGMENTATION, SCAN = "segmentation", "scan"
# AcquisitionDate, SeriesDate, StudyDate, in the same order as in missu visits.
DATE_TAGS = ("0008,0022", "0008,0021", "0008,0020")
PATIENT_TAG = "0010,0020"
_READER = tuple(one.name for one in fields(ReaderEntry))
DEFAULT_TARGETS = VisitsSettings().measurement.targets


@dataclass(frozen=True)
class SceneVisit:
    """A visit.

    Attributes:
        segmentation: segmentation of the tumor; None if it was deleted.
        scan: T1ce that it was drawn on; None if it was deleted.
        date: ISO 8601; empty while unknown.
        reader: the reader's entries.
        key: unique in the scene; 0 until the visit is stored there.
    """

    segmentation: slicer.vtkMRMLSegmentationNode | None
    scan: slicer.vtkMRMLScalarVolumeNode | None
    date: str = ""
    reader: ReaderEntry = field(default_factory=ReaderEntry)
    key: int = 0

    @property
    def name(self) -> str:
        """The name shown to the user."""
        node = self.segmentation or self.scan
        return node.GetName() if node else "?"


@dataclass(frozen=True)
class VisitsEntry:
    """All entries of the reader.

    Attributes:
        visits: the visits, sorted by date.
        baseline: key of the visit that changes are computed from; 0 for the first.
        targets: maximum number of lesions in the sum of products.
        surgery: dates of operations, ISO 8601.
        radiotherapy: dates on which radiotherapies ended.
        nextKey: key of the next visit that is added.
    """

    visits: tuple[SceneVisit, ...] = ()
    baseline: int = 0
    targets: int = DEFAULT_TARGETS
    surgery: tuple[str, ...] = ()
    radiotherapy: tuple[str, ...] = ()
    nextKey: int = 1

    def ordered(self) -> VisitsEntry:
        """A copy with the visits sorted by date, undated ones last, and a key for each."""
        next_, visits = self.nextKey, []
        for visit in self.visits:
            visits.append(visit if visit.key else replace(visit, key=next_))
            next_ += not visit.key
        visits.sort(key=lambda visit: (not visit.date, visit.date))
        return replace(self, visits=tuple(visits), nextKey=next_)

    def baselineNumber(self) -> int:
        """Number of the baseline visit, counted from 1."""
        keys = [visit.key for visit in self.visits]
        return keys.index(self.baseline) + 1 if self.baseline in keys else 1

    def settings(self) -> VisitsSettings:
        """The settings for comparing the visits."""
        settings = VisitsSettings()
        measurement = replace(settings.measurement, targets=self.targets)
        return replace(settings, measurement=measurement, baseline=self.baselineNumber())


def keptVisits(scene: slicer.vtkMRMLScene) -> VisitsEntry:
    """The entry stored in this scene; empty if there is none or it cannot be read."""
    node = _node(scene)
    kept = _json(node, ENTRY_ATTRIBUTE)
    try:
        visits = tuple(
            SceneVisit(
                node.GetNodeReference(_role(item["key"], SEGMENTATION)),
                node.GetNodeReference(_role(item["key"], SCAN)),
                item["date"] and iso_date(item["date"]),
                ReaderEntry(*(item["reader"].get(name, "") for name in _READER)),
                int(item["key"]),
            )
            for item in kept.get("visits", ())
        )
        return VisitsEntry(
            visits,
            int(kept.get("baseline", 0)),
            int(kept.get("targets", DEFAULT_TARGETS)),
            tuple(map(iso_date, kept.get("surgery", ()))),
            tuple(map(iso_date, kept.get("radiotherapy", ()))),
            int(kept.get("nextKey", 1)),
        )
    except (AttributeError, KeyError, TypeError, ValueError):  # malformed, e.g. edited by hand
        return VisitsEntry()


def keepVisits(scene: slicer.vtkMRMLScene, entry: VisitsEntry) -> VisitsEntry:
    """Store an entry in the scene; returns it as stored, sorted by date."""
    entry = entry.ordered()
    node = _node(scene) or _newNode(scene)
    gone = {visit.key for visit in keptVisits(scene).visits} - {v.key for v in entry.visits}
    for key in gone:
        for which in (SEGMENTATION, SCAN):
            node.SetNodeReferenceID(_role(key, which), None)
    for visit in entry.visits:
        for which in (SEGMENTATION, SCAN):
            referred = getattr(visit, which)
            node.SetNodeReferenceID(_role(visit.key, which), referred.GetID() if referred else None)
    kept = {
        "visits": [
            {"key": visit.key, "date": visit.date, "reader": asdict(visit.reader)}
            for visit in entry.visits
        ],
        "baseline": entry.baseline,
        "targets": entry.targets,
        "surgery": entry.surgery,
        "radiotherapy": entry.radiotherapy,
        "nextKey": entry.nextKey,
    }
    node.SetAttribute(ENTRY_ATTRIBUTE, json.dumps(kept))
    return entry


def keepResult(
    scene: slicer.vtkMRMLScene, entry: VisitsEntry, checksums: Sequence[str], report: VisitsReport
) -> None:
    """Store a comparison in the scene.

    Args:
        scene: the scene of the visits.
        entry: the entry that was compared, as stored in the scene.
        checksums: checksums of its segmentations when they were compared.
        report: the result, with one visit for each visit of the entry.
    """
    node = _node(scene) or _newNode(scene)
    kept = {
        "report": report.to_dict(),
        "keys": [visit.key for visit in entry.visits],
        "checksums": list(checksums),
    }
    node.SetAttribute(RESULT_ATTRIBUTE, json.dumps(kept))


def keptResult(scene: slicer.vtkMRMLScene) -> VisitsReport | None:
    """The comparison as computed; None if there is none."""
    try:
        return VisitsReport.from_dict(_json(_node(scene), RESULT_ATTRIBUTE)["report"])
    except (KeyError, TypeError, ValueError):
        return None


def currentResult(scene: slicer.vtkMRMLScene) -> VisitsReport | None:
    """The comparison, reassessed with the present entries; None if there is none.

    Its visits and dates remain those that were compared.
    """
    report, entry = keptResult(scene), keptVisits(scene)
    if report is None:
        return None
    keys = _json(_node(scene), RESULT_ATTRIBUTE).get("keys", [])
    readers = {visit.key: visit.reader for visit in entry.visits}
    visits = [
        replace(visit, reader=readers.get(key, visit.reader))
        for visit, key in zip(report.visits, keys)
    ]
    settings = report.settings
    measurement = replace(settings.measurement, targets=entry.targets)
    baseline = keys.index(entry.baseline) + 1 if entry.baseline in keys else settings.baseline
    report = replace(
        report,
        visits=tuple(visits),
        settings=replace(settings, measurement=measurement, baseline=baseline),
        surgery=entry.surgery,
        radiotherapy=entry.radiotherapy,
    )
    try:
        return report.judged()
    except ValueError:
        return None


def listProblem(scene: slicer.vtkMRMLScene) -> str:
    """A message if visits or dates have changed since the comparison; empty if not."""
    report = keptResult(scene)
    if report is None:
        return ""
    keys = _json(_node(scene), RESULT_ATTRIBUTE).get("keys", [])
    compared = [(key, visit.date) for key, visit in zip(keys, report.visits)]
    if compared == [(visit.key, visit.date) for visit in keptVisits(scene).visits]:
        return ""
    return "The list of visits was changed since; compare again."


def editProblem(scene: slicer.vtkMRMLScene) -> str:
    """A message if segments were edited since the comparison; empty if not. Reads all voxels."""
    kept = _json(_node(scene), RESULT_ATTRIBUTE)
    checksums = dict(zip(kept.get("keys", []), kept.get("checksums", [])))
    for visit in keptVisits(scene).visits:
        before = checksums.get(visit.key)
        if before and visit.segmentation and not isAsKept(visit.segmentation, before):
            return f"{visit.name} was edited since; compare again."
    return ""


def acquisitionDate(scan: slicer.vtkMRMLVolumeNode) -> str:
    """Date of a scan (ISO 8601) from DICOM or its study in the scene; empty if unknown."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scan.GetScene())
    item = hierarchy.GetItemByDataNode(scan) if hierarchy else 0
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    study = hierarchy.GetItemAncestorAtLevel(item, constants.GetDICOMLevelStudy()) if item else 0
    told = [_dicomValue(scan, tag) for tag in DATE_TAGS]
    if study:
        told.append(hierarchy.GetItemAttribute(study, constants.GetDICOMStudyDateAttributeName()))
    for text in filter(None, told):
        with suppress(ValueError):
            return iso_date(text.strip())
    return ""


def patientOf(scan: slicer.vtkMRMLVolumeNode) -> str:
    """Patient ID of a scan that came from DICOM; empty if it is unknown."""
    return _dicomValue(scan, PATIENT_TAG).strip()


def _dicomValue(scan: slicer.vtkMRMLVolumeNode, tag: str) -> str:
    uids = (scan.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    return (database.instanceValue(uids[0], tag) or "") if uids and database else ""


def _role(key: int, which: str) -> str:
    return f"MISSU.Visit.{key}.{which}"


def _node(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLScriptedModuleNode | None:
    # The first node: one imported with another scene must not replace the user's own.
    nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode", scene)
    return next((node for node in nodes if node.GetAttribute("ModuleName") == NODE_NAME), None)


def _newNode(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLScriptedModuleNode:
    node = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", NODE_NAME)
    node.SetAttribute("ModuleName", NODE_NAME)
    return node


def _json(node: slicer.vtkMRMLNode | None, attribute: str) -> Mapping[str, Any]:
    try:
        kept = json.loads((node and node.GetAttribute(attribute)) or "{}")
    except (ValueError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}
