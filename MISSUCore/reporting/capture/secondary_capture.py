"""A picture as DICOM Secondary Capture (PS3.3, A.8.1), which every viewer shows.

It has no spacing and no position, since a picture of several slices must not be measured on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ... import __version__
from ..dicom_scan import DicomScan, highdicom, referring
from ..dicom_seg import NOTICE, SERIES_NUMBER
from ..planes import PLANES

if TYPE_CHECKING:
    from pydicom import Dataset

_AS_DICOM = {"I": "F", "S": "H"}  # DICOM's letters for feet and head


def write_secondary_capture(
    path: Path, scan: DicomScan, picture: NDArray[np.uint8], plane: str
) -> None:
    """Write a picture as an object of the scan's patient and study, in a series of its own.

    Args:
        path: file to write.
        scan: the series it is derived from, which gives patient and study.
        picture: (rows, columns, RGB).
        plane: name of the plane of its slices.

    Raises:
        InputError: if the headers of the scan break DICOM's rules.
        MISSUError: if highdicom is not installed.
    """
    hd = highdicom()
    with referring(scan, "picture"):
        _capture(hd, scan, picture, plane).save_as(path)


def _capture(hd: Any, scan: DicomScan, picture: NDArray[np.uint8], plane: str) -> Dataset:
    sides = next(each.sides for each in PLANES if each.name == plane)
    right, lower = (_AS_DICOM.get(sides[edge], sides[edge]) for edge in (1, 3))
    made = hd.sc.SCImage.from_ref_dataset(
        ref_dataset=scan.headers[0],
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=(right, lower),
        series_instance_uid=hd.UID(),
        series_number=SERIES_NUMBER + 2,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="MISSU",
        manufacturer_model_name="MISSU",
        software_versions=__version__,
        series_description="Brain tumor measurements, picture (MISSU)",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
    )
    made.ConversionType = "WSD"  # made on a workstation
    made.Laterality = ""  # a brain has none
    made.BurnedInAnnotation = "NO"  # nothing that identifies the patient
    made.DerivationDescription = NOTICE
    return made
