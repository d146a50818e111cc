"""The small picture of a case shows the slice with most of the tumor, and where it is."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from MISSUCore.contract.labels import BRATS
from MISSUCore.reporting.thumbnail import PIXELS, write_thumbnail

SVG = "{http://www.w3.org/2000/svg}"


def test_the_tumor_is_outlined_where_it_is(tmp_path: Path, make_image) -> None:
    voxels = np.full((20, 40, 30), 100.0, dtype=np.float32)
    voxels[5, 20, 3] = 90.0
    labels = np.zeros(voxels.shape, dtype=np.uint8)
    labels[12:14, 4:12, 20:26] = 2  # on the patient's left and in front
    labels[13, 4:14, 20:26] = 2  # the larger slice, 13 mm above the origin
    image, truth = (make_image(each, origin=(-15.0, -20.0, 0.0)) for each in (voxels, labels))
    write_thumbnail(tmp_path / "thumbnail.svg", image, truth, BRATS)
    root = ET.parse(tmp_path / "thumbnail.svg").getroot()  # noqa: S314
    assert root.find(f"{SVG}title").text == "Axial, S 13 mm"
    width, height = (int(root.get(name)) for name in ("width", "height"))
    assert max(width, height) == PIXELS and width < height
    (outline,) = root.iter(f"{SVG}path")
    numbers = [float(number) for number in re.findall(r"H([\d.]+)", outline.get("d"))]
    # Left of the patient is right in the picture; x from 5 to 11 mm of -15 to 15 mm, 8 mm around.
    pixel_mm = (40 + 16) / PIXELS
    assert abs(min(numbers) - (20 + 8) / pixel_mm) < 4
    assert abs(max(numbers) - (26 + 8) / pixel_mm) < 4
