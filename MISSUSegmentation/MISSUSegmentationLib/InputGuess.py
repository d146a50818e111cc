"""Which volume is which sequence? From names and DICOM attributes, as MISSUCore reads them."""

from __future__ import annotations

from collections.abc import Iterable

import slicer

from MISSUCore.imaging.modalities import DICOM_TAGS, Guess, assign, guess_sequence


def guessModalities(
    volumeNodes: Iterable[slicer.vtkMRMLScalarVolumeNode],
) -> dict[str, slicer.vtkMRMLScalarVolumeNode]:
    """Volumes by modality (t1, t1ce, t2, flair), only where one fits better than all others."""
    return assign(
        {
            node: guessOfVolume(node)
            for node in volumeNodes
            if not node.IsA("vtkMRMLLabelMapVolumeNode")
        }
    )


def guessOfVolume(node: slicer.vtkMRMLScalarVolumeNode) -> Guess:
    """What a volume's name and DICOM attributes say it is."""
    uids = node.GetAttribute("DICOM.instanceUIDs")
    database = getattr(slicer, "dicomDatabase", None)
    tags = {}
    if uids and database:
        first = uids.split()[0]
        tags = {keyword: database.instanceValue(first, tag) for keyword, tag in DICOM_TAGS.items()}
    return guess_sequence(node.GetName() or "", tags)
