"""Which volume is which sequence? From names and DICOM attributes, as MISSUCore reads them."""

from __future__ import annotations

from collections.abc import Iterable

import slicer

from MISSUCore.imaging.modalities import Guess, assign, guess_sequence

_TAGS = {
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
        tags = {keyword: database.instanceValue(first, tag) for keyword, tag in _TAGS.items()}
    return guess_sequence(node.GetName() or "", tags)
