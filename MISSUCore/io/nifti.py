"""NIfTI headers: checks of their fields, and of the voxel positions that they give."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..core.errors import InputError
from ..core.messages import Text, a_file

_SAME_MM = 1.0
_HEADER_BYTES = 352  # including the four bytes that announce extensions
_COMPLEX = (32, 1792, 2048)  # data types
MAXIMUM_OFFSET = 2**30  # beyond any header with extensions
_MM = {1: 1000.0, 2: 1.0, 3: 0.001}  # by code of the spatial unit
_SCANNER = 1  # sform_code or qform_code of scanner coordinates
_SAME_SPACING = 0.01  # relative tolerance, as headers round


@dataclass(frozen=True)
class NiftiHeader:
    """The fields of a NIfTI-1 header (nifti1.h) that ITK trusts or does not expose.

    Attributes:
        compressed: whether the file is compressed by gzip.
        single_file: whether header and voxels are in the same file.
        datatype: code of the voxels' type.
        vox_offset: byte at which the voxels begin.
        qform_code: above 0 if there is a qform.
        sform_code: above 0 if there is an sform.
        spacing_mm: of the voxels, from pixdim; the qform uses it, too.
        qform: affine (3, 4) from voxel indices to mm (RAS), if there is a qform.
        sform: affine (3, 4) from voxel indices to mm (RAS), if there is an sform.
    """

    compressed: bool
    single_file: bool
    datatype: int
    vox_offset: float
    qform_code: int
    sform_code: int
    spacing_mm: np.ndarray
    qform: np.ndarray
    sform: np.ndarray

    @property
    def uses_sform(self) -> bool:
        """Whether ITK takes the position from the sform."""
        return self.sform_code == _SCANNER or (self.sform_code > 0 >= self.qform_code)


def read_nifti_header(path: Path) -> NiftiHeader | None:
    """The header of a NIfTI-1 file; None if the file is something else.

    Raises:
        InputError: if it is NIfTI-2.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(_HEADER_BYTES)
        compressed = raw[:2] == b"\x1f\x8b"
        if compressed:
            with gzip.open(path) as inner:
                raw = inner.read(_HEADER_BYTES)
    except (OSError, EOFError, zlib.error):
        return None  # ITK reports what is wrong with it
    if raw[4:8] in (b"n+2\0", b"ni2\0"):
        raise InputError(
            a_file(path), ": is NIfTI-2, which is not supported; convert it to NIfTI-1"
        )
    magic = raw[344:348]
    if magic not in (b"n+1\0", b"ni1\0"):
        return None
    order = "<" if raw[:4] == struct.pack("<i", 348) else ">"

    def numbers(at: int, kinds: str) -> tuple[float, ...]:
        return struct.unpack_from(order + kinds, raw, at)

    qform, sform = numbers(252, "hh")
    (unit,) = numbers(123, "b")
    mm = _MM.get(int(unit) & 7, 1.0)
    qfac, *pixdim = numbers(76, "4f")
    spacing_mm = np.array(pixdim) * mm
    return NiftiHeader(
        compressed,
        magic == b"n+1\0",
        int(numbers(70, "h")[0]),
        numbers(108, "f")[0],
        int(qform),
        int(sform),
        spacing_mm,
        _qform(spacing_mm, -1.0 if qfac < 0 else 1.0, numbers(256, "6f"), mm),
        np.reshape(numbers(280, "12f"), (3, 4)) * mm,
    )


def _qform(
    spacing_mm: np.ndarray, qfac: float, numbers: tuple[float, ...], mm: float
) -> np.ndarray:
    """Affine (3, 4) of a qform; ``numbers`` are quaternion b, c, d and the first voxel's place."""
    b, c, d = numbers[:3]
    a = max(0.0, 1.0 - b * b - c * c - d * d) ** 0.5
    axes = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    with np.errstate(invalid="ignore"):  # check_header reports NaN and infinity
        steps = axes * spacing_mm * (1.0, 1.0, qfac)
    return np.column_stack([steps, np.array(numbers[3:]) * mm])


def check_header(path: Path) -> NiftiHeader | None:
    """Check that ITK reads the voxels of a NIfTI file correctly; other files are skipped.

    Returns:
        The header; None for another file.

    Raises:
        InputError: if ITK would misread them.
    """
    header = read_nifti_header(path)
    if header is None:
        return None
    if header.compressed and path.suffix.lower() == ".nii":
        raise InputError(a_file(path), ": is gzip-compressed; name it .nii.gz")
    if header.datatype in _COMPLEX:
        raise InputError(a_file(path), ": holds complex numbers; give the magnitude image")
    offset = header.vox_offset
    possible = _HEADER_BYTES <= offset <= MAXIMUM_OFFSET and offset == int(offset)
    if header.single_file and not possible:
        where = ", within the header" if 0 <= offset < _HEADER_BYTES else ", which cannot be"
        raise InputError(
            a_file(path),
            f": its header says that the voxels begin at byte {offset:g}{where}; correct "
            f"vox_offset, which mostly is {_HEADER_BYTES}",
        )
    broken = [
        name
        for name, used, values in (
            ("sform", header.sform_code > 0, header.sform),
            ("qform", header.qform_code > 0, header.qform),
        )
        if used and not np.isfinite(values).all()
    ]
    if broken:
        raise InputError(
            a_file(path),
            f": its header says no place in space, its {broken[0]} holds NaN or infinity; "
            "correct the header",
        )
    _check_spacing(path, header)
    return header


def _check_spacing(path: Path, header: NiftiHeader) -> None:
    """Check that the header gives one voxel size, without contradiction.

    ITK takes 1 mm for a spacing of 0, and flips an axis if its spacing is negative. The columns of
    an sform have lengths of their own, which other programs use as voxel size, but not ITK.
    """
    if not all(step > 0 for step in header.spacing_mm):
        raise InputError(
            a_file(path),
            f": its header says a voxel spacing of {_sizes(header.spacing_mm)} mm (pixdim), which "
            "cannot be; correct the header",
        )
    lengths_mm = _lengths(header.sform)
    if header.uses_sform and not _agree(lengths_mm, header.spacing_mm):
        raise InputError(
            a_file(path),
            f": its header gives two voxel sizes, {_sizes(header.spacing_mm)} mm (pixdim) and "
            f"{_sizes(lengths_mm)} mm (sform); correct the one that is wrong",
        )


def _lengths(rows: np.ndarray) -> np.ndarray:
    return np.linalg.norm(rows[:, :3], axis=0)


def _agree(lengths: np.ndarray, others: np.ndarray) -> bool:
    return np.allclose(lengths, others, rtol=_SAME_SPACING, atol=0)


def _sizes(lengths: np.ndarray) -> str:
    return " x ".join(f"{length:.4g}" for length in lengths)


def place_warnings(path: Path, header: NiftiHeader, image: sitk.Image) -> list[str]:
    """Warnings about the position of a scan.

    Where sform and qform differ, ITK and Slicer use the sform if its code is 1, else the qform.
    FSL, FreeSurfer and nibabel use the sform, AFNI the qform: the scan may lie elsewhere there,
    perhaps with left and right exchanged.

    Args:
        path: of the file.
        header: of the file.
        image: the 3-D image that was read from it.
    """
    if header.sform_code <= 0 and header.qform_code <= 0:
        return [
            Text(
                a_file(path),
                ": its header does not say where the patient's left is (sform and qform are "
                "not set); check the side of the result",
            )
        ]
    codes = (header.qform_code, header.qform), (header.sform_code, header.sform)
    apart_mm = max(_apart_mm(image, rows) for code, rows in codes if code > 0)
    if not math.isfinite(apart_mm) or apart_mm <= _SAME_MM:
        return []
    if header.qform_code <= 0 or header.sform_code <= 0:
        only = "qform" if header.sform_code <= 0 else "sform"
        return [
            Text(
                a_file(path),
                f": Slicer shows it up to {apart_mm:.0f} mm away from where the {only} of its "
                "header says it is; other programs may show the scan and the result elsewhere or "
                "mirrored",
            )
        ]
    sizes = "" if _agree(_lengths(header.sform), header.spacing_mm) else "and two voxel sizes "
    return [
        Text(
            a_file(path),
            f": its header gives two places {sizes}(qform and sform), up to {apart_mm:.0f} mm "
            "apart; what Slicer shows was taken, other programs may show the scan and the result "
            "elsewhere or mirrored",
        )
    ]


def _apart_mm(image: sitk.Image, rows: np.ndarray) -> float:
    """Largest distance in mm between the image's corners and their places by a header's affine."""
    turned = rows * np.array([[-1], [-1], [1]])  # from RAS to LPS, as in ITK
    corners = list(product(*((0, length - 1) for length in image.GetSize())))
    here = np.array([image.TransformIndexToPhysicalPoint(corner) for corner in corners])
    there = np.array(corners) @ turned[:, :3].T + turned[:, 3]
    return float(np.linalg.norm(here - there, axis=1).max())
