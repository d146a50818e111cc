"""A small picture of a case: the axial slice where the tumor is largest, with its outlines."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from ..contract.labels import LabelScheme
from ..core.files import atomic_write
from .pictures import Drawing
from .templates import load_template

TEMPLATE = "thumbnail.svg"
PIXELS = 144  # along the patient's longest side


def write_thumbnail(path: Path, image: sitk.Image, labels: sitk.Image, scheme: LabelScheme) -> None:
    """Write a picture of a case as SVG: gray pixels and outlines as paths, some 15 kB in all.

    Args:
        path: SVG file to write; an existing file is replaced only by a complete picture.
        image: 3-D scan, with or without skull.
        labels: label map on any grid in the same space.
        scheme: what its values mean, and the colors.

    Raises:
        InputError: if there is nothing to draw, or the file cannot be written.
        ResourceError: if the disk is full.
    """
    row = Drawing.of({"": image}, labels, scheme, pixels=PIXELS).largest()
    picture = load_template(TEMPLATE).render(tile=row.tiles[0], row=row)
    with atomic_write(path) as temporary:
        temporary.write_text(picture, encoding="utf-8")
