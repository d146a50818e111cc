"""Lesion crops: blocks around lesions of additional patients, as a separate data set."""

from __future__ import annotations

import lzma
import math
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...contract.labels import LabelScheme, numbering_of
from ...core.errors import InputError
from ...core.files import sha256

# A file that unpacks to more than this would fill the memory.
MAXIMUM_BYTES = 8 * 2**30
LARGEST_INTENSITY = 1000.0  # of z-scores; beyond it lie intensities of another kind
_ARRAYS = ("volumes", "labels", "inside")
# What zipfile and NumPy raise for files that are damaged, encrypted or made up.
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)


class LesionCrops:
    """Lesion crops at the working spacing, in memory in half precision.

    Args:
        path: of an .npz file with ``volumes`` (N, modalities, X, Y, Z), each modality z-scored
            over the patient's brain and 0 outside; ``labels`` (N, X, Y, Z), and ``inside``
            (N, X, Y, Z), which is False beyond the ends of the scan. Axes (x, y, z) as LPS. Crops
            that are not wholly inside are left out.
        modalities: of the volumes, in their order.
        scheme: what the label values mean; BraTS in either numbering.
        crop_spacing_mm: of the crops (x, y, z).
        spacing_mm: wanted (depth, height, width).

    Raises:
        InputError: if the file cannot be read, or holds something else.
    """

    def __init__(
        self,
        path: Path,
        modalities: Sequence[str],
        scheme: LabelScheme,
        crop_spacing_mm: tuple[float, float, float],
        spacing_mm: tuple[float, float, float],
    ) -> None:
        volumes, labels, inside = _read(path, len(modalities))
        whole = inside.all(axis=(1, 2, 3))
        if not whole.any():
            raise InputError(f"{path}: no crop lies wholly inside its scan")
        numbering = numbering_of(np.unique(labels).tolist(), scheme)
        try:
            numbering.check(np.unique(labels).tolist())
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        size = [
            max(1, round(length * own / wanted))
            for length, own, wanted in zip(labels.shape[:0:-1], crop_spacing_mm[::-1], spacing_mm)
        ]
        self.sha256 = sha256(path)
        self.left_out = int((~whole).sum())
        self.crops = [
            (
                _resampled(volumes[index], size),
                _classes(labels[index], numbering, scheme, size),
            )
            for index in np.flatnonzero(whole)
        ]

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Volume (modalities, D, H, W) float16 and classes (D, H, W) uint8 of a crop."""
        return self.crops[index]


def _read(path: Path, modalities: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The three arrays of a file, checked for matching shapes and valid values."""
    try:
        with zipfile.ZipFile(path) as packed:
            unpacked = sum(part.file_size for part in packed.infolist())
            if unpacked > MAXIMUM_BYTES:
                much = f"unpacks to {unpacked / 2**30:.0f} GiB, which is too much"
                raise InputError(f"{path}: {much}")
            for name in {f"{name}.npy" for name in _ARRAYS} & set(packed.namelist()):
                with packed.open(name) as part:
                    _check_size(part, packed.getinfo(name).file_size)
        with np.load(path, allow_pickle=False) as arrays:
            missing = [name for name in _ARRAYS if name not in arrays]
            if missing:
                raise InputError(f"{path}: has no array {', '.join(missing)}")
            volumes, labels, inside = (arrays[name] for name in _ARRAYS)
    except _UNREADABLE as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read as lesion crops: {reason}") from error
    # NumPy returns an entry that is not an array as bytes.
    if not all(isinstance(array, np.ndarray) for array in (volumes, labels, inside)):
        raise InputError(f"{path}: cannot be read as lesion crops: a part of it is not an array")
    _check(path, modalities, volumes, labels, inside)
    return volumes, labels, inside


def _check_size(part: IO[bytes], there: int) -> None:
    """Check an array's header: NumPy allocates the size it claims, even if the file is shorter.

    Raises:
        ValueError: if the array is not whole, or of a version that NumPy does not write for arrays
            of numbers.
    """
    if part.peek(6)[:6] != np.lib.format.MAGIC_PREFIX:  # type: ignore[attr-defined]
        return  # not an array: NumPy returns its bytes
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    version = np.lib.format.read_magic(part)
    if version not in readers:
        raise ValueError(f"an array is of the unknown version {version}")
    shape, _, dtype = readers[version](part)
    if math.prod(shape) * dtype.itemsize > there:
        raise ValueError("an array is cut off: its header tells of more than there is")


def _check(
    path: Path,
    modalities: int,
    volumes: NDArray[Any],
    labels: NDArray[Any],
    inside: NDArray[Any],
) -> None:
    if volumes.dtype.kind != "f" or labels.dtype.kind not in "iu" or inside.dtype.kind != "b":
        raise InputError(
            f"{path}: volumes must be floating-point numbers, labels whole ones, and inside True "
            f"or False, not {volumes.dtype}, {labels.dtype} and {inside.dtype}"
        )
    fits = volumes.ndim == 5 and volumes.shape[2:] == labels.shape[1:] and min(volumes.shape) > 0
    if not fits or not len(volumes) == len(labels) or labels.shape != inside.shape:
        raise InputError(
            f"{path}: shapes of volumes (N, modalities, X, Y, Z), labels and inside (N, X, Y, Z) "
            f"do not fit: {volumes.shape}, {labels.shape}, {inside.shape}"
        )
    if volumes.shape[1] != modalities:
        raise InputError(
            f"{path}: the crops have {volumes.shape[1]} modalities, and the training {modalities}"
        )
    # One at a time: comparing all at once would take as much memory as the crops.
    for index, volume in enumerate(volumes):
        if not np.abs(volume, dtype=np.float32).max() <= LARGEST_INTENSITY:
            raise InputError(
                f"{path}: crop {index} has values that are not z-scores: not finite, or beyond "
                f"{LARGEST_INTENSITY:g}"
            )


def _resampled(volume: NDArray[Any], size: list[int]) -> Tensor:
    """A crop (modalities, X, Y, Z) as float16 (modalities, *size); the background stays 0."""
    x = torch.from_numpy(np.ascontiguousarray(volume.transpose(0, 3, 2, 1), dtype=np.float32))
    brain = (x != 0).float()
    # As in preprocessing: the background must not darken the brain's edge.
    x, weight = (F.interpolate(y[None], size, mode="trilinear")[0] for y in (x, brain))
    return torch.where(weight >= 0.5, x / weight.clamp(min=0.5), 0).half()


def _classes(
    labels: NDArray[Any], numbering: LabelScheme, scheme: LabelScheme, size: list[int]
) -> Tensor:
    """Class numbers (*size) of a label map (X, Y, Z): a region must fill half of a voxel."""
    masks = numbering.to_regions(np.ascontiguousarray(labels.transpose(2, 1, 0)))
    filled = F.interpolate(torch.from_numpy(masks.astype(np.float32))[None], size, mode="trilinear")
    return torch.from_numpy(scheme.to_classes(scheme.to_labels(filled[0].numpy() >= 0.5)))
