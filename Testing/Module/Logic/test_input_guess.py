"""Which volume is which sequence; names and images are tested in Testing/Core/imaging."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the package slicer-core")
from MISSUSegmentationLib.Logic.InputGuess import guessesOf, guessModalities, withImages


def test_only_what_is_sure_is_guessed(scene: Any, addVolume: Callable[..., Any]) -> None:
    voxels = np.ones((4, 4, 4))
    nodes = {name: addVolume(name, voxels) for name in ("AX T1", "SAG T1", "AX T2", "CT")}
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "FLAIR")
    assert guessModalities([*nodes.values(), labels]) == {"t2": nodes["AX T2"]}
    assert guessModalities([]) == {}


def test_the_clearer_of_two_is_guessed(addVolume: Callable[..., Any]) -> None:
    voxels = np.ones((4, 4, 4))
    native, plain = addVolume("AX T1 PRE", voxels), addVolume("AX T1", voxels)
    assert guessModalities([plain, native]) == {"t1": native}


def test_a_reason_is_given(addVolume: Callable[..., Any]) -> None:
    (guess,) = guessesOf([addVolume("5: AX T1 POST GAD", np.ones((4, 4, 4)))]).values()
    assert (guess.sequence, guess.reason) == ("t1ce", "name '5: AX T1 POST GAD'")


def test_a_unique_best_case_is_complete(addVolume: Callable[..., Any]) -> None:
    nodes = {name: addVolume(f"c_{name}", np.ones((4, 4, 4))) for name in ("flair", "t1", "t1ce")}
    assert guessModalities(nodes.values()) == nodes


def test_dicom_tells_more_than_the_name(
    addVolume: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    series = {
        "1.2.1": {"0008,103E": "AX T1 SE", "0018,0010": "GADAVIST"},
        "1.3.1": {"0008,103E": "AX T1 SE", "0018,0010": ""},
        "1.4.1": {"0008,103E": "", "0018,0010": ""},
        "1.5.1": {"0008,103E": "head", "0018,0081": "100", "0018,0080": "5000"},
    }
    database = SimpleNamespace(instanceValue=lambda uid, tag: series[uid].get(tag, ""))
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    voxels = np.ones((4, 4, 4))
    contrast, native = addVolume("7: Series", voxels), addVolume("8: Series", voxels)
    unnamed = addVolume("9: FLAIR", voxels)
    timed = addVolume("10: head", voxels)
    timed.SetAttribute("DICOM.instanceUIDs", "1.5.1")
    contrast.SetAttribute("DICOM.instanceUIDs", "1.2.1 1.2.2")
    native.SetAttribute("DICOM.instanceUIDs", "1.3.1")
    unnamed.SetAttribute("DICOM.instanceUIDs", "1.4.1")
    assert guessModalities([native, contrast, unnamed, timed]) == {
        "t1": native,
        "t1ce": contrast,
        "flair": unnamed,
        "t2": timed,
    }


def test_what_is_no_scan_is_no_guess(scene: Any, addVolume: Callable[..., Any]) -> None:
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Series 1")
    constant = addVolume("Series 2", np.ones((4, 4, 4)))
    guesses = withImages(guessesOf([empty, constant]))
    assert {guess.sequence for guess in guesses.values()} == {None}
    assert "no voxels" in guesses[empty].reason
    assert "empty" in guesses[constant].reason
