"""A simulated patient: one head, scanned five times in five positions, with a known tumor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

SIZE, STEP_MM = (78, 92, 70), 2.0  # of the head's own grid
ET, EDEMA = 4, 2


@dataclass(frozen=True)
class Ball:
    """A lesion in the head's coordinate system."""

    center_mm: tuple[float, float, float]
    radius_mm: float


GROWS, SPLITS, NEW, VANISHES = (
    (-30.0, 20.0, 10.0),
    (30.0, 15.0, -8.0),
    (25.0, -40.0, 15.0),
    (
        -28.0,
        -38.0,
        -10.0,
    ),
)
LEFT, RIGHT = ((SPLITS[0], SPLITS[1] + shift, SPLITS[2]) for shift in (-9.0, 9.0))
# Lesion 1 shrinks, then grows. Lesion 2 consists of two balls that overlap until the third visit
# and then separate. One lesion appears at the third visit, and one disappears at the fourth.
RADII_MM = (10.0, 9.0, 8.0, 9.5, 12.0)
TUMOR: tuple[tuple[Ball, ...], ...] = tuple(
    (
        Ball(GROWS, radius),
        *(Ball(center, 9.5 if visit < 2 else 6.5) for center in (LEFT, RIGHT)),
        *([Ball(NEW, 7.0)] if visit >= 2 else []),
        *([Ball(VANISHES, 6.0)] if visit < 3 else []),
    )
    for visit, radius in enumerate(RADII_MM)
)


def head(seed: int) -> sitk.Image:
    """Scan of a head without tumor: an ellipsoid with folds that depend on the seed."""
    shape = SIZE[::-1]
    noise = np.random.default_rng(seed).normal(size=shape)
    folds = sum(ndimage.gaussian_filter(noise, width) * width**1.5 for width in (1.5, 3.0, 6.0))
    axes = np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij")
    inside = sum((axis * 1.12) ** 2 for axis in axes) < 1
    voxels = np.where(inside, 500 + 200 * folds, 0).clip(0)
    image = sitk.GetImageFromArray(voxels.astype(np.float32))
    image.SetSpacing((STEP_MM,) * 3)
    image.SetOrigin([-STEP_MM * (length - 1) / 2 for length in SIZE])
    return image


def scanned(image: sitk.Image, balls: Sequence[Ball], visit: int) -> tuple[sitk.Image, sitk.Image]:
    """Scan and label map of a visit; each visit has its own head position and grid."""
    pose = sitk.Euler3DTransform()
    turn = np.deg2rad(4.0) * visit
    pose.SetRotation(turn, -turn / 2, turn / 3)
    pose.SetTranslation((3.0 * visit, -2.0 * visit, 1.5 * visit))
    steps = np.array([1.6, 1.6, 1.6]) if visit % 2 == 0 else np.array([1.4, 1.4, 2.4])
    size = np.ceil(np.array(SIZE) * STEP_MM * 1.15 / steps).astype(int)
    grid = sitk.Image(size.tolist(), sitk.sitkFloat32)
    grid.SetSpacing(steps.tolist())
    grid.SetOrigin((-steps * (size - 1) / 2 + pose.GetTranslation()).tolist())
    # The inverse of the pose maps points of the visit's space to the head's coordinate system.
    back = pose.GetInverse()
    voxels = sitk.GetArrayFromImage(sitk.Resample(image, grid, back, sitk.sitkLinear))
    noise = np.random.default_rng(visit).normal(0, 15, voxels.shape)
    index = np.indices(voxels.shape).reshape(3, -1)[::-1].T * steps + grid.GetOrigin()
    rotation = np.array(back.GetMatrix()).reshape(3, 3)
    own = index @ rotation.T + np.array(back.TransformPoint((0.0, 0.0, 0.0)))
    labels = np.zeros(voxels.size, np.uint8)
    for value, margin_mm in ((EDEMA, 2.0), (ET, 0.0)):
        for ball in balls:
            distance = np.linalg.norm(own - ball.center_mm, axis=1)
            labels[distance <= ball.radius_mm + margin_mm] = value
    labels = labels.reshape(voxels.shape)
    bright = np.where(labels == ET, 1100.0, voxels) + np.where(voxels > 0, noise, 0)
    scan, segmentation = (
        sitk.GetImageFromArray(array) for array in (bright.astype(np.float32), labels)
    )
    for made in (scan, segmentation):
        made.CopyInformation(grid)
    return scan, segmentation


@pytest.fixture(scope="session")
def patient(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Path]]:
    """Segmentation and T1ce files of five visits; tests must not change them."""
    folder = tmp_path_factory.mktemp("patient")
    own = head(1)
    return [write_visit(folder, own, balls, visit) for visit, balls in enumerate(TUMOR)]


def write_visit(
    folder: Path, own: sitk.Image, balls: Sequence[Ball], visit: int
) -> tuple[Path, Path]:
    """Write segmentation and T1ce of a visit to files; returns their paths."""
    scan, segmentation = scanned(own, balls, visit)
    paths = folder / f"seg{visit}.nii.gz", folder / f"t1ce{visit}.nii.gz"
    for image, path in zip((segmentation, scan), paths):
        sitk.WriteImage(image, str(path), useCompression=True)
    return paths


@dataclass(frozen=True)
class Simulation:
    """The ground truth of the simulated patient, and functions to make more visits."""

    tumor: tuple[tuple[Ball, ...], ...]
    radii_mm: tuple[float, ...]
    grows_at_mm: tuple[float, float, float]
    write_visit: Callable[..., tuple[Path, Path]]
    head: Callable[[int], sitk.Image]


@pytest.fixture(scope="session")
def simulation() -> Simulation:
    """The ground truth of :func:`patient`."""
    return Simulation(TUMOR, RADII_MM, GROWS, write_visit, head)
