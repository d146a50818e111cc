"""A segmentation in a file is as computed, edited since, or signed off; and nothing else counts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from MISSUCore.cli.main import main
from MISSUCore.contract.labels import BRATS, CHAOS_LIVER
from MISSUCore.contract.model_identity import ModelIdentity
from MISSUCore.contract.provenance.masks import Contents, Mask
from MISSUCore.contract.provenance.record import Provenance
from MISSUCore.contract.provenance.tag import TAG, to_tag
from MISSUCore.contract.segmentation_report import SegmentationReport
from MISSUCore.core.errors import InputError
from MISSUCore.core.files import sha256
from MISSUCore.evaluation.verification import grid_of, mask_facts, verify

LABELS = np.zeros((8, 9, 10), np.uint8)
LABELS[1:6, 1:6, 1:6] = 2
LABELS[2:5, 2:5, 2:5] = 4
LABELS[3, 3, 3] = 1
SPACING = (0.5, 2.0, 3.0)
VOXEL_ML = 0.003


@pytest.fixture
def image(direction: NDArray[np.float64]) -> sitk.Image:
    """A label map in some direction."""
    return placed(LABELS, direction)


def placed(labels: NDArray[Any], direction: NDArray[np.float64]) -> sitk.Image:
    made = sitk.GetImageFromArray(labels)
    made.SetSpacing(SPACING)
    made.SetOrigin((10.0, -20.0, 30.0))
    made.SetDirection(direction.ravel().tolist())
    return made


@pytest.fixture
def written(tmp_path: Path, image: sitk.Image) -> tuple[Path, Path]:
    """The label map, and its report."""
    path = tmp_path / "seg.nii.gz"
    sitk.WriteImage(image, str(path))
    facts = SegmentationReport(
        model=ModelIdentity("missu", "ab"),
        written={path.name: sha256(path)},
        grid=grid_of(image),
        masks=mask_facts(image, BRATS),
    )
    report = tmp_path / "report.json"
    report.write_text(json.dumps(facts.to_dict()))
    return path, report


def test_volumes_are_those_counted_by_hand(image: sitk.Image) -> None:
    facts = mask_facts(image, BRATS)
    assert {name: (fact.voxels, fact.volume_ml) for name, fact in facts.items()} == {
        "WT": (125, 0.375),
        "TC": (27, 0.081),
        "ET": (26, 0.078),
    }


def test_untouched_it_is_as_computed(written: tuple[Path, Path]) -> None:
    found = verify(*written)
    assert (found.status, found.is_same_file, found.is_on_grid) == ("computed", True, True)
    assert "ET: 0.08 ml, as computed" in found.sentences()


@pytest.mark.parametrize("name", ["other.nii", "other.nrrd", "other.mha"])
def test_another_format_and_margin_are_no_change(
    tmp_path: Path, written: tuple[Path, Path], image: sitk.Image, name: str
) -> None:
    path = tmp_path / name
    sitk.WriteImage(sitk.ConstantPad(image, (1, 2, 3), (4, 0, 1)), str(path))
    found = verify(path, written[1])
    assert (found.status, found.is_same_file) == ("computed", False)
    sitk.WriteImage(sitk.Crop(image, (1, 1, 1), (3, 2, 1)), str(path))
    assert verify(path, written[1]).status == "computed"


def test_one_voxel_is_a_change_of_its_regions(
    tmp_path: Path, written: tuple[Path, Path], direction: NDArray[np.float64]
) -> None:
    edited = LABELS.copy()
    edited[2, 2, 2] = 1  # from ET to necrosis: TC and WT stay
    path = tmp_path / "edited.nii.gz"
    sitk.WriteImage(placed(edited, direction), str(path))
    found = verify(path, written[1])
    assert found.status == "changed"
    told = [line for line in found.sentences() if "as computed" in line]
    assert told == [
        "WT: 0.38 ml, as computed",
        "TC: 0.08 ml, as computed",
        "ET: 0.07 ml, 0.08 ml as computed",
    ]


def test_the_same_volumes_elsewhere_are_a_change(
    tmp_path: Path, written: tuple[Path, Path], direction: NDArray[np.float64]
) -> None:
    path = tmp_path / "moved.nii.gz"
    sitk.WriteImage(placed(np.roll(LABELS, 1, axis=2), direction), str(path))
    assert verify(path, written[1]).status == "changed"


def test_another_place_in_space_is_a_change(
    tmp_path: Path, written: tuple[Path, Path], image: sitk.Image
) -> None:
    image.SetOrigin((10.0, -20.0, 31.0))  # a third of a voxel
    path = tmp_path / "moved.nii.gz"
    sitk.WriteImage(image, str(path))
    found = verify(path, written[1])
    assert (found.status, found.is_on_grid) == ("changed", False)
    assert any("elsewhere in space" in line for line in found.sentences())


def test_both_numberings_of_brats_are_the_same(
    tmp_path: Path, written: tuple[Path, Path], direction: NDArray[np.float64]
) -> None:
    path = tmp_path / "renumbered.nii.gz"
    sitk.WriteImage(placed(np.where(LABELS == 4, 3, LABELS).astype(np.uint8), direction), str(path))
    assert verify(path, written[1]).status == "computed"


def save_slicer(path: Path, image: sitk.Image, tag: str | None) -> None:
    """A label map as 3D Slicer saves exclusive segments."""
    for number, label in enumerate(BRATS.labels):
        for key, value in (("ID", label.name), ("Layer", "0"), ("LabelValue", str(label.value))):
            image.SetMetaData(f"Segment{number}_{key}", value)
        if tag is not None:
            image.SetMetaData(f"Segment{number}_Tags", f"a:b|{TAG}:{tag}|c:d")
    sitk.WriteImage(image, str(path))


def slicer_record(image: sitk.Image) -> Provenance:
    masks = {label.name: Mask.of(label.value == LABELS).fact(VOXEL_ML) for label in BRATS.labels}
    return Provenance(contents=Contents(grid_of(image), masks))


def test_a_file_of_slicer_tells_itself_who_signed_it(tmp_path: Path, image: sitk.Image) -> None:
    path = tmp_path / "a.seg.nrrd"
    record = slicer_record(image)
    save_slicer(path, image, to_tag(record.signed_off("A. Reader")))
    found = verify(path)
    assert found.status == "signed"
    assert found.sentences()[0] == "Signed off by A. Reader, and not changed since."
    save_slicer(path, image, to_tag(record.signed_off("A. Reader").withdrawn()))
    assert verify(path).status == "changed", "nobody knows what computed it"
    image[4, 4, 1] = 0
    save_slicer(path, image, to_tag(record.signed_off("A. Reader")))
    found = verify(path)
    assert found.status == "changed"
    assert found.sentences()[0].startswith("Changed since it was signed off by A. Reader")


@pytest.mark.parametrize("tag", [None, "", "????", "e30x"])
def test_a_file_of_slicer_without_a_sound_record_is_refused(
    tmp_path: Path, image: sitk.Image, tag: str | None
) -> None:
    path = tmp_path / "a.seg.nrrd"
    save_slicer(path, image, tag)
    with pytest.raises(
        InputError, match=r"a\.seg\.nrrd: (MISSU has recorded nothing|the record in it is)"
    ):
        verify(path)


def test_what_cannot_be_compared_is_refused(
    tmp_path: Path, written: tuple[Path, Path], image: sitk.Image
) -> None:
    path, report = written
    with pytest.raises(InputError, match=r"seg\.nii\.gz: give the JSON file .*--report FILE"):
        verify(path)
    with pytest.raises(InputError, match=r"is about WT, TC, ET, not liver; .*--scheme"):
        sitk.WriteImage(sitk.Cast(image > 0, sitk.sitkUInt8), str(tmp_path / "one.nii.gz"))
        verify(tmp_path / "one.nii.gz", report, CHAOS_LIVER)
    save_slicer(tmp_path / "a.seg.nrrd", image, "")
    with pytest.raises(InputError, match="leave out --report"):
        verify(tmp_path / "a.seg.nrrd", report)
    facts = json.loads(report.read_text())
    for change in ({"created": "on Monday"}, {"grid": [1.0]}, {"masks": {"WT": {"sha256": "?"}}}):
        report.write_text(json.dumps({**facts, **change}))
        with pytest.raises(
            InputError, match=r"report\.json: (is damaged: .*segment again|is about)"
        ):
            verify(path, report)
    old = replace(SegmentationReport(), volumes_ml={"WT": 0.375})
    report.write_text(json.dumps(old.to_dict()))
    with pytest.raises(InputError, match=r"report\.json: holds no checksums"):
        verify(path, report)


def test_the_command_says_it_by_its_exit_code(
    written: tuple[Path, Path], image: sitk.Image, capsys: pytest.CaptureFixture[str]
) -> None:
    path, report = written
    arguments = ["verify", str(path), "--report", str(report)]
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("As the model computed it.")
    image[4, 4, 4] = 0
    sitk.WriteImage(image, str(path))
    assert main([*arguments, "--json"]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["status"] == "changed"
    assert "seg.nii.gz: is not as the model computed it" in told.err
    assert main(arguments[:2]) == 2
