"""Fixtures for the tests of inference: a case that the bright model segments correctly."""

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
def write_scans(
    write_image: Callable[..., Path], scans: Callable[[Truth], dict[str, NDArray[np.float32]]]
) -> Callable[..., dict[str, Path]]:
    """Function that writes scans with a known answer, see ``scans``, with a geometry."""

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
