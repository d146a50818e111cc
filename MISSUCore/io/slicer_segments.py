"""Segmentations as 3D Slicer saves them: ``.seg.nrrd``, segments in layers, with their tags.

Source: Slicer's documentation, "Segmentations", file format. Each segment has an ID, a layer
(component of a voxel), a label value there, and tags ``key:value`` separated by bars.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from ..contract.provenance.masks import Mask
from ..core.errors import InputError
from ..core.files import itk_name
from ..core.messages import a_file
from .reading import MAXIMUM_VOXELS
from .text_headers import check_text_header

ENDING = ".seg.nrrd"
MAXIMUM_SEGMENTS = 100


@dataclass(frozen=True)
class SlicerSegment:
    """A segment of a file.

    Attributes:
        mask: its voxels, on the file's grid.
        tags: by key.
    """

    mask: Mask
    tags: dict[str, str]


@dataclass(frozen=True)
class SlicerSegmentation:
    """The segments of a file by ID, and an image with their geometry."""

    segments: dict[str, SlicerSegment]
    image: sitk.Image


def read_slicer_segments(path: Path) -> SlicerSegmentation:
    """The segments in a file of 3D Slicer.

    Raises:
        InputError: if it cannot be read, or is something else.
    """
    check_text_header(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(itk_name(path))
    try:
        reader.ReadImageInformation()
        layers = reader.GetNumberOfComponents()
        if reader.GetDimension() != 3 or math.prod(reader.GetSize()) * layers > MAXIMUM_VOXELS:
            raise InputError(
                a_file(path), ": is not a segmentation of 3D Slicer, or absurdly large"
            )
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(a_file(path), ": cannot be read as a segmentation of 3D Slicer") from error
    voxels = sitk.GetArrayViewFromImage(image).reshape(*image.GetSize()[::-1], layers)
    segments = {}
    for number in range(MAXIMUM_SEGMENTS):
        about = {
            name: reader.GetMetaData(f"Segment{number}_{name}")
            for name in ("ID", "Layer", "LabelValue", "Tags")
            if reader.HasMetaDataKey(f"Segment{number}_{name}")
        }
        if "ID" not in about:
            break
        layer, value = (_whole(path, about.get(name, "")) for name in ("Layer", "LabelValue"))
        if layer >= layers:
            raise InputError(a_file(path), f": has no layer {layer} for segment {about['ID']!r}")
        segments[about["ID"]] = SlicerSegment(
            Mask.of(voxels[..., layer] == value), _tags(about.get("Tags", ""))
        )
    if not segments:
        raise InputError(a_file(path), ": has no segments; give a file that 3D Slicer has saved")
    return SlicerSegmentation(segments, image)


def _whole(path: Path, text: str) -> int:
    if not re.fullmatch(r"\s*\d{1,9}\s*", text):
        raise InputError(
            a_file(path), f": layer or label value {text[:40]!r} is not a whole number"
        )
    return int(text)


def _tags(text: str) -> dict[str, str]:
    pairs = (tag.partition(":") for tag in text.split("|"))
    return {key: value for key, colon, value in pairs if colon}
