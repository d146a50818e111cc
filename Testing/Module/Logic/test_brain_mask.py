"""Skulls taken off by the extension HDBrainExtraction, behind one with the same signature.

The stand-in follows HDBrainExtractionTool.py of github.com/lassoan/SlicerHDBrainExtraction in what
it does with nodes and files; what is brighter than 50 is brain.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import ArrayLike

slicer = pytest.importorskip("slicer", reason="needs the package slicer-core")
from MISSUSegmentationLib.Core.Errors import ExchangeError
from MISSUSegmentationLib.Logic import SegmentationLogic as logicModule
from MISSUSegmentationLib.Logic.BrainMask import hdBetIsInstalled, hdBetMask
from MISSUSegmentationLib.Logic.Segmentation import writeCase
from MISSUSegmentationLib.Logic.SegmentationLogic import (
    SegmentationError,
    SegmentationLogic,
    SegmentationSettings,
)
from MISSUSegmentationLib.Scene.SceneExchange import writeVolumes

ROTATION = np.array([[0.8, -0.36, 0.48], [0.6, 0.48, -0.64], [0.0, 0.8, 0.6]])
SHAPE = (9, 20, 24)


class HDBrainExtractionToolLogic:
    """What the extension does, with a threshold in place of its network."""

    folder = Path()
    isSetUp = False

    def setupPythonRequirements(self) -> None:
        type(self).isSetUp = True

    def process(
        self, inputVolume: Any, outputVolume: Any, outputSegmentation: Any, device: Any = None
    ) -> None:
        assert self.isSetUp
        assert outputVolume is None
        assert outputSegmentation.GetScene() is slicer.mrmlScene
        file = self.folder / "hdbet-input.nii.gz"
        volumeStorageNode = slicer.mrmlScene.CreateNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
        volumeStorageNode.SetFileName(str(file))
        volumeStorageNode.WriteData(inputVolume)
        volumeStorageNode.UnRegister(None)
        mask = self.folder / "hdbet-output_mask.nii.gz"
        sitk.WriteImage(sitk.Cast(sitk.ReadImage(str(file)) > 50, sitk.sitkInt64), str(mask))
        storageNode = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentationStorageNode")
        storageNode.SetFileName(str(mask))
        storageNode.ReadData(outputSegmentation)
        storageNode.UnRegister(None)


@pytest.fixture
def extension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type:
    """The extension, installed."""
    module = ModuleType("HDBrainExtractionTool")
    module.__spec__ = ModuleSpec("HDBrainExtractionTool", None)
    folder = tmp_path / "hdbet"
    folder.mkdir()
    logic = type("Logic", (HDBrainExtractionToolLogic,), {"folder": folder})
    module.HDBrainExtractionToolLogic = logic
    monkeypatch.setitem(sys.modules, "HDBrainExtractionTool", module)
    return logic


@pytest.fixture
def case(addVolume: Callable[..., Any], addTransform: Callable[..., Any]) -> dict[str, Any]:
    """An oblique, anisotropic T1 under a transform of its own, and a T1ce elsewhere."""
    voxels = np.random.default_rng(0).uniform(0, 100, SHAPE).astype(np.float32)
    t1 = addVolume("T1", voxels, direction=ROTATION, spacing=(0.9, 1.1, 4.0), origin=(5, -8, 2))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = ROTATION.T, (10, 20, -30)
    addTransform(matrix, t1)
    return {"t1": t1, "t1ce": addVolume("T1ce", np.ones((5, 5, 5)))}


def grid(image: sitk.Image) -> ArrayLike:
    return [*image.GetSize(), *image.GetSpacing(), *image.GetOrigin(), *image.GetDirection()]


@pytest.mark.usefixtures("extension")
def test_the_brain_is_written_on_the_grid_of_t1_as_it_is_written(
    case: dict[str, Any], scene: Any, tmp_path: Path
) -> None:
    assert hdBetIsInstalled()
    nodes = scene.GetNumberOfNodes()
    mask = hdBetMask(case)
    assert scene.GetNumberOfNodes() == nodes
    run = SimpleNamespace(folder=tmp_path, names={}, report=lambda *_: None)
    scans = writeCase(run, case, SegmentationSettings(brainExtraction="hdbet"), mask).scans
    assert scans.preprocessing.brain_extraction
    image, scan = sitk.ReadImage(str(scans.brain_mask)), sitk.ReadImage(str(tmp_path / "t1.nrrd"))
    np.testing.assert_allclose(grid(image), grid(scan), atol=1e-9)
    expected = slicer.util.arrayFromVolume(case["t1"]) > 50
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image) != 0, expected)


@pytest.mark.usefixtures("extension")
def test_without_t1_the_first_scan_there_is_shows_the_brain(
    case: dict[str, Any], addVolume: Callable[..., Any], tmp_path: Path
) -> None:
    volumes = {"t2": addVolume("T2", np.full(SHAPE, 60.0)), "flair": case["t1"]}
    assert (
        slicer.util.arrayFromVolume(hdBetMask(volumes)).sum()
        == (slicer.util.arrayFromVolume(case["t1"]) > 50).sum()
    )
    assert writeVolumes(volumes, tmp_path)


def test_what_the_extension_cannot_do_is_told_before_anything_starts(
    case: dict[str, Any], extension: type, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SegmentationSettings(brainExtraction="hdbet")
    monkeypatch.setattr(logicModule, "CoreRun", None)  # would be called by a run
    nodes = scene.GetNumberOfNodes()
    slicer.util.updateVolumeFromArray(case["t1"], np.zeros(SHAPE))
    with pytest.raises(SegmentationError, match=r"HD-BET .* T1.* choose another skull stripping"):
        SegmentationLogic().segment(**case, settings=settings)

    def fail(self: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(extension, "setupPythonRequirements", fail)
    with pytest.raises(SegmentationError, match=r"HD-BET failed on T1 \(no network\)"):
        SegmentationLogic().segment(**case, settings=settings)
    assert scene.GetNumberOfNodes() == nodes


def test_a_scan_that_was_deleted_while_hd_bet_worked_is_told(
    case: dict[str, Any], extension: type, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logicModule, "CoreRun", None)  # would be called by a run
    # It installs what it needs, and Slicer goes on meanwhile.
    setUp = extension.setupPythonRequirements

    def deleteT1ce(self: Any) -> None:
        setUp(self)
        scene.RemoveNode(case["t1ce"])

    monkeypatch.setattr(extension, "setupPythonRequirements", deleteT1ce)
    with pytest.raises(SegmentationError, match="T1ce is no longer in the scene"):
        SegmentationLogic().segment(**case, settings=SegmentationSettings(brainExtraction="hdbet"))


def test_a_missing_extension_is_told(case: dict[str, Any]) -> None:
    assert not hdBetIsInstalled()
    with pytest.raises(ExchangeError, match=r"HDBrainExtraction is missing.*Extensions Manager"):
        hdBetMask(case)


def test_other_ways_than_these_are_refused() -> None:
    with pytest.raises(ValueError, match="auto, hdbet, never"):
        SegmentationSettings(brainExtraction="HD-BET")
