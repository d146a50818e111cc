"""Guesses which volume is which sequence from names, DICOM attributes and images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import slicer

from MISSUCore.contract.modalities import DICOM_TAGS
from MISSUCore.contract.naming.rules import (
    Guess,
    assign,
    contrast_told_apart,
    guess_sequence,
    to_be_looked_at,
)
from MISSUCore.contract.requests.commands import GuessAnswer, GuessRequest
from MISSUCore.core.files import read_json
from MISSUCore.core.serialization import settings_from_dict

from ..Core.CoreRun import CoreRun, newProcess
from ..Core.Errors import ExchangeError
from ..Scene.SceneExchange import writeVolume

ANSWER = "guesses.json"

Guesses = dict[slicer.vtkMRMLScalarVolumeNode, Guess]


def guessModalities(
    volumeNodes: Iterable[slicer.vtkMRMLScalarVolumeNode],
) -> dict[str, slicer.vtkMRMLScalarVolumeNode]:
    """Volumes by modality (t1, t1ce, t2, flair); only where one fits better than all others."""
    return assign(guessesOf(volumeNodes))


def guessesOf(volumeNodes: Iterable[slicer.vtkMRMLScalarVolumeNode]) -> Guesses:
    """Guesses from each volume's name and DICOM attributes; label maps are skipped."""
    return contrast_told_apart(
        {node: _guessOf(node) for node in volumeNodes if not node.IsA("vtkMRMLLabelMapVolumeNode")}
    )


def withImages(guesses: Guesses) -> Guesses:
    """The guesses, with unknown sequences guessed from the images; takes seconds.

    Raises:
        SegmentationError: if the process that analyzes the images fails.
    """
    silent, among = to_be_looked_at(guesses)
    scans = {f"scan-{number}": node for number, node in enumerate(silent)}
    result = dict(guesses)

    def prepare(run: CoreRun) -> GuessRequest:
        images = {}
        for name, node in scans.items():
            try:
                images[name] = run.folder / f"{name}.nrrd"
                _write(node, images[name])
            except ExchangeError as error:
                del images[name]
                result[node] = Guess(None, 0.0, str(error))
        return GuessRequest(images, tuple(sorted(among)), run.folder / ANSWER)

    if scans:
        run = CoreRun()
        run.start(newProcess("MISSUCore.cli.main"), prepare, _answer)
        result.update({scans[name]: guess for name, guess in run.wait().items()})
    return result


def _answer(run: CoreRun) -> dict[str, Guess]:
    return settings_from_dict(GuessAnswer, read_json(run.folder / ANSWER)).guesses


def _guessOf(node: slicer.vtkMRMLScalarVolumeNode) -> Guess:
    uids = node.GetAttribute("DICOM.instanceUIDs")
    database = getattr(slicer, "dicomDatabase", None)
    tags = {}
    if uids and database:
        first = uids.split()[0]
        tags = {keyword: database.instanceValue(first, tag) for keyword, tag in DICOM_TAGS.items()}
    return guess_sequence(node.GetName() or "", tags)


def _write(node: slicer.vtkMRMLScalarVolumeNode, path: Path) -> None:
    """Write a volume for MISSUCore, which then checks it like any other file.

    Raises:
        ExchangeError: if it has no voxels, or cannot be written.
    """
    if node.GetImageData() is None:
        raise ExchangeError(f"{node.GetName()} has no voxels")
    writeVolume(node, path, node.GetName())
