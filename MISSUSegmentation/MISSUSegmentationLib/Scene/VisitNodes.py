"""A patient's visits in the scene: what was entered, what came of it, what DICOM says of a scan.

Both are attributes of one node, which refers to the segmentations and scans: so all is saved and
loaded with the scene. Numbers are those of the comparison; what a reader enters afterwards is
judged at once, with the rules of MISSUCore.
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
# AcquisitionDate, SeriesDate, StudyDate: as missu visits looks for them.
DATE_TAGS = ("0008,0022", "0008,0021", "0008,0020")
PATIENT_TAG = "0010,0020"
_READER = tuple(one.name for one in fields(ReaderEntry))
DEFAULT_TARGETS = VisitsSettings().measurement.targets


@dataclass(frozen=True)
class SceneVisit:
    """A visit.

    Attributes:
        segmentation: of the tumor; None once it was deleted.
        scan: T1ce that it was drawn on; None once it was deleted.
        date: ISO 8601; empty as long as nobody knows it.
        reader: what the reader has entered.
        key: unlike that of any other visit of the scene; 0 before it is kept there.
    """

    segmentation: slicer.vtkMRMLSegmentationNode | None
    scan: slicer.vtkMRMLScalarVolumeNode | None
    date: str = ""
    reader: ReaderEntry = field(default_factory=ReaderEntry)
    key: int = 0

    @property
    def name(self) -> str:
        """What the user calls it."""
        node = self.segmentation or self.scan
        return node.GetName() if node else "?"


@dataclass(frozen=True)
class VisitsEntry:
    """All that was entered.

    Attributes:
        visits: in the order of their dates.
        baseline: key of the visit that changes count from; 0 for the first.
        targets: most lesions in the sum of products.
        surgery: dates of operations, ISO 8601.
        radiotherapy: dates on which radiotherapies ended.
        nextKey: of a visit that is added.
    """

    visits: tuple[SceneVisit, ...] = ()
    baseline: int = 0
    targets: int = DEFAULT_TARGETS
    surgery: tuple[str, ...] = ()
    radiotherapy: tuple[str, ...] = ()
    nextKey: int = 1

    def ordered(self) -> VisitsEntry:
        """With the visits by date, those without one last, and a key for each."""
        next_, visits = self.nextKey, []
        for visit in self.visits:
            visits.append(visit if visit.key else replace(visit, key=next_))
            next_ += not visit.key
        visits.sort(key=lambda visit: (not visit.date, visit.date))
        return replace(self, visits=tuple(visits), nextKey=next_)

    def baselineNumber(self) -> int:
        """Number of the baseline, from 1."""
        keys = [visit.key for visit in self.visits]
        return keys.index(self.baseline) + 1 if self.baseline in keys else 1

    def settings(self) -> VisitsSettings:
        """How the visits are to be compared."""
        settings = VisitsSettings()
        measurement = replace(settings.measurement, targets=self.targets)
        return replace(settings, measurement=measurement, baseline=self.baselineNumber())


def keptVisits(scene: slicer.vtkMRMLScene) -> VisitsEntry:
    """What was entered in this scene; empty if nothing was, or nothing that can be read."""
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
    except (AttributeError, KeyError, TypeError, ValueError):  # written by hand, and not well
        return VisitsEntry()


def keepVisits(scene: slicer.vtkMRMLScene, entry: VisitsEntry) -> VisitsEntry:
    """Keep what was entered with the scene; returns it as it is kept, by date."""
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
    """Keep a comparison with the scene.

    Args:
        scene: with the visits.
        entry: what was compared, as it is kept there.
        checksums: of its segmentations, as they were compared.
        report: what came of it, with a visit for each of the entry's.
    """
    node = _node(scene) or _newNode(scene)
    kept = {
        "report": report.to_dict(),
        "keys": [visit.key for visit in entry.visits],
        "checksums": list(checksums),
    }
    node.SetAttribute(RESULT_ATTRIBUTE, json.dumps(kept))


def keptResult(scene: slicer.vtkMRMLScene) -> VisitsReport | None:
    """The comparison as it was made; None if there is none."""
    try:
        return VisitsReport.from_dict(_json(_node(scene), RESULT_ATTRIBUTE)["report"])
    except (KeyError, TypeError, ValueError):
        return None


def currentResult(scene: slicer.vtkMRMLScene) -> VisitsReport | None:
    """The comparison, judged with what is entered now; None if there is none.

    Visits and their dates stay those that were compared.
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
    """Whether other visits, or other dates, were compared than are listed now; empty if not."""
    report = keptResult(scene)
    if report is None:
        return ""
    keys = _json(_node(scene), RESULT_ATTRIBUTE).get("keys", [])
    compared = [(key, visit.date) for key, visit in zip(keys, report.visits)]
    if compared == [(visit.key, visit.date) for visit in keptVisits(scene).visits]:
        return ""
    return "The list of visits was changed since; compare again."


def editProblem(scene: slicer.vtkMRMLScene) -> str:
    """Whether segments were edited since they were compared; empty if not. Looks at all voxels."""
    kept = _json(_node(scene), RESULT_ATTRIBUTE)
    checksums = dict(zip(kept.get("keys", []), kept.get("checksums", [])))
    for visit in keptVisits(scene).visits:
        before = checksums.get(visit.key)
        if before and visit.segmentation and not isAsKept(visit.segmentation, before):
            return f"{visit.name} was edited since; compare again."
    return ""


def acquisitionDate(scan: slicer.vtkMRMLVolumeNode) -> str:
    """Date of a scan (ISO 8601) in DICOM or in its study in the scene; empty if neither says it."""
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
    # The first: one that comes with another scene does not take the place of the user's own.
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
