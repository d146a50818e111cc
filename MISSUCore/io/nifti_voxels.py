"""The voxels of a NIfTI file as stored, to find missing voxels and those that are no numbers.

ITK reads a truncated file without an error, with arbitrary values in the missing voxels, and turns
what is not a number into 0.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.files import itk_name
from ..core.messages import a_file
from .nifti import MAXIMUM_OFFSET

_FLOATS = {"16": "f4", "64": "f8"}  # data types by their NIfTI code


def stored_floats(path: Path, reader: sitk.ImageFileReader) -> NDArray[np.floating] | None:
    """All voxels of a NIfTI file of floats as stored, in a flat array; None for any other file.

    Args:
        path: of the file.
        reader: that has read its header.

    Raises:
        InputError: if a NIfTI file of any data type is cut off, or its compression is damaged.
    """
    # The format, not the metadata, decides: images converted from NIfTI keep its header fields.
    if reader.GetImageIOFromFileName(itk_name(path)) != "NiftiImageIO":
        return None
    told = float(_header(reader, "vox_offset") or 0)
    if not told:
        return None  # the file holds only the header
    if not 4 <= told <= MAXIMUM_OFFSET:  # as in Analyze, whose header is not checked
        raise InputError(f"{path}: its header says that the voxels begin at byte {told:g}")
    offset = int(told)
    length = math.prod(reader.GetSize()) * int(_header(reader, "bitpix")) // 8
    try:
        with path.open("rb") as stream:
            compressed = stream.read(2) == b"\x1f\x8b"
        with gzip.open(path) if compressed else path.open("rb") as stream:
            little = int.from_bytes(stream.read(4), "little") in (348, 540)  # size of the header
            stream.read(offset - 4)
            voxels = stream.read(length)
            while stream.read(1 << 20):
                pass  # read to the end, where gzip checks the checksum
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(a_file(path), f": is damaged or cut off: {error}") from error
    if len(voxels) < length:
        raise InputError(a_file(path), f": is cut off, {length - len(voxels)} bytes are missing")
    kind = _FLOATS.get(_header(reader, "datatype"))
    order = "<" if little else ">"
    return np.frombuffer(voxels, f"{order}{kind}") if kind else None


def _header(reader: sitk.ImageFileReader, key: str) -> str:
    return reader.GetMetaData(key) if reader.HasMetaDataKey(key) else ""
