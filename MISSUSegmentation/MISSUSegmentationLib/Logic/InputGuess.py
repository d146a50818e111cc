"""Which volume is which sequence? From names, DICOM attributes and images, as MISSUCore does it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import slicer

from MISSUCore.contract.modalities import DICOM_TAGS
from MISSUCore.core.errors import InputError
from MISSUCore.sequences.rules import Guess, assign, contrast_told_apart, guess_sequence

from ..Core.Errors import ExchangeError
from ..Scene.SceneExchange import writeVolume

if TYPE_CHECKING:
    import SimpleITK as sitk

Guesses = dict[slicer.vtkMRMLScalarVolumeNode, Guess]


def guessModalities(
    volumeNodes: Iterable[slicer.vtkMRMLScalarVolumeNode],
) -> dict[str, slicer.vtkMRMLScalarVolumeNode]:
    """Volumes by modality (t1, t1ce, t2, flair), only where one fits better than all others."""
    return assign(guessesOf(volumeNodes))


def guessesOf(volumeNodes: Iterable[slicer.vtkMRMLScalarVolumeNode]) -> Guesses:
    """What each volume's name and DICOM attributes say it is; label maps are passed over."""
    return contrast_told_apart(
        {node: _guessOf(node) for node in volumeNodes if not node.IsA("vtkMRMLLabelMapVolumeNode")}
    )


def withImages(guesses: Guesses) -> Guesses:
    """The guesses, those that know nothing replaced by what the images look like; takes seconds."""
    from MISSUCore.sequences import appearance  # takes SimpleITK and scipy, which are slow to load

    return appearance.with_images(guesses, _image)


def _guessOf(node: slicer.vtkMRMLScalarVolumeNode) -> Guess:
    uids = node.GetAttribute("DICOM.instanceUIDs")
    database = getattr(slicer, "dicomDatabase", None)
    tags = {}
    if uids and database:
        first = uids.split()[0]
        tags = {keyword: database.instanceValue(first, tag) for keyword, tag in DICOM_TAGS.items()}
    return guess_sequence(node.GetName() or "", tags)


def _image(node: slicer.vtkMRMLScalarVolumeNode) -> sitk.Image:
    """The image of a volume, read from a file, so that it is checked like any other.

    Raises:
        InputError: if it is no scan.
    """
    from MISSUCore.io.reading import read_image

    if node.GetImageData() is None:
        raise InputError(f"{node.GetName()} has no voxels")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "volume.nrrd")
        try:
            writeVolume(node, path, node.GetName())
        except ExchangeError as error:
            raise InputError(str(error)) from error
        return read_image(path)
