"""Which volume is which sequence: names as hospitals, scanners and challenges give them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the package slicer-core")
from MISSUSegmentationLib.InputGuess import guessModalities, modalityOfText


@pytest.mark.parametrize(
    ("text", "modality"),
    [
        # BraTS 2012 to 2023, UPENN-GBM, UCSF-PDGM
        ("BraTS2021_00000_t1ce", "t1ce"),
        ("BraTS2021_00000_t1", "t1"),
        ("BraTS-GLI-00012-000-t1c", "t1ce"),
        ("BraTS-GLI-00012-000-t1n", "t1"),
        ("BraTS-GLI-00012-000-t2w", "t2"),
        ("BraTS-GLI-00012-000-t2f", "flair"),
        ("UPENN-GBM-00001_11_T1GD", "t1ce"),
        ("UCSF-PDGM-0004_T1c_bias", "t1ce"),
        ("t1ce_1", "t1ce"),
        # series descriptions
        ("5: AX T1 POST GAD", "t1ce"),
        ("AX T1 +C", "t1ce"),
        ("t1_mprage_sag_p2_iso_Gd", "t1ce"),
        ("t1_mpr_tra_km", "t1ce"),
        ("Sag MPRAGE", "t1"),
        ("AX T1 PRE GAD", "t1"),
        ("T1 without contrast", "t1"),
        ("Ax T1 FLAIR", "t1"),
        ("AX T1 SE C+", "t1ce"),
        ("3D T1 TFE post-contrast", "t1ce"),
        ("T1 W/O CONTRAST", "t1"),
        ("AX T2 FLAIR", "flair"),
        ("t2_tirm_tra_dark-fluid", "flair"),
        ("Sag CUBE FLAIR post", "flair"),
        ("t2_tse_tra_512", "t2"),
        ("AX T2 FSE", "t2"),
        ("4: T2W_TSE", "t2"),
        ("Baseline T1", "t1"),
        ("T1-weighted", "t1"),
        ("Gd T1", "t1ce"),
        # neither
        ("BraTS2021_00000_seg", None),
        ("AX T2* GRE", None),
        ("ep2d_diff_ADC", None),
        ("SWI_Images", None),
        ("T2 star", None),
        ("localizer", None),
        ("T1 T2 fused", None),
        ("T1 subtraction", None),
        ("Case t1ce segmentation WT probability", None),
        ("CT head", None),
        ("Volume12", None),
        ("MRHead", None),
        ("", None),
    ],
)
def test_names(text: str, modality: str | None) -> None:
    assert modalityOfText(text) == modality


def test_only_what_is_sure_is_guessed(scene: Any, addVolume: Callable[..., Any]) -> None:
    voxels = np.ones((4, 4, 4))
    nodes = {name: addVolume(name, voxels) for name in ("AX T1", "SAG T1", "AX T2", "CT")}
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "FLAIR")
    assert guessModalities([*nodes.values(), labels]) == {"t2": nodes["AX T2"]}
    assert guessModalities([]) == {}


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
    }
    database = SimpleNamespace(instanceValue=lambda uid, tag: series[uid][tag])
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    voxels = np.ones((4, 4, 4))
    contrast, native = addVolume("7: Series", voxels), addVolume("8: Series", voxels)
    unnamed = addVolume("9: FLAIR", voxels)
    contrast.SetAttribute("DICOM.instanceUIDs", "1.2.1 1.2.2")
    native.SetAttribute("DICOM.instanceUIDs", "1.3.1")
    unnamed.SetAttribute("DICOM.instanceUIDs", "1.4.1")
    assert guessModalities([native, contrast, unnamed]) == {
        "t1": native,
        "t1ce": contrast,
        "flair": unnamed,
    }
