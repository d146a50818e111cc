"""A folder of the user's own corrected cases, to fine-tune on.

``LIBRARY/cases/ID/`` holds the scans and the label map of a case on one grid, as NIfTI files that
carry nothing of their source but voxels and geometry, and ``record.json``. A case appears, is
replaced and goes by the renaming of its folder: a kill at any moment leaves it whole.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..errors import InputError
from ..evaluation.measurements import volumes_ml
from ..evaluation.metrics import dice
from ..files import errors_told
from ..imaging.case import Case
from ..imaging.preparation import image_like, resample_brain
from ..inference.case_files import write_image
from ..model_store import NAME
from ..regions import LabelScheme
from .case_lists import LabeledCase
from .case_record import CaseRecord, read_record, write_record
from .label_checks import check_labels
from .labels import read_labels

RECORD, LABELS = "record.json", "labels.nii.gz"
GRID_TOLERANCE = 1e-3  # mm, and parts of a direction's length
# Younger leftovers may be of a process that is still writing.
SECONDS_UNTIL_LEFTOVER = 3600.0


class CaseLibrary:
    """The cases in a library's folder; a folder that is not there yet holds none.

    Args:
        folder: chosen by the user.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cases = folder / "cases"

    def case_folder(self, case_id: str) -> Path:
        """Where the files of a case are.

        Raises:
            InputError: if there is no such case.
        """
        if not re.fullmatch(NAME, case_id) or not (self.cases / case_id / RECORD).is_file():
            raise InputError(f"{self.folder}: holds no case {case_id!r}")
        return self.cases / case_id

    def records(self) -> list[CaseRecord]:
        """Records of all cases, oldest first.

        Raises:
            InputError: if a record is damaged.
        """
        self._tidy()
        records = [read_record(path) for path in sorted(self.cases.glob(f"[!.]*/{RECORD}"))]
        return sorted(records, key=lambda record: record.added)

    def labeled_cases(self) -> list[tuple[CaseRecord, LabeledCase]]:
        """The cases to train on: all that are not excluded, oldest first."""
        return [
            (
                record,
                LabeledCase(
                    record.id,
                    {name: self.cases / record.id / _scan(name) for name in record.modalities},
                    self.cases / record.id / LABELS,
                ),
            )
            for record in self.records()
            if not record.excluded
        ]

    def add(
        self,
        case: Case,
        labels: Path,
        scheme: LabelScheme,
        *,
        result: Path | None = None,
        model: Mapping[str, str] | None = None,
        scene: str = "",
        note: str = "",
        tumor: bool = True,
        replacing: bool = False,
    ) -> CaseRecord:
        """Store a corrected case.

        Args:
            case: skull-stripped, co-registered scans.
            labels: label map, on whose grid the scans are stored.
            scheme: what its values mean.
            result: label map that the model gave, to say how much was changed.
            model: ``name`` and ``sha256`` of that model.
            scene: where the case comes from; nothing that names the patient.
            note: any text.
            tumor: whether there is one; a label map without any must be meant.
            replacing: take the new labels if the scans are in the library already.

        Raises:
            InputError: if the labels cannot be right, or the scans are in the library already.
            ResourceError: if the disk is full.
        """
        label_map = read_labels(LabeledCase("new", {}, labels), scheme)
        checksums = {name: _content_sha256(image) for name, image in case.images.items()}
        known = self._known(checksums)
        if known and not replacing:
            raise InputError(
                f"{self.folder}: these scans are in the library already, as {known.id}; add "
                "--replace to take the new labels"
            )
        stored = {name: on_grid(image, label_map) for name, image in case.images.items()}
        voxels = sitk.GetArrayViewFromImage(label_map)
        masks = scheme.to_regions(voxels)
        spacing_mm = label_map.GetSpacing()[::-1]
        combined = hashlib.sha256(json.dumps(checksums, sort_keys=True).encode()).hexdigest()
        record = CaseRecord(
            id=known.id if known else f"case-{combined[:10]}",
            added=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            scene=scene,
            note=note,
            modalities=tuple(case.images),
            scheme=scheme.as_dict(),
            model=dict(model or {}),
            changes=_changes(result, label_map, masks, scheme) if result else {},
            volumes_ml=_rounded(volumes_ml(masks, spacing_mm, scheme.region_names)),
            warnings=tuple(check_labels(label_map, case.images, stored, scheme, tumor)),
            scans_sha256=checksums,
            labels_sha256=_content_sha256(label_map),
        )
        files = {_scan(name): image for name, image in stored.items()}
        files[LABELS] = image_like(voxels, label_map)
        self._store(record, files)
        return record

    def exclude(self, case_id: str, excluded: bool = True) -> None:
        """Leave a case out of fine-tuning, or take it in again.

        Raises:
            InputError: if there is no such case, or it cannot be written.
        """
        path = self.case_folder(case_id) / RECORD
        write_record(path, replace(read_record(path), excluded=excluded))

    def remove(self, case_id: str) -> None:
        """Delete a case for good.

        Raises:
            InputError: if there is no such case, or it cannot be deleted.
        """
        folder = self.case_folder(case_id)
        doomed = self.cases / f".removed-{secrets.token_hex(4)}"
        with errors_told(folder):
            folder.rename(doomed)
        self._tidy()

    def _known(self, checksums: Mapping[str, str]) -> CaseRecord | None:
        """The case that has one of these scans."""
        wanted = set(checksums.values())
        for record in self.records():
            if wanted & set(record.scans_sha256.values()):
                return record
        return None

    def _store(self, record: CaseRecord, files: Mapping[str, sitk.Image]) -> None:
        target = self.cases / record.id
        with self._new_folder() as folder:
            with ExitStack() as stack:
                for name, image in files.items():
                    write_image(stack, image, folder / name)
            write_record(folder / RECORD, record)
            with errors_told(target):
                if target.exists():
                    target.rename(self.cases / f".replaced-{record.id}")
                folder.rename(target)
        self._tidy()

    @contextmanager
    def _new_folder(self) -> Iterator[Path]:
        folder = self.cases / f".adding-{secrets.token_hex(4)}"
        with errors_told(folder):
            folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _tidy(self) -> None:
        """Put right what a kill left behind."""
        for path in self.cases.glob(".replaced-*"):
            target = self.cases / path.name.partition("-")[2]
            if not target.exists():
                with errors_told(target):
                    path.rename(target)
        leftovers = [*self.cases.glob(".replaced-*"), *self.cases.glob(".removed-*")]
        for path in self.cases.glob(".adding-*"):
            try:
                if time.time() - path.stat().st_mtime > SECONDS_UNTIL_LEFTOVER:
                    leftovers.append(path)
            except FileNotFoundError:
                continue  # another process has just finished with it
        for path in leftovers:
            shutil.rmtree(path, ignore_errors=True)


def on_grid(image: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """A skull-stripped scan on a grid, with nothing but voxels and geometry.

    Where the grids agree the voxels are those of the scan; else it is resampled in physical space.
    """
    voxels = sitk.GetArrayFromImage(image)
    if not same_grid(image, grid):
        inside, values = resample_brain(voxels, voxels != 0, image, grid)
        voxels = np.zeros(inside.shape, np.float32)
        voxels[inside] = values
    return image_like(voxels, grid)


def same_grid(first: sitk.Image, second: sitk.Image) -> bool:
    """Whether the voxels of two images lie in the same places."""
    if first.GetSize() != second.GetSize():
        return False
    pairs = (
        (first.GetOrigin(), second.GetOrigin()),
        (first.GetSpacing(), second.GetSpacing()),
        (first.GetDirection(), second.GetDirection()),
    )
    return all(np.allclose(ours, theirs, rtol=0, atol=GRID_TOLERANCE) for ours, theirs in pairs)


def _scan(modality: str) -> str:
    return f"{modality}.nii.gz"


def _content_sha256(image: sitk.Image) -> str:
    """Checksum of voxels and geometry, whatever the file's format and name."""
    numbers = (*image.GetOrigin(), *image.GetSpacing(), *image.GetDirection())
    # Rounded, for formats keep geometry with different precision; + 0 makes -0 the same as 0.
    geometry = [image.GetSize(), *(round(number, 2) + 0.0 for number in numbers)]
    digest = hashlib.sha256(json.dumps(geometry).encode())
    digest.update(sitk.GetArrayViewFromImage(image).tobytes())
    return digest.hexdigest()


def _changes(
    result: Path, labels: sitk.Image, corrected: NDArray[np.bool_], scheme: LabelScheme
) -> dict[str, Any]:
    """What was added and removed, by region."""
    given = read_labels(LabeledCase("result", {}, result), scheme)
    given = sitk.Resample(given, labels, sitk.Transform(), sitk.sitkNearestNeighbor)
    before = scheme.to_regions(sitk.GetArrayViewFromImage(given))
    spacing_mm = labels.GetSpacing()[::-1]
    names = scheme.region_names
    added = volumes_ml(corrected & ~before, spacing_mm, names)
    removed = volumes_ml(before & ~corrected, spacing_mm, names)
    return {
        name: {
            "added_ml": round(added[name], 3),
            "removed_ml": round(removed[name], 3),
            "dice": round(dice(ours, theirs), 4),
        }
        for name, ours, theirs in zip(names, before, corrected)
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}
