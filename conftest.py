"""What the examples in docstrings run on.

``folder`` holds the scans of a case, ``case_folders`` are those of three others, ``case_list`` is a
JSON list of these, ``bids_folder`` is a BIDS dataset, ``small_model`` is a weight file that takes
no time.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _example_cases(
    request: pytest.FixtureRequest, doctest_namespace: dict[str, Any], tmp_path: Path
) -> None:
    if isinstance(request.node, pytest.DoctestItem):
        doctest_namespace["folder"] = _write_case(tmp_path / "case", 0)
        doctest_namespace["case_folders"] = [
            _write_case(tmp_path / "cases" / f"p{seed}", seed) for seed in (1, 2, 3)
        ]
        doctest_namespace["case_list"] = _write_list(tmp_path / "cases.json", tmp_path / "cases")
        doctest_namespace["bids_folder"] = _write_bids(tmp_path / "bids")
        doctest_namespace["small_model"] = _write_model(tmp_path / "models")


def _write_case(folder: Path, seed: int) -> Path:
    """Scans of a ball-shaped brain with a ball-shaped tumor in it, and its labels, 2 mm voxels."""
    import numpy as np
    import SimpleITK as sitk

    generator = np.random.default_rng(seed)
    middle = np.array((20, 24, 28)) / 2
    axes = np.indices((20, 24, 28)).transpose(1, 2, 3, 0)
    distance = np.linalg.norm(axes - middle - generator.uniform(-3, 3, 3), axis=-1)
    labels = np.select([distance < 2, distance < 3.5, distance < 5], [1, 4, 2], 0)
    brain = np.linalg.norm((axes - middle) / middle, axis=-1) < 1
    folder.mkdir(parents=True)
    for name, bright in (("t1", ()), ("t1ce", (4,)), ("t2", (1, 2, 4)), ("flair", (2, 4))):
        voxels = generator.normal(100, 5, labels.shape) + 80 * np.isin(labels, bright)
        _write(sitk.GetImageFromArray((voxels * brain).astype(np.float32)), folder, name)
    _write(sitk.GetImageFromArray((labels * brain).astype(np.uint8)), folder, "labels")
    return folder


def _write(image: Any, folder: Path, name: str) -> None:
    import SimpleITK as sitk

    image.SetSpacing((2.0, 2.0, 2.0))
    sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))


def _write_list(path: Path, folder: Path) -> Path:
    """A list of the cases whose folders are in a folder."""
    cases = [
        {
            "name": place.name,
            "images": {
                name: str(place / f"{name}.nii.gz") for name in ("t1", "t1ce", "t2", "flair")
            },
            "labels": str(place / "labels.nii.gz"),
        }
        for place in sorted(folder.iterdir())
    ]
    path.write_text(json.dumps(cases), encoding="utf-8")
    return path


def _write_bids(folder: Path) -> Path:
    """A BIDS dataset of two subjects."""
    names = {"t1": "T1w", "t1ce": "ce-gadolinium_T1w", "t2": "T2w", "flair": "FLAIR"}
    for number, subject in enumerate(("sub-01", "sub-02")):
        place = _write_case(folder / subject / "anat", number)
        (place / "labels.nii.gz").unlink()
        for modality, name in names.items():
            (place / f"{modality}.nii.gz").rename(place / f"{subject}_{name}.nii.gz")
    description = {"Name": "Two subjects", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (folder / "dataset_description.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


def _write_model(folder: Path) -> Path:
    from MISSUCore.contract.labels import BRATS
    from MISSUCore.contract.model_card import ModelCard
    from MISSUCore.contract.network_config import NetworkConfig
    from MISSUCore.models.store import save_model
    from MISSUCore.network.transunet import TransUNet

    network = NetworkConfig(
        outputs=3, channels=(4, 8), convolutions=(1, 1), skips=1, transformer=False
    )
    card = ModelCard(
        name="small",
        modalities=("t1", "t1ce", "t2", "flair"),
        scheme=BRATS.as_dict(),
        targets="regions",
        spacing_mm=(2.0, 2.0, 2.0),
        network=network,
    )
    save_model(folder, card, TransUNet(network).state_dict())
    return folder / "small.pt"
