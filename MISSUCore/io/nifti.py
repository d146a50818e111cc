"""NIfTI headers: what in them is not to be trusted, and where they say that the voxels are."""

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
_HEADER_BYTES = 352  # with the four bytes that announce extensions
_COMPLEX = (32, 1792, 2048)  # data types
MAXIMUM_OFFSET = 2**30  # beyond any header with extensions
_MM = {1: 1000.0, 2: 1.0, 3: 0.001}  # of the unit of space


@dataclass(frozen=True)
class NiftiHeader:
    """The fields of a NIfTI-1 header that ITK trusts, or hides (nifti1.h).

    Attributes:
        compressed: whether the file is compressed by gzip.
        single_file: whether the voxels follow in the same file.
        datatype: code of the voxels' type.
        vox_offset: byte at which the voxels begin.
        qform_code: not 0 if there is a qform.
        sform_code: not 0 if there is an sform.
        place: the numbers of qform, where there is one.
        srow: 3 x 4, from voxel indices to mm, right, front and up.
    """

    compressed: bool
    single_file: bool
    datatype: int
    vox_offset: float
    qform_code: int
    sform_code: int
    place: tuple[float, ...]
    srow: np.ndarray


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
        return None  # ITK says what is wrong with it
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
    return NiftiHeader(
        compressed,
        magic == b"n+1\0",
        int(numbers(70, "h")[0]),
        numbers(108, "f")[0],
        int(qform),
        int(sform),
        (*numbers(76, "4f"), *numbers(256, "6f")),
        np.reshape(numbers(280, "12f"), (3, 4)) * _MM.get(int(unit) & 7, 1.0),
    )


def check_header(path: Path) -> NiftiHeader | None:
    """Make sure that ITK reads the voxels of a NIfTI file rightly; other files are passed over.

    Returns:
        The header; None of another file.

    Raises:
        InputError: if it does not.
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
            ("sform", header.sform_code > 0, header.srow),
            ("qform", header.qform_code > 0, header.place),
        )
        if used and not np.isfinite(values).all()
    ]
    if broken:
        raise InputError(
            a_file(path),
            f": its header says no place in space, its {broken[0]} holds NaN or infinity; "
            "correct the header",
        )
    return header


def place_warnings(path: Path, header: NiftiHeader, image: sitk.Image) -> list[str]:
    """What is doubtful about the place of a scan.

    Where the two differ, ITK and Slicer mostly go by the qform, others (FSL, FreeSurfer, nibabel)
    by the sform: the scan lies elsewhere there, perhaps with left and right exchanged.

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
    if header.sform_code <= 0:
        return []
    rows = header.srow.copy()
    rows[:2] *= -1  # to the left and back, as ITK has it, instead of right and front
    corners = list(product(*((0, length - 1) for length in image.GetSize())))
    here = np.array([image.TransformIndexToPhysicalPoint(corner) for corner in corners])
    there = np.array(corners) @ rows[:, :3].T + rows[:, 3]
    apart_mm = np.linalg.norm(here - there, axis=1).max()
    if not math.isfinite(apart_mm) or apart_mm <= _SAME_MM:
        return []
    if header.qform_code <= 0:
        return [
            Text(
                a_file(path),
                f": Slicer shows it up to {apart_mm:.0f} mm away from where the sform of its "
                "header says it is; other programs may show the scan and the result elsewhere or "
                "mirrored",
            )
        ]
    return [
        Text(
            a_file(path),
            f": its header gives two places (qform and sform), up to {apart_mm:.0f} mm apart; "
            "the one that Slicer shows was taken, other programs may show the scan and the result "
            "elsewhere or mirrored",
        )
    ]
