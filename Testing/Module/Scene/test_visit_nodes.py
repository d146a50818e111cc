"""Visits in the scene: kept, judged anew with what is entered, saved, loaded, checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the package slicer-core")

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.visits.response import Category, ReaderEntry
from MISSUSegmentationLib.Core.Errors import ExchangeError
from MISSUSegmentationLib.Scene import VisitNodes as nodes
from MISSUSegmentationLib.Scene.SegmentationNodes import checksumOf, importSegmentation
from MISSUSegmentationLib.Scene.VisitChecks import checkedVisits
from MISSUSegmentationLib.Scene.VisitNodes import SceneVisit, VisitsEntry
from MISSUSegmentationLib.Scene.VisitsChart import drawVisits, findVisitsChart, forgetVisitsChart
from Testing.Module.visit_reports import DAYS, report

SHAPE = (8, 9, 10)
READER = ReaderEntry("more", "worse", "PD", 'seen by two; 100 % sure: "yes"\nü')


@pytest.fixture
def addVisit(addVolume: Callable[..., Any]) -> Callable[..., SceneVisit]:
    """Function that adds a scan and its segmentation to the scene."""

    def add(number: int, **about: Any) -> SceneVisit:
        scan = addVolume(f"T1ce {number}", np.full(SHAPE, float(number)), origin=(number, 2, 3))
        labels = np.zeros(SHAPE, np.uint8)
        labels[2:6, 2:6, 2 : 4 + number] = 4
        return SceneVisit(importSegmentation(labels, {"t1ce": scan}, BRATS), scan, **about)

    return add


@pytest.fixture
def entry(addVisit: Callable[..., SceneVisit]) -> VisitsEntry:
    """Three visits with their dates."""
    return VisitsEntry(tuple(addVisit(number, date=day) for number, day in enumerate(DAYS, 1)))


def keep(scene: Any, entry: VisitsEntry, **changes: Any) -> VisitsEntry:
    """Keep visits and a comparison of them."""
    kept = nodes.keepVisits(scene, entry)
    names = [visit.name for visit in kept.visits]
    checksums = [checksumOf(visit.segmentation) for visit in kept.visits]
    nodes.keepResult(scene, kept, checksums, replace(report(names), **changes))
    return kept


def test_visits_are_kept_by_date_under_keys_that_are_used_once(
    scene: Any, entry: VisitsEntry
) -> None:
    first, second, third = entry.visits
    undated = replace(second, date="")
    kept = nodes.keepVisits(scene, replace(entry, visits=(undated, third, first)))
    assert [visit.scan.GetName() for visit in kept.visits] == ["T1ce 1", "T1ce 3", "T1ce 2"]
    assert [visit.key for visit in kept.visits] == [3, 2, 1] and kept.nextKey == 4
    assert nodes.keptVisits(scene) == kept
    fewer = nodes.keepVisits(scene, replace(kept, visits=kept.visits[:2]))
    again = nodes.keepVisits(scene, replace(fewer, visits=(*fewer.visits, second)))
    assert {visit.key for visit in again.visits} == {3, 2, 4}


def test_what_is_entered_afterwards_is_judged_at_once(scene: Any, entry: VisitsEntry) -> None:
    kept = keep(scene, entry)
    now = nodes.currentResult(scene)
    assert [visit.volume.category for visit in now.visits] == [
        Category.BASELINE,
        Category.PARTIAL,
        Category.PROGRESSION,
    ]
    assert nodes.listProblem(scene) == nodes.editProblem(scene) == ""
    second = replace(kept.visits[1], reader=ReaderEntry(steroids="more"))
    visits = (kept.visits[0], second, kept.visits[2])
    nodes.keepVisits(scene, replace(kept, visits=visits, radiotherapy=("2024-04-20",)))
    now = nodes.currentResult(scene)
    assert "steroids were increased: RANO counts no response then" in now.visits[1].notes
    assert any("11 days after radiotherapy" in note for note in now.visits[2].notes)
    nodes.keepVisits(scene, replace(kept, baseline=kept.visits[1].key))
    now = nodes.currentResult(scene)
    assert [visit.volume.category for visit in now.visits] == [
        Category.UNKNOWN,
        Category.BASELINE,
        Category.PROGRESSION,
    ]
    assert now.visits[2].volume.baseline_percent == pytest.approx(300)
    assert nodes.listProblem(scene) == nodes.editProblem(scene) == ""


def test_a_comparison_of_other_visits_is_told(scene: Any, entry: VisitsEntry) -> None:
    kept = keep(scene, entry)
    later = replace(kept.visits[2], date="2024-06-01")
    nodes.keepVisits(scene, replace(kept, visits=(*kept.visits[:2], later)))
    assert "list of visits was changed" in nodes.listProblem(scene)
    nodes.keepVisits(scene, replace(kept, visits=kept.visits[:2]))
    assert "list of visits was changed" in nodes.listProblem(scene)
    nodes.keepVisits(scene, kept)
    assert nodes.listProblem(scene) == nodes.editProblem(scene) == ""
    kept.visits[1].segmentation.GetSegmentation().RemoveSegment("ET")
    assert f"{kept.visits[1].name} was edited since" in nodes.editProblem(scene)


def test_nothing_is_lost_when_the_scene_is_saved_and_loaded(
    scene: Any, entry: VisitsEntry, tmp_path: Path
) -> None:
    kept = keep(scene, entry)
    visits = (replace(kept.visits[0], reader=READER), *kept.visits[1:])
    kept = nodes.keepVisits(scene, replace(kept, visits=visits, targets=5, surgery=("2023-11-02",)))
    drawVisits(nodes.currentResult(scene))
    before = nodes.currentResult(scene)
    names = [(visit.name, visit.scan.GetName()) for visit in kept.visits]
    saved = [node for visit in kept.visits for node in (visit.segmentation, visit.scan)]
    for number, each in enumerate((*saved, findTable())):
        each.AddDefaultStorageNode()
        ending = {"vtkMRMLSegmentationNode": "seg.nrrd", "vtkMRMLTableNode": "tsv"}
        name = f"{number}.{ending.get(each.GetClassName(), 'nrrd')}"
        each.GetStorageNode().SetFileName(str(tmp_path / name))
        assert each.GetStorageNode().WriteData(each)
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit()
    scene.Clear(True)
    assert nodes.keptVisits(scene) == VisitsEntry() and nodes.currentResult(scene) is None
    assert scene.Connect()
    loaded = nodes.keptVisits(scene)
    assert [(visit.name, visit.scan.GetName()) for visit in loaded.visits] == names
    assert loaded.visits[0].reader == READER
    assert replace(loaded, visits=()) == replace(kept, visits=())
    assert nodes.currentResult(scene) == before
    chart = findVisitsChart()
    assert chart.GetTitle() == "Volume of ET" and chart.GetNumberOfPlotSeriesNodes() == 3
    assert chart.GetNthPlotSeriesNode(0).GetTableNode() is findTable()
    assert findTable().GetTable().GetValueByName(1, "ET (ml)").ToDouble() == 3.0
    assert scene.Import()  # another scene with visits does not take the place of these
    assert nodes.keptVisits(scene) == loaded


def findTable() -> Any:
    (table,) = slicer.util.getNodesByClass("vtkMRMLTableNode")
    return table


def test_the_chart_shows_volumes_and_thresholds(scene: Any) -> None:
    drawVisits(report())
    chart = drawVisits(report())  # its nodes are used again
    table = findTable().GetTable()
    titles = [table.GetColumnName(column) for column in range(table.GetNumberOfColumns())]
    assert titles[:3] == ["Date", "Day", "ET (ml)"] and "WT (ml)" in titles

    def column(title: str) -> list[float]:
        return [table.GetValueByName(row, title).ToDouble() for row in range(3)]

    assert column("Day") == [0, 56, 112]
    assert column("ET (ml)") == [10, 3, 12] and column("WT (ml)") == [20, 6, 24]
    assert column("PR (-65 % of baseline)") == pytest.approx([3.5] * 3)
    # +40 % of the smallest before: 10, 10, 3.
    assert column("PD (+40 % of nadir)") == pytest.approx([14, 14, 4.2])
    assert column("Sum of products (mm2)") == [900, 225, 1600]
    series = [chart.GetNthPlotSeriesNode(number) for number in range(3)]
    assert [each.GetYColumnName() for each in series] == titles[2:5]
    assert {each.GetXColumnName() for each in series} == {"Day"}
    later = replace(report(), settings=replace(report().settings, baseline=2)).judged()
    drawVisits(later)
    table = findTable().GetTable()
    assert np.isnan(column("PR (-65 % of baseline)")[0])
    assert column("PD (+40 % of nadir)")[1:] == pytest.approx([4.2, 4.2])
    forgetVisitsChart()
    assert not slicer.util.getNodesByClass("vtkMRMLTableNode") and findVisitsChart() is None


def test_what_a_later_version_knows_costs_nothing(scene: Any, entry: VisitsEntry) -> None:
    kept = nodes.keepVisits(scene, entry)
    (node,) = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
    values = json.loads(node.GetAttribute(nodes.ENTRY_ATTRIBUTE))
    values["visits"][0]["reader"]["mood"] = values["weather"] = "fine"
    node.SetAttribute(nodes.ENTRY_ATTRIBUTE, json.dumps(values))
    assert nodes.keptVisits(scene) == kept


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"visits": 3}', '{"visits": [{"key": 1}]}'])
def test_what_others_wrote_is_no_visit(scene: Any, entry: VisitsEntry, text: str) -> None:
    nodes.keepVisits(scene, VisitsEntry())
    node = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")[0]
    for attribute in (nodes.ENTRY_ATTRIBUTE, nodes.RESULT_ATTRIBUTE):
        node.SetAttribute(attribute, text)
    assert nodes.keptVisits(scene) == VisitsEntry() and nodes.currentResult(scene) is None
    assert nodes.listProblem(scene) == nodes.editProblem(scene) == ""
    assert len(nodes.keepVisits(scene, entry).visits) == 3


def test_dates_are_those_of_dicom_and_never_guessed(
    scene: Any, addVisit: Callable[..., SceneVisit], monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = addVisit(1).scan
    scan.SetName("T1ce 20240110")
    assert nodes.acquisitionDate(scan) == "" and nodes.patientOf(scan) == ""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "Study")
    hierarchy.CreateItem(study, scan)
    hierarchy.SetItemAttribute(study, "DICOM.StudyDate", "20240111")
    assert nodes.acquisitionDate(scan) == "2024-01-11"
    values = {"0008,0020": "20240112", "0008,0021": "", "0008,0022": "20240110", "0010,0020": "7 "}
    database = SimpleNamespace(instanceValue=lambda uid, tag: values[tag] if uid == "1.2" else "")
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    assert nodes.acquisitionDate(scan) == "2024-01-11"  # it is not from DICOM
    scan.SetAttribute("DICOM.instanceUIDs", "1.2 1.3")
    assert nodes.acquisitionDate(scan) == "2024-01-10" and nodes.patientOf(scan) == "7"
    values["0008,0022"] = "unknown"
    assert nodes.acquisitionDate(scan) == "2024-01-12"


def test_visits_that_can_be_compared_come_by_date(scene: Any, entry: VisitsEntry) -> None:
    checked = checkedVisits(replace(entry, visits=entry.visits[::-1]))
    assert [visit.date for visit in checked.visits] == list(DAYS)


def test_what_cannot_be_compared_is_told_by_its_name(
    scene: Any,
    entry: VisitsEntry,
    addTransform: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second, third = entry.visits

    def problem(*visits: SceneVisit, **changes: Any) -> str:
        with pytest.raises(ExchangeError) as caught:
            checkedVisits(replace(entry, visits=visits, **changes))
        return str(caught.value)

    assert problem(first) == "Add two visits or more."
    assert "T1ce 2 segmentation has no date" in problem(first, replace(second, date=""))
    assert "has no date" in problem(first, replace(second, date="soon"))
    assert "both from 2024-01-10" in problem(first, replace(second, date=first.date))
    assert "T1ce 1 is there for two visits" in problem(first, replace(second, scan=first.scan))
    assert "T1ce 1 segmentation is there for two" in problem(
        first, replace(second, segmentation=first.segmentation)
    )
    kept = nodes.keepVisits(scene, entry)
    assert "last visit cannot be the baseline" in problem(
        *kept.visits, baseline=kept.visits[-1].key
    )
    with monkeypatch.context() as patch:
        ids = {"T1ce 1": "A", "T1ce 2": "B", "T1ce 3": ""}
        place = "MISSUSegmentationLib.Scene.VisitChecks.patientOf"
        patch.setattr(place, lambda scan: ids[scan.GetName()])
        assert "T1ce 2 and T1ce 1 are of two patients" in problem(first, second)
        assert len(checkedVisits(replace(entry, visits=(first, third))).visits) == 2
    moved = np.eye(4)
    moved[0, 3] = 8
    transform = addTransform(moved, second.segmentation)
    assert "reaches beyond T1ce 2; choose the T1ce" in problem(first, second)
    second.scan.SetAndObserveTransformNodeID(transform.GetID())
    assert len(checkedVisits(entry).visits) == 3
    addTransform(np.diag([1.2, 1, 1, 1.0]), third.scan, third.segmentation)
    assert "T1ce 3 is under a transform that changes lengths" in problem(first, third)
    scene.RemoveNode(second.segmentation)
    assert "segmentation of T1ce 2 was deleted" in problem(first, nodes.keptVisits(scene).visits[1])
