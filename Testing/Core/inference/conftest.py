"""Shared by the tests of the inference: a case whose answer the bright model knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

Truth = NDArray[np.uint8]
ORIGIN = (-31.0, 42.5, 17.25)


@pytest.fixture
def truth() -> Truth:
    """Label map with nested boxes, off the middle and of another length along every axis."""
    labels = np.zeros((20, 24, 28), dtype=np.uint8)
    labels[3:13, 11:20, 4:16] = 2
    labels[5:11, 13:19, 6:14] = 1
    labels[6:11, 13:18, 7:12] = 4
    return labels


@pytest.fixture
def scans() -> Callable[[Truth], dict[str, NDArray[np.float32]]]:
    """Function to scans in which each region is bright where the bright model looks for it."""

    def make(labels: Truth) -> dict[str, NDArray[np.float32]]:
        brain = np.random.default_rng(0).normal(100, 2, (4, *labels.shape))
        bright = [np.zeros_like(labels), labels == 4, np.isin(labels, (1, 4)), labels > 0]
        voxels = (brain + 100 * np.array(bright)).astype(np.float32)
        return dict(zip(("t1", "t1ce", "t2", "flair"), voxels))

    return make


@pytest.fixture
def write_scans(
    write_image: Callable[..., Path], scans: Callable[[Truth], dict[str, NDArray[np.float32]]]
) -> Callable[..., dict[str, Path]]:
    """Function that writes such scans with a geometry."""

    def write(labels: Truth, ending: str = "nii.gz", **geometry: Any) -> dict[str, Path]:
        return {
            name: write_image(f"{name}.{ending}", voxels, **geometry)
            for name, voxels in scans(labels).items()
        }

    return write


@pytest.fixture
def paths(write_scans: Callable[..., dict[str, Path]], truth: Truth) -> dict[str, Path]:
    """Scans in files, at 1 mm along the patient's axes."""
    return write_scans(truth, origin=ORIGIN)


@pytest.fixture
def same_grid() -> Callable[[sitk.Image, sitk.Image, float], None]:
    """Function that asserts that two images have the same grid, within a tolerance."""

    def check(found: sitk.Image, reference: sitk.Image, tolerance: float) -> None:
        assert found.GetSize() == reference.GetSize()
        for part in ("Spacing", "Origin", "Direction"):
            np.testing.assert_allclose(
                getattr(found, f"Get{part}")(), getattr(reference, f"Get{part}")(), atol=tolerance
            )

    return check
