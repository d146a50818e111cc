"""The four modalities, and the endings and DICOM attributes that scans are known by."""

from __future__ import annotations

import re

IMAGE_ENDING = re.compile(r"\.(nii\.gz|nii|nrrd|nhdr|mha|mhd)$", re.IGNORECASE)


BRATS_MODALITIES = ("t1", "t1ce", "t2", "flair")
# As users know them.
TITLES = {"t1": "T1", "t1ce": "T1ce", "t2": "T2", "flair": "FLAIR"}


# The first of these that is there stays where it is, and the others are moved to it: brain
# extraction knows T1 best.
FIXED_FIRST = ("t1", "t1ce", "flair", "t2")


# The DICOM attributes that tell the sequence of a scan, by keyword.
DICOM_TAGS = {
    "Modality": "0008,0060",
    "ImageType": "0008,0008",
    "SeriesDescription": "0008,103E",
    "ProtocolName": "0018,1030",
    "BodyPartExamined": "0018,0015",
    "ContrastBolusAgent": "0018,0010",
    "ScanningSequence": "0018,0020",
    "SequenceName": "0018,0024",
    "RepetitionTime": "0018,0080",
    "EchoTime": "0018,0081",
    "InversionTime": "0018,0082",
}
