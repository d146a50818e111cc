"""Sequences by names as data sets, scanners and people write them, and by DICOM tags."""

from __future__ import annotations

from pathlib import Path

import pytest

from MISSUCore.contract.naming.rules import (
    Guess,
    assign,
    guess_from_name,
    guess_from_tags,
    guess_sequence,
    modality_of_file_name,
    to_be_looked_at,
    without_common_start,
)


@pytest.mark.parametrize(
    ("file_name", "modality"),
    [
        # BraTS 2019 to 2021
        ("BraTS19_CBICA_AAB_1_flair.nii.gz", "flair"),
        ("BraTS19_CBICA_AAB_1_t1.nii.gz", "t1"),
        ("BraTS20_Training_001_t1ce.nii", "t1ce"),
        ("BraTS2021_00000_t2.nii.gz", "t2"),
        ("BraTS2021_00000_seg.nii.gz", "segmentation"),
        # BraTS 2023
        ("BraTS-GLI-00012-000-t1n.nii.gz", "t1"),
        ("BraTS-GLI-00012-000-t1c.nii.gz", "t1ce"),
        ("BraTS-GLI-00012-000-t2w.nii.gz", "t2"),
        ("BraTS-GLI-00012-000-t2f.nii.gz", "flair"),
        ("BraTS-GLI-00012-000-seg.nii.gz", "segmentation"),
        # BIDS
        ("sub-01_T1w.nii.gz", "t1"),
        ("sub-01_ce-gadolinium_T1w.nii.gz", "t1ce"),
        # By hand
        ("T1Gd.nrrd", "t1ce"),
        ("patient 7 FLAIR.NII.GZ", "flair"),
        ("flair.mha", "flair"),
        ("t2.seg.nrrd", "segmentation"),
        # The last part decides.
        ("t1_registered_to_t2.nii.gz", "t2"),
    ],
)
def test_published_names(file_name: str, modality: str) -> None:
    assert modality_of_file_name(file_name) == modality


@pytest.mark.parametrize(
    "file_name",
    [
        "",
        "t1",
        "t1.txt",
        "t1.nii.gz.md5",
        "patient.nii.gz",
        "not1.nii.gz",
        "t1_brain.nii.gz",
        "t1_mask.nii.gz",
        "dwi.nii",
        ".nii.gz",
    ],
)
def test_names_that_do_not_say(file_name: str) -> None:
    assert modality_of_file_name(file_name) is None


def listed_names() -> list[tuple[str, str | None]]:
    """Names and sequences of the list beside this file."""
    lines = Path(__file__).with_name("sequence_names.txt").read_text(encoding="utf-8").splitlines()
    entries = (line.split("|", 1) for line in lines if line and not line.startswith("#"))
    meaning = {"-": None, "seg": "segmentation"}
    return [
        (name.strip(), meaning.get(sequence.strip(), sequence.strip()))
        for sequence, name in entries
    ]


def test_the_list_is_as_long_as_promised() -> None:
    names = listed_names()
    assert len({name for name, _ in names}) == len(names) >= 300
    assert {sequence for _, sequence in names} == {
        *("t1", "t1ce", "t2", "flair", "segmentation"),
        None,
    }


@pytest.mark.parametrize(("name", "sequence"), listed_names())
def test_names(name: str, sequence: str | None) -> None:
    guess = guess_from_name(name)
    assert guess.sequence == sequence, guess.reason
    assert 0 <= guess.confidence < 1
    assert (guess.confidence > 0) or (sequence is None)
    assert f"'{name}'" in guess.reason


# Tags as scanners write them: description, other attributes, what it is.
SPIN_ECHO = {"Modality": "MR", "ScanningSequence": "SE"}
GRADIENT_ECHO = {"Modality": "MR", "ScanningSequence": "GR"}
SERIES: list[tuple[str, dict[str, str], str | None]] = [
    # Siemens Prisma, published sample: https://github.com/open-dicom/siemens_flair_0
    (
        "t2_tirm_tra_dark-fluid_FLAIR",
        {
            "ScanningSequence": "SE\\IR",
            "SequenceVariant": "SK\\SP\\MP",
            "SequenceName": "*tir2d1_16",
            "RepetitionTime": "8000.0",
            "EchoTime": "81.0",
            "InversionTime": "2370.0",
            "BodyPartExamined": "BRAIN",
        },
        "flair",
    ),
    # Siemens
    (
        "t1_mprage_sag_p2_iso",
        {
            "ScanningSequence": "GR\\IR",
            "SequenceName": "*tfl3d1_16ns",
            "RepetitionTime": "2300",
            "EchoTime": "2.98",
            "InversionTime": "900",
        },
        "t1",
    ),
    (
        "t2_spc_da-fl_sag_p2_iso_1.0",
        {
            "ScanningSequence": "SE\\IR",
            "SequenceName": "*spcir_284ns",
            "RepetitionTime": "5000",
            "EchoTime": "397",
            "InversionTime": "1800",
        },
        "flair",
    ),
    (
        "t2_tirm_tra",
        {
            "ScanningSequence": "SE\\IR",
            "RepetitionTime": "9000",
            "EchoTime": "109",
            "InversionTime": "2500",
        },
        "flair",
    ),
    (
        "t2_tirm_cor",
        {
            "ScanningSequence": "SE\\IR",
            "RepetitionTime": "4500",
            "EchoTime": "60",
            "InversionTime": "150",
        },
        None,
    ),
    (
        "t2_tra",
        {
            "ScanningSequence": "SE\\IR",
            "RepetitionTime": "9000",
            "EchoTime": "109",
            "InversionTime": "2500",
        },
        "flair",
    ),
    ("t2_tse_tra", {**SPIN_ECHO, "RepetitionTime": "6000", "EchoTime": "99"}, "t2"),
    ("AX T2", {**GRADIENT_ECHO, "RepetitionTime": "620", "EchoTime": "20"}, None),
    ("t1_se_tra", {**SPIN_ECHO, "RepetitionTime": "550", "EchoTime": "8.9"}, "t1"),
    ("sag t1", {"ScanningSequence": "SE\\IR", "RepetitionTime": "2000", "EchoTime": "9.8"}, "t1"),
    (
        "ep2d_diff",
        {"ScanningSequence": "SE\\EP", "RepetitionTime": "4500", "EchoTime": "90"},
        None,
    ),
    ("swi", {**GRADIENT_ECHO, "SequenceName": "*swi3d1r", "EchoTime": "20"}, None),
    ("head", {**GRADIENT_ECHO, "SequenceName": "*fi3d1r", "EchoTime": "3.7"}, None),
    ("brain", {"SequenceName": "*ep_b1000t", "ScanningSequence": "EP"}, None),
    (
        "3D",
        {**GRADIENT_ECHO, "SequenceName": "*fl3d1r_t70", "RepetitionTime": "25", "EchoTime": "3.5"},
        None,
    ),
    (
        "sag",
        {**GRADIENT_ECHO, "SequenceName": "*fl2d1_v10in", "RepetitionTime": "40", "EchoTime": "8"},
        None,
    ),
    # GE: one protocol name and one contrast agent for all series of the examination
    (
        "AX T1 PRE",
        {"ProtocolName": "BRAIN W/WO", "ContrastBolusAgent": "12ML MULTIHANCE"},
        "t1",
    ),
    (
        "AX T1 SE C+",
        {"ProtocolName": "BRAIN W/WO", "ContrastBolusAgent": "12ML MULTIHANCE"},
        "t1ce",
    ),
    ("AX T1", {"ProtocolName": "BRAIN WITH CONTRAST"}, "t1"),
    ("AX T1", {"ProtocolName": "BRAIN PERFUSION", "ContrastBolusAgent": "GADAVIST"}, "t1ce"),
    ("AX FLAIR", {"ProtocolName": "BRAIN W/WO", "ContrastBolusAgent": "GADAVIST"}, "flair"),
    ("AX T2 FSE", {"ProtocolName": "BRAIN W/WO", "ContrastBolusAgent": "OMNISCAN"}, "t2"),
    (
        "SAG T1 FLAIR",
        {
            "ScanningSequence": "SE\\IR",
            "RepetitionTime": "2100",
            "EchoTime": "24",
            "InversionTime": "750",
        },
        "t1",
    ),
    (
        "SAG FLAIR",
        {
            "ScanningSequence": "SE\\IR",
            "RepetitionTime": "2200",
            "EchoTime": "24",
            "InversionTime": "860",
        },
        "t1",
    ),
    (
        "Sag CUBE FLAIR",
        {
            "ScanningSequence": "SE\\IR",
            "RepetitionTime": "6000",
            "EchoTime": "100.512",
            "InversionTime": "1803",
        },
        "flair",
    ),
    ("Ax 3D T1 BRAVO", {**GRADIENT_ECHO, "RepetitionTime": "8.2", "EchoTime": "3.2"}, "t1"),
    # Philips: the description is the protocol name, often with WIP before it
    ("WIP T1W_3D_TFE SENSE", {"ProtocolName": "WIP T1W_3D_TFE SENSE"}, "t1"),
    ("", {"ProtocolName": "T1W_TSE KM", "ContrastBolusAgent": ""}, "t1ce"),
    ("T1W_TSE", {"ProtocolName": "T1W_TSE KM"}, "t1ce"),
    ("T1W_SE", {"ContrastBolusAgent": "NONE"}, "t1"),
    ("T1W_SE", {"ContrastBolusAgent": "Gadovist"}, "t1ce"),
    ("T1 nativ", {"ContrastBolusAgent": "Dotarem 15 ml"}, "t1"),
    ("T1 ohne KM", {"ContrastBolusAgent": "Dotarem 15 ml"}, "t1"),
    ("T1 sans injection", {"ContrastBolusAgent": "DOTAREM"}, "t1"),
    ("FLAIR", {"Modality": "MR", "ImageType": "DERIVED\\SECONDARY\\MPR"}, "flair"),
    # Description and protocol name disagree: the description decides
    ("AX T2", {"ProtocolName": "t1_se_tra"}, "t2"),
    # Words are silent
    ("head", {**SPIN_ECHO, "RepetitionTime": "500", "EchoTime": "12"}, "t1"),
    (
        "head",
        {**SPIN_ECHO, "RepetitionTime": "500", "EchoTime": "12", "ContrastBolusAgent": "GD"},
        "t1ce",
    ),
    (
        "axial post gado",
        {**SPIN_ECHO, "RepetitionTime": "500", "EchoTime": "12"},
        "t1ce",
    ),
    (
        "axial pre gado",
        {**SPIN_ECHO, "RepetitionTime": "500", "EchoTime": "12", "ContrastBolusAgent": "GD"},
        "t1",
    ),
    ("head", {**SPIN_ECHO, "RepetitionTime": "4500", "EchoTime": "102"}, "t2"),
    (
        "head",
        {
            "ScanningSequence": "SE\\IR",
            "RepetitionTime": "9000",
            "EchoTime": "120",
            "InversionTime": "2500",
        },
        "flair",
    ),
    (
        "",
        {
            "ScanningSequence": "GR\\IR",
            "RepetitionTime": "2000",
            "EchoTime": "3.5",
            "InversionTime": "1100",
        },
        "t1",
    ),
    ("head", {**SPIN_ECHO, "RepetitionTime": "3200", "EchoTime": "17"}, None),
    ("head", {**SPIN_ECHO, "RepetitionTime": "1500", "EchoTime": "45"}, None),
    ("head", {"RepetitionTime": "n/a", "EchoTime": ""}, None),
    ("", {}, None),
    # None of the four, whatever the words say
    ("T1", {"Modality": "CT"}, None),
    ("FLAIR", {"Modality": "SEG"}, None),
    ("T1", {"ImageType": "DERIVED\\PRIMARY\\T1 MAP"}, None),
    ("ax", {"ImageType": "DERIVED\\PRIMARY\\DIFFUSION\\ADC\\DIS2D"}, None),
    ("T1 3D", {"ImageType": "DERIVED\\SECONDARY\\PROJECTION IMAGE"}, None),
    ("T2 tra", {"ImageType": "ORIGINAL\\PRIMARY\\P\\ND"}, None),
    ("sag T2", {"BodyPartExamined": "CSPINE"}, None),
    ("T1 VIBE", {"BodyPartExamined": "BREAST"}, None),
    ("T1 VIBE", {"BodyPartExamined": "HEAD AND NECK"}, "t1"),
]


@pytest.mark.parametrize(("description", "tags", "sequence"), SERIES)
def test_tags(description: str, tags: dict[str, str], sequence: str | None) -> None:
    guess = guess_from_tags({"SeriesDescription": description, **tags})
    assert guess.sequence == sequence, guess.reason
    assert 0 <= guess.confidence < 1


def test_reasons_can_be_read() -> None:
    tags = {"SeriesDescription": "AX T1 POST GAD", "ContrastBolusAgent": "GADAVIST"}
    assert guess_from_tags(tags) == Guess(
        "t1ce", 0.95, "series description 'AX T1 POST GAD'; contrast agent GADAVIST"
    )
    assert guess_from_name("c_adc").reason == "a diffusion scan: name 'c_adc'"
    assert guess_from_name("x").reason == "name 'x' does not tell"
    times = {"EchoTime": "100", "RepetitionTime": "5000", "ScanningSequence": "SE"}
    assert guess_from_tags(times).reason == (
        "echo time 100 ms, repetition time 5000 ms: long times as of T2"
    )


def test_confidence_says_how_much_is_known() -> None:
    times = {"EchoTime": "100", "RepetitionTime": "5000", "ScanningSequence": "SE"}

    def confidence(name: str, **tags: str) -> float:
        return guess_sequence(name, tags).confidence

    agreeing = confidence("", SeriesDescription="AX T2", **times)
    named = confidence("AX T2")
    disagreeing = confidence("c_t1.nii", SeriesDescription="AX T2")
    wrong_times = confidence("", SeriesDescription="AX T1", **times)
    assert agreeing > named > confidence("", **times) >= disagreeing > wrong_times > 0
    assert confidence("AX T1 PRE") > confidence("AX T1") > confidence("BRAVO")
    assert confidence("T1 POST") > confidence("T1", ContrastBolusAgent="GADAVIST")


def test_a_name_adds_what_tags_leave_open() -> None:
    tags = {"SeriesDescription": "AX T1"}
    assert guess_sequence("T1 post.nii.gz", tags).sequence == "t1ce"
    assert guess_sequence("c_flair.nii.gz", tags).sequence == "t1"
    assert guess_sequence("c_flair.nii.gz", {"SeriesDescription": "head"}).sequence == "flair"
    both = guess_sequence("c_flair.nii.gz", tags).reason
    assert both == "series description 'AX T1'; though name 'c_flair.nii.gz'"


# One scan for each sequence


def guesses(**scans: tuple[str | None, float]) -> dict[str, Guess]:
    return {key: Guess(sequence, confidence, "") for key, (sequence, confidence) in scans.items()}


def test_one_of_each() -> None:
    found = guesses(a=("t1", 0.8), b=("flair", 0.9), c=(None, 0.9), d=("segmentation", 0.9))
    assert assign(found) == {"t1": "a", "flair": "b"}
    assert assign({}) == {}


def test_the_clearly_more_confident_wins() -> None:
    found = guesses(a=("t1", 0.8), b=("t1", 0.95))
    assert assign(found) == {"t1": "b"}
    assert assign(found, {"a": 9.0, "b": 1.0}) == {"t1": "b"}


def test_the_preferred_wins_among_the_equally_confident() -> None:
    found = guesses(a=("t2", 0.95), b=("t2", 0.98), c=("t2", 0.5))
    assert assign(found) == {}
    assert assign(found, {"a": 2.0, "b": 1.0, "c": 3.0}) == {"t2": "a"}
    assert assign(found, {"a": -1.0, "b": -2.0}) == {"t2": "a"}
    assert assign(found, {"a": 1.0, "b": 1.0}) == {}


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        ("annaT1", "t1"),
        ("annaT1ce", "t1ce"),
        ("annaT1Gd", "t1ce"),
        ("M\N{LATIN SMALL LETTER U WITH DIAERESIS}llerT1post", "t1ce"),
        ("annaT2", "t2"),
        ("annaT2FLAIR", "flair"),
        ("p07t1ce", "t1ce"),
        ("P07T1", "t1"),
        ("T1ceAnna", "t1ce"),
        # These can be read otherwise.
        ("patient1", None),
        ("PATIENT1", None),
        ("EricT1", None),  # Eri, cT1?
        ("ANNAT1", None),
        ("20190301T101500", None),
    ],
)
def test_a_sequence_joined_to_a_name(name: str, sequence: str | None) -> None:
    assert guess_from_name(f"{name}.nii.gz").sequence == sequence


@pytest.mark.parametrize(
    ("names", "ends"),
    [
        ("annat1 annat1ce annat2 annaflair", "t1 t1ce t2 flair"),
        ("ANNAT1 ANNAT1CE", "T1 T1CE"),
        ("patient1 patient2", ""),  # the second may be a second patient
        ("adult1 adult2 adultflair", ""),
        ("annat1 annat1ce annabrain", ""),
        ("annat1", ""),
    ],
)
def test_names_that_begin_alike(names: str, ends: str) -> None:
    assert list(without_common_start(names.split()).values()) == ends.split()


def test_images_are_looked_at_where_names_are_silent_and_not_too_many() -> None:
    known = {"a": Guess("t1", 0.9, ""), "b": Guess(None, 0.0, ""), "c": Guess("ct", 0.9, "")}
    assert to_be_looked_at(known) == (["b"], {"t1ce", "t2", "flair"})
    many = {**known, "d": Guess(None, 0.0, ""), "e": Guess(None, 0.0, "")}
    assert to_be_looked_at(many)[0] == ["b", "d", "e"]
    # Four that are silent, and three sequences: one at least is of another kind.
    assert to_be_looked_at({**many, "f": Guess(None, 0.0, "")})[0] == []
