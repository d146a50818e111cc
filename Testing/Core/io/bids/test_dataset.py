"""Raw BIDS datasets: which scan of which session is taken for which sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from MISSUCore.core.errors import InputError
from MISSUCore.io.bids.dataset import read_bids

Write = Callable[[Mapping[str, object]], Path]
NONE, GADOLINIUM = ({"ContrastBolusIngredient": name} for name in ("NONE", "GADOLINIUM"))


def scans(stem: str, *ends: str, folder: str = "") -> dict[str, object]:
    """Scans of 1 mm in ``anat``, by the ends of their names."""
    place = folder or stem.replace("_", "/")
    return {f"{place}/anat/{stem}_{end}.nii.gz": 1.0 for end in ends}


def found(folder: Path, *participants: str) -> dict[str, dict[str, str]]:
    """Ends of the names of the scans that are taken, by case and modality."""
    cases = read_bids(folder, participants).cases
    assert not [case.problem for case in cases if case.problem]
    return {
        case.name: {
            modality: path.name.removeprefix(f"{case.name}_").removesuffix(".nii.gz")
            for modality, path in case.images.items()
        }
        for case in cases
    }


def problem(folder: Path) -> str:
    """The problem of the only case."""
    (case,) = read_bids(folder).cases
    assert not case.images
    return case.problem


def test_subjects_and_sessions_are_cases(write_bids: Write) -> None:
    folder = write_bids(
        {
            **scans("sub-01", "T1w", "ce-gadolinium_T1w", "T2w", "FLAIR"),
            **scans("sub-02_ses-a", "T1w", "acq-mprage_ce-GBCA_T1w", "T2w", "FLAIR"),
            **scans("sub-02_ses-b", "FLAIR", "PDw", "T1map", "part-phase_T2w"),
            "sub-02/ses-c/func/sub-02_ses-c_task-rest_bold.nii.gz": 1.0,
            "derivatives/other/sub-09/anat/sub-09_T1w.nii.gz": 1.0,
            "sourcedata/sub-08/anat/sub-08_T1w.nii.gz": 1.0,
        }
    )
    assert found(folder) == {
        "sub-01": {"t1": "T1w", "t1ce": "ce-gadolinium_T1w", "t2": "T2w", "flair": "FLAIR"},
        "sub-02_ses-a": {
            "t1": "T1w",
            "t1ce": "acq-mprage_ce-GBCA_T1w",
            "t2": "T2w",
            "flair": "FLAIR",
        },
        "sub-02_ses-b": {"flair": "FLAIR"},
    }


def test_maps_are_taken_by_their_suffix(write_bids: Write) -> None:
    folder = write_bids(
        {
            **scans("sub-01", "FLAIR", "T1map"),
            **scans("sub-02_ses-a", "FLAIR"),
            **scans("sub-03", "FLAIR"),
            "sub-01/dwi/sub-01_run-1_ADC.nii.gz": 1.0,
            "sub-01/dwi/sub-01_run-2_ADC.nii.gz": 1.0,
            "sub-01/dwi/sub-01_run-2_dwi.nii.gz": 1.0,
            "sub-02/ses-a/dwi/sub-02_ses-a_ADC.nii.gz": (1.0, 1.0, 2.0),
            "sub-02/ses-a/dwi/sub-02_ses-a_acq-fine_ADC.nii.gz": 1.0,
        }
    )
    wanted = {"ADC": "ADC", "T1 in ms": "T1map"}
    cases = read_bids(folder, maps=wanted).cases
    assert [{name: path.name for name, path in case.maps.items()} for case in cases] == [
        {"ADC": "sub-01_run-2_ADC.nii.gz", "T1 in ms": "sub-01_T1map.nii.gz"},
        {"ADC": "sub-02_ses-a_acq-fine_ADC.nii.gz"},
        {},
    ]
    assert not any(case.maps for case in read_bids(folder).cases)
    with pytest.raises(InputError, match=r"no session has a map T1 in ms, a file \*_T1map.nii.gz"):
        read_bids(folder, ["02", "03"], wanted)


def test_only_participants_that_are_asked_for(write_bids: Write) -> None:
    folder = write_bids(
        {**scans("sub-01", "T1w"), **scans("sub-2", "T1w"), **scans("sub-3", "T1w")}
    )
    assert list(found(folder, "sub-3", "01", "3")) == ["sub-3", "sub-01"]
    with pytest.raises(InputError, match="there is no participant sub-4"):
        read_bids(folder, ["4"])


@pytest.mark.parametrize(
    ("spacings", "taken"),
    [
        ({"T2w": 1.0, "acq-fine_T2w": 0.5}, "acq-fine_T2w"),
        ({"run-2_T2w": 2.0, "run-1_T2w": 1.0}, "run-1_T2w"),
        ({"run-10_T2w": 1.0, "run-9_T2w": 1.0, "run-2_T2w": 1.0}, "run-10_T2w"),
        ({"T2w": 1.0, "run-01_T2w": 1.0001}, "run-01_T2w"),  # a header that was rounded
        # 0.6 mm3 in thick slices before 1 mm3
        ({"acq-thick_T2w": (0.4, 0.4, 4.0), "acq-iso_T2w": 1.0}, "acq-thick_T2w"),
    ],
)
def test_of_rivals_the_finest_is_taken_then_the_higher_run(
    write_bids: Write, spacings: dict[str, object], taken: str
) -> None:
    folder = write_bids(
        {f"sub-1/anat/sub-1_{end}.nii.gz": spacing for end, spacing in spacings.items()}
    )
    assert found(folder) == {"sub-1": {"t2": taken}}


def test_a_tie_is_the_problem_of_its_case(write_bids: Write) -> None:
    folder = write_bids({**scans("sub-1", "acq-a_T2w", "acq-b_T2w"), **scans("sub-2", "T2w")})
    tied, other = read_bids(folder).cases
    assert "sub-1_acq-a_T2w.nii.gz and " in tied.problem
    assert "sub-1_acq-b_T2w.nii.gz: are scans of one sequence" in tied.problem
    assert not other.problem
    (folder / ".bidsignore").write_text("*_acq-a_*\n")
    assert found(folder) == {"sub-1": {"t2": "acq-b_T2w"}, "sub-2": {"t2": "T2w"}}


@pytest.mark.parametrize(
    ("sidecars", "taken"),
    [
        ({"sub-1/anat/sub-1_acq-b_T1w.json": GADOLINIUM}, "acq-b_T1w"),
        ({"sub-1/sub-1_acq-b_T1w.json": {"ContrastBolusIngredient": "IODINE"}}, "acq-b_T1w"),
        ({"acq-b_T1w.json": GADOLINIUM, "acq-a_T1w.json": NONE}, "acq-b_T1w"),
        # the nearer one is the one that counts
        ({"T1w.json": GADOLINIUM, "sub-1/anat/sub-1_acq-a_T1w.json": NONE}, "acq-b_T1w"),
        ({"T1w.json": NONE, "sub-1/anat/sub-1_acq-b_T1w.json": GADOLINIUM}, "acq-b_T1w"),
        # of two in a folder, the one that says more of the scan
        ({"T1w.json": GADOLINIUM, "acq-a_T1w.json": NONE}, "acq-b_T1w"),
    ],
)
def test_sidecars_tell_the_contrast(
    write_bids: Write, sidecars: dict[str, object], taken: str
) -> None:
    folder = write_bids({**scans("sub-1", "acq-a_T1w", "acq-b_T1w"), **sidecars})
    assert found(folder) == {"sub-1": {"t1": "acq-a_T1w", "t1ce": taken}}


@pytest.mark.parametrize(
    "sidecars",
    [
        {"sub-1/anat/sub-1_T1w.json": {"ContrastBolusIngredient": None}},
        {"sub-1/anat/sub-1_T1w.json": {"ContrastBolusIngredient": "UNKNOWN"}},
        {"T2w.json": GADOLINIUM, "acq-b_T1w.json": GADOLINIUM, "run-1_T1w.json": GADOLINIUM},
        {"sub-2/anat/sub-1_T1w.json": GADOLINIUM},
        {".bidsignore": "/T1w.json\n", "T1w.json": GADOLINIUM},
    ],
)
def test_what_does_not_apply_tells_nothing(write_bids: Write, sidecars: dict[str, object]) -> None:
    folder = write_bids({**scans("sub-1", "T1w"), **sidecars})
    assert found(folder, "1") == {"sub-1": {"t1": "T1w"}}


def test_of_t1w_that_are_known_the_higher_run_is_taken(write_bids: Write) -> None:
    folder = write_bids(
        {
            **scans("sub-1", "run-1_T1w", "run-2_T1w", "ce-gd_T1w"),
            **scans("sub-2", "run-1_T1w", "run-2_T1w"),
            "sub-2/sub-2_T1w.json": NONE,
        }
    )
    assert found(folder) == {
        "sub-1": {"t1": "run-2_T1w", "t1ce": "ce-gd_T1w"},
        "sub-2": {"t1": "run-2_T1w"},
    }


def test_a_name_that_says_none_is_no_contrast(write_bids: Write) -> None:
    folder = write_bids(scans("sub-1", "ce-none_T1w", "ce-gd_T1w"))
    assert found(folder) == {"sub-1": {"t1": "ce-none_T1w", "t1ce": "ce-gd_T1w"}}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {**scans("sub-1", "ce-gd_T1w"), "sub-1/anat/sub-1_ce-gd_T1w.json": NONE},
            "is named ce-gd, but by its sidecar ContrastBolusIngredient is none",
        ),
        (
            scans("sub-1", "run-1_T1w", "run-2_T1w"),
            "run-1_T1w.nii.gz: is one of 2 T1w, and nothing",
        ),
        (
            {**scans("sub-1", "T1w", "acq-b_T1w"), "sub-1/anat/sub-1_acq-b_T1w.json": NONE},
            "sub-1_T1w.nii.gz: is one of 2 T1w, and nothing tells which has contrast",
        ),
        (
            {**scans("sub-1", "ce-none_T1w"), "ce-none_T1w.json": GADOLINIUM},
            "is named ce-none, but by its sidecar ContrastBolusIngredient is gadolinium",
        ),
        ({**scans("sub-1", "T1w"), "T1w.json": [1]}, "T1w.json: cannot be read as a sidecar"),
        (scans("sub-2", "T1w", folder="sub-1"), "sub-2_T1w.nii.gz: is a scan of another subject"),
        (scans("sub-1", "T1w", folder="sub-1/ses-1"), "is a scan of another subject or session"),
        (scans("sub-1", "run-1_T2w", "run-b_T2w"), "run-b_T2w.nii.gz: its run is not a number"),
        (
            {**scans("sub-1", "run-1_T2w"), "sub-1/anat/sub-1_run-2_T2w.nii.gz": "damaged"},
            "sub-1_run-2_T2w.nii.gz: ",
        ),
        ({"sub-1/func/sub-1_task-rest_bold.nii.gz": 1.0}, "sub-1: has no T1w, T2w, FLAIR in anat"),
    ],
)
def test_what_is_wrong_with_a_case_is_its_problem(
    write_bids: Write, files: dict[str, object], message: str
) -> None:
    assert message in problem(write_bids(files))


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("sub-2/", ["sub-1", "sub-3"]),
        ("/sub-2", ["sub-1", "sub-3"]),
        ("sub-[23]", ["sub-1"]),
        ("# sub-2\n\n!sub-1\n", ["sub-1", "sub-2", "sub-3"]),
        ("/sub-*\n!sub-2/\n", ["sub-2"]),
        ("anat/sub-2*\n", ["sub-1", "sub-2", "sub-3"]),  # anchored: there is no /anat
        ("sub-2.nii.gz/\n*_T1w.nii.gz/\n", ["sub-1", "sub-2", "sub-3"]),  # a folder's name
    ],
)
def test_what_is_ignored_is_not_there(write_bids: Write, pattern: str, left: list[str]) -> None:
    files = {name: spacing for n in "123" for name, spacing in scans(f"sub-{n}", "T1w").items()}
    assert list(found(write_bids({**files, ".bidsignore": pattern}))) == left


def test_a_folder_that_is_ignored_is_not_looked_into(write_bids: Write) -> None:
    files = {**scans("sub-1_ses-1", "T1w"), **scans("sub-1_ses-2", "T1w"), **scans("sub-1", "T1w")}
    assert list(found(write_bids(files))) == ["sub-1", "sub-1_ses-1", "sub-1_ses-2"]
    assert list(found(write_bids({".bidsignore": "/sub-1/anat/\n"}))) == [
        "sub-1_ses-1",
        "sub-1_ses-2",
    ]
    assert list(found(write_bids({".bidsignore": "ses-1/anat\nses-2\n"}))) == [
        "sub-1",
        "sub-1_ses-1",
    ]


@pytest.mark.parametrize(
    "pattern", ["**/sub-1_T1w.nii.gz", "sub-1/**/*T1w*", "/sub-1/anat/*_T1w.*"]
)
def test_files_are_ignored_at_any_depth(write_bids: Write, pattern: str) -> None:
    folder = write_bids({**scans("sub-1", "T1w", "T2w"), ".bidsignore": pattern})
    assert found(folder) == {"sub-1": {"t2": "T2w"}}


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"Name": "a"}, "does not say Name and BIDSVersion"),
        ([], "does not say Name"),
        (
            {"Name": "a", "BIDSVersion": "1.10.0", "DatasetType": "derivative"},
            "is a BIDS dataset of type 'derivative'; give a raw one",
        ),
    ],
)
def test_what_is_no_raw_dataset_is_refused(
    write_bids: Write, description: object, message: str
) -> None:
    files = {**scans("sub-1", "T1w"), "dataset_description.json": description}
    with pytest.raises(InputError, match=message):
        read_bids(write_bids(files))


def test_a_folder_without_description_or_subjects_is_refused(write_bids: Write) -> None:
    folder = write_bids({"README": "empty"})
    with pytest.raises(InputError, match="raw: holds no subject"):
        read_bids(folder)
    (folder / "dataset_description.json").write_text("{")
    with pytest.raises(InputError, match=r"dataset_description\.json: cannot be read"):
        read_bids(folder)
    (folder / "dataset_description.json").unlink()
    with pytest.raises(InputError, match=r"holds no dataset_description\.json, and is not a BIDS"):
        read_bids(folder)


def test_a_folder_whose_name_is_none_of_bids_is_named(write_bids: Write) -> None:
    folder = write_bids({**scans("sub-1", "T1w"), "sub-1_old/anat/sub-1_T1w.nii.gz": 1.0})
    with pytest.raises(InputError, match=r"sub-1_old: is not a name of BIDS"):
        read_bids(folder)


@pytest.mark.parametrize("place", ["", ".", "sub-1", "sub-1/out", "out", "derivatives"])
def test_results_do_not_go_among_the_raw_data(write_bids: Write, place: str) -> None:
    dataset = read_bids(write_bids(scans("sub-1", "T1w")))
    with pytest.raises(InputError, match=r"lies among the raw data of .*derivatives/missu"):
        dataset.check_output(dataset.folder / place)


@pytest.mark.parametrize("place", ["derivatives/missu", "derivatives/a/b", "../out", ".."])
def test_results_go_elsewhere(write_bids: Write, place: str) -> None:
    dataset = read_bids(write_bids(scans("sub-1", "T1w")))
    dataset.check_output(dataset.folder / place)
