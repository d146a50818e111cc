"""Fixtures for the tests of the library: images on any grid, DICOM, directions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from numpy.typing import ArrayLike, NDArray


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    # With tensors this small, threads would mostly wait for each other.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make_image() -> Callable[..., sitk.Image]:
    """Function that makes an image from voxels (D, H, W) and geometry (x, y, z)."""

    def make(
        voxels: ArrayLike,
        spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
        origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
        direction: ArrayLike | None = None,
    ) -> sitk.Image:
        image = sitk.GetImageFromArray(np.asarray(voxels))
        image.SetSpacing(spacing)
        image.SetOrigin(origin)
        if direction is not None:
            image.SetDirection(np.asarray(direction, dtype=float).ravel().tolist())
        return image

    return make


@pytest.fixture
def write_image(tmp_path: Path, make_image: Callable[..., sitk.Image]) -> Callable[..., Path]:
    """Function that writes voxels with a geometry to a file in the test's folder."""

    def write(name: str, voxels: ArrayLike, **geometry: object) -> Path:
        path = tmp_path / name
        sitk.WriteImage(make_image(voxels, **geometry), str(path), useCompression=True)
        return path

    return write


@pytest.fixture
def truth() -> NDArray[np.uint8]:
    """Label map with nested boxes, off-center and with a different length along each axis."""
    labels = np.zeros((20, 24, 28), dtype=np.uint8)
    labels[3:13, 11:20, 4:16] = 2
    labels[5:11, 13:19, 6:14] = 1
    labels[6:11, 13:18, 7:12] = 4
    return labels


@pytest.fixture
def scans() -> Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]]:
    """Function that makes scans from a label map: the bright model finds its regions in them."""

    def make(labels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        brain = np.random.default_rng(0).normal(100, 2, (4, *labels.shape))
        bright = [np.zeros_like(labels), labels == 4, np.isin(labels, (1, 4)), labels > 0]
        voxels = (brain + 100 * np.array(bright)).astype(np.float32)
        return dict(zip(("t1", "t1ce", "t2", "flair"), voxels))

    return make


@pytest.fixture
def write_bids(tmp_path: Path, make_image: Callable[..., sitk.Image]) -> Callable[..., Path]:
    """Function that writes a raw BIDS dataset to the folder ``raw`` of the test.

    A scan is given by the spacing of its voxels in mm, a JSON file by its content, any other file
    by its text. Scans are balls in noise, 12 voxels along each axis.
    """

    def write(files: Mapping[str, object]) -> Path:
        description = {"Name": "Tumors", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
        for seed, (name, content) in enumerate(
            {"dataset_description.json": description, **files}.items()
        ):
            path = tmp_path / "raw" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith(".json"):
                path.write_text(json.dumps(content), encoding="utf-8")
            elif isinstance(content, str):
                path.write_text(content, encoding="utf-8")
            else:
                voxels = np.random.default_rng(seed).normal(100, 5, (12, 12, 12))
                voxels[4:8, 4:8, 4:8] += 60
                image = make_image(voxels.astype(np.float32), np.broadcast_to(content, 3).tolist())
                sitk.WriteImage(image, str(path), useCompression=True)
        return tmp_path / "raw"

    return write


@pytest.fixture
def write_dicom(tmp_path: Path) -> Callable[..., Path]:
    """Function that writes voxels (D, H, W) with a geometry as DICOM series to a folder."""

    def write(
        name: str,
        voxels: NDArray[np.int16],
        spacing: tuple[float, float, float] = (0.9, 1.1, 3.0),
        origin: tuple[float, float, float] = (-20.0, 15.0, 7.0),
        direction: NDArray[np.float64] | None = None,
        series: int = 1,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        axes = np.eye(3) if direction is None else direction
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        for index, pixels in enumerate(voxels):
            image = sitk.GetImageFromArray(pixels, isVector=pixels.ndim == 3)
            image.SetSpacing(spacing[:2])
            place = np.array(origin) + axes[:, 2] * spacing[2] * index
            tags = {
                "0008|0016": "1.2.840.10008.5.1.4.1.1.4",  # MR Image Storage
                "0008|0018": f"1.2.826.0.1.3680043.2.1125.{series}.{index + 1}",
                "0008|0060": "MR",
                "0018|0050": f"{spacing[2]}",
                "0020|000d": "1.2.826.0.1.3680043.2.1125",
                "0020|000e": f"1.2.826.0.1.3680043.2.1125.{series}",
                "0020|0013": f"{index + 1}",
                "0020|0052": "1.2.826.0.1.3680043.2.1125.7",
                "0020|0032": "\\".join(f"{part:.8f}" for part in place),
                "0020|0037": "\\".join(f"{part:.10f}" for part in axes[:, :2].T.ravel()),
            }
            for tag, value in tags.items():
                image.SetMetaData(tag, value)
            writer.SetFileName(str(folder / f"{series}-{index:03d}.dcm"))
            writer.Execute(image)
        return folder

    return write


def rotation(degrees: float, axis: ArrayLike) -> NDArray[np.float64]:
    """Rotation matrix around an axis (Rodrigues' formula)."""
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.deg2rad(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


DIRECTIONS = {
    "LPS": np.eye(3),
    "RAS": np.diag([-1.0, -1.0, 1.0]),
    "sagittal": np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]),
    "left-handed": np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]),
    "oblique": rotation(30.0, (1.0, 2.0, 3.0)),
}


@pytest.fixture(params=list(DIRECTIONS))
def direction(request: pytest.FixtureRequest) -> NDArray[np.float64]:
    """Direction matrices of images: along the patient's axes, permuted, mirrored, oblique."""
    return DIRECTIONS[request.param]
