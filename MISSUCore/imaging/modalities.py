"""Which sequence is this? Names of modalities, and the habits of file names.

Loads without torch and SimpleITK, so that the Slicer module can use it.
"""

from __future__ import annotations

import re

# How each modality is written at the end of a file name, in BraTS 2012 to 2023 and by hand.
_SUFFIXES = {
    "t1": ("t1", "t1n"),
    "t1ce": ("t1ce", "t1c", "t1gd"),
    "t2": ("t2", "t2w"),
    "flair": ("flair", "t2f", "fla"),
    "segmentation": ("seg", "label", "labels"),
}
IMAGE_ENDING = re.compile(r"\.(nii\.gz|nii|nrrd|nhdr|mha|mhd)$", re.IGNORECASE)

BRATS_MODALITIES = ("t1", "t1ce", "t2", "flair")
CHAOS_MODALITIES = ("t1", "t2")


def modality_of_file_name(file_name: str) -> str | None:
    """``"t1"``, ``"t1ce"``, ``"t2"``, ``"flair"``, ``"segmentation"``, or None if it does not say.

    The last part of the name decides: ``BraTS-GLI-00012-000-t1c.nii.gz`` is a T1ce.
    """
    stem, endings = IMAGE_ENDING.subn("", file_name)
    if not endings:
        return None
    last = re.split(r"[-_. ]", stem.lower())[-1]
    for modality, suffixes in _SUFFIXES.items():
        if last in suffixes:
            return modality
    return None
