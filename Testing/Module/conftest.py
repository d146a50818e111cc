"""Fixtures for the tests of the module: a real MRML scene without the Slicer application."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty vtkMRMLScene, set up as Slicer's own scripts expect it."""
    slicer = pytest.importorskip("slicer", reason="needs the package slicer-core")
    scene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLScene(scene)
    slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(scene)
    modules = SimpleNamespace(segmentations=SimpleNamespace(logic=lambda: logic))
    monkeypatch.setattr(slicer, "mrmlScene", scene, raising=False)
    monkeypatch.setattr(slicer, "modules", modules, raising=False)
    yield scene
    scene.Clear(True)


def ijkToRas(
    direction: ArrayLike | None = None,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> NDArray[np.float64]:
    """IJK to RAS matrix of a grid; direction and origin are in RAS."""
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) if direction is None else np.asarray(direction)) @ np.diag(spacing)
    matrix[:3, 3] = origin
    return matrix


@pytest.fixture
def addVolume(scene: Any) -> Callable[..., Any]:
    """Function that adds a volume of voxels (k, j, i) with a grid (see ijkToRas) to the scene."""
    import slicer

    def add(name: str, voxels: ArrayLike, matrix: ArrayLike | None = None, **geometry: Any) -> Any:
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        slicer.util.updateVolumeFromArray(node, np.asarray(voxels))
        grid = ijkToRas(**geometry) if matrix is None else np.asarray(matrix)
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(grid))
        return node

    return add


@pytest.fixture
def addTransform(scene: Any) -> Callable[..., Any]:
    """Function that adds a linear transform to the scene, and puts a node under it."""
    import slicer

    def add(matrix: ArrayLike, *nodes: Any) -> Any:
        transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.asarray(matrix)))
        for node in nodes:
            node.SetAndObserveTransformNodeID(transform.GetID())
        return transform

    return add
