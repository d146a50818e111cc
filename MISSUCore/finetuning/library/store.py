"""A folder of the user's own corrected cases, to fine-tune on.

``LIBRARY/cases/ID/`` holds the scans and the label map of a case on one grid, as NIfTI files with
nothing but voxels and geometry of their source, and ``record.json``. Cases are added, replaced and
removed by renaming their folders, so that a kill at any moment leaves each case complete. Only one
process at a time changes a library.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ...contract.case_record import RECORD_FILE, CaseRecord, Change, read_record, write_record
from ...contract.labels import LabelScheme
from ...core.errors import ErrorCode, InputError
from ...core.files import NAME, folder_lock, translate_os_errors
from ...core.messages import a_file, an_option
from ...evaluation.metrics import dice
from ...evaluation.volumes import volumes_ml
from ...io.geometry import image_like, same_grid
from ...io.writing import write_image
from ...preprocessing.working_grid import resample_brain
from ...training.cases.labeled import LabeledCase
from ...training.cases.labels import read_labels
from .details import CaseDetails
from .duplicates import voxels_sha256
from .label_checks import check_labels

LABELS = "labels.nii.gz"


class CaseLibrary:
    """The cases in a library's folder; a missing folder is an empty library.

    Args:
        folder: chosen by the user.

    Raises:
        InputError: if it is a file.

    Examples:
        >>> from MISSUCore import BRATS, CaseLibrary, read_case
        >>> names = ("t1", "t1ce", "t2", "flair")
        >>> case = read_case({name: folder / f"{name}.nii.gz" for name in names})
        >>> library = CaseLibrary(folder / "library")
        >>> record = library.add(case.images, folder / "labels.nii.gz", BRATS)
        >>> [one.id == record.id for one in library.records()]
        [True]
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise InputError(a_file(folder), ": is a file; a library is a folder")
        self.folder = folder
        self.cases = folder / "cases"

    def case_folder(self, case_id: str) -> Path:
        """Where the files of a case are.

        Raises:
            InputError: if there is no such case.
        """
        place = self.cases / case_id
        named = re.fullmatch(NAME, case_id) and not case_id.startswith(".")
        if not named or not (place / RECORD_FILE).is_file():
            raise InputError(a_file(self.folder), f": holds no case {case_id!r}")
        return place

    def records(self) -> list[CaseRecord]:
        """Records of all cases, oldest first.

        Raises:
            InputError: if a record is damaged.
        """
        if any(self.cases.glob(".replaced-*")):
            with self._changing():
                pass  # puts it right
        return self._records()

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
        scans: Mapping[str, sitk.Image],
        labels: Path,
        scheme: LabelScheme,
        details: CaseDetails | None = None,
        *,
        as_read: Mapping[str, sitk.Image] | None = None,
    ) -> CaseRecord:
        """Store a corrected case.

        Args:
            scans: 3-D float images by modality, skull-stripped and in one space.
            labels: label map, on whose grid the scans are stored.
            scheme: what its values mean.
            details: what else is known of the case.
            as_read: the scans before preprocessing, if there was any, to recognize them when they
                are added again.

        Raises:
            InputError: if the labels cannot be right, or the scans are in the library already.
            ResourceError: if the disk is full.
        """
        details = details or CaseDetails()
        _check_names(scans)
        label_map = read_labels(LabeledCase("new", {}, labels), scheme)
        stored = {name: on_grid(image, label_map) for name, image in scans.items()}
        warnings = check_labels(label_map, scans, stored, scheme, details.tumor)
        record = replace(
            _record(stored, label_map, scheme, _checksums(as_read or scans)),
            scene=details.scene,
            note=details.note,
            model=details.model,
            changes=_changes(details.result, label_map, scheme) if details.result else {},
            warnings=tuple(warnings),
            provenance=details.provenance,
        )
        files = {_scan(name): image for name, image in stored.items()}
        files[LABELS] = image_like(sitk.GetArrayViewFromImage(label_map), label_map)
        with self._changing():
            record = self._in_its_place(record, details.replacing)
            self._store(record, files)
        return record

    def _in_its_place(self, record: CaseRecord, replacing: bool) -> CaseRecord:
        """The record of a new case, updated if it replaces a case with the same scans.

        Raises:
            InputError: if the scans are in the library already, and it is not to be replaced.
        """
        known = next((other for other in self._records() if record.shares_scans(other)), None)
        if known and not replacing:
            raise InputError(
                a_file(self.folder),
                f": these scans are in the library already, as {known.id}; add ",
                an_option("--replace"),
                " to take the new labels",
                code=ErrorCode.SCANS_KNOWN,
            )
        return _in_place_of(known, record) if known else record

    def exclude(self, case_id: str, excluded: bool = True) -> None:
        """Exclude a case from fine-tuning, or include it again.

        Raises:
            InputError: if there is no such case, or it cannot be written.
        """
        path = self.case_folder(case_id) / RECORD_FILE
        with self._changing():
            write_record(path, replace(read_record(path), excluded=excluded))

    def remove(self, case_id: str) -> None:
        """Delete a case for good.

        Raises:
            InputError: if there is no such case, it cannot be deleted, or its folder holds
                files that do not belong to the case.
        """
        folder = self.case_folder(case_id)
        scans = map(_scan, read_record(folder / RECORD_FILE).modalities)
        own = {RECORD_FILE, LABELS, *scans}
        foreign = sorted(path.name for path in folder.iterdir() if path.name not in own)
        if foreign:
            raise InputError(
                a_file(folder),
                f": holds files that are not of the case ({', '.join(foreign[:3])}); move them "
                "away first",
            )
        with self._changing(), translate_os_errors(folder):
            folder.rename(self.cases / f".removed-{secrets.token_hex(4)}")
            self._tidy()

    def _records(self) -> list[CaseRecord]:
        records = [read_record(path) for path in sorted(self.cases.glob(f"[!.]*/{RECORD_FILE}"))]
        return sorted(records, key=lambda record: record.added)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with folder_lock(self.folder):
            self._tidy()
            yield

    def _store(self, record: CaseRecord, files: Mapping[str, sitk.Image]) -> None:
        target = self.cases / record.id
        new = self.cases / f".adding-{record.id}"
        try:
            with ExitStack() as stack:
                for name, image in files.items():
                    write_image(stack, image, new / name)
            write_record(new / RECORD_FILE, record)
            with translate_os_errors(target):
                if target.exists():
                    target.rename(self.cases / f".replaced-{record.id}")
                new.rename(target)
        finally:
            self._tidy()

    def _tidy(self) -> None:
        """Repair what an interrupted change left behind."""
        for path in self.cases.glob(".replaced-*"):
            target = self.cases / path.name.partition("-")[2]
            if not target.exists():
                with translate_os_errors(target):
                    path.rename(target)
        for kind in ("adding", "removed", "replaced"):
            for path in self.cases.glob(f".{kind}-*"):
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


def _scan(modality: str) -> str:
    return f"{modality}.nii.gz"


def _checksums(scans: Mapping[str, sitk.Image]) -> dict[str, str]:
    return {name: voxels_sha256(image) for name, image in scans.items()}


def _in_place_of(known: CaseRecord, new: CaseRecord) -> CaseRecord:
    """The record of a case that replaces another; keeps the checksums of the old sources."""
    as_read = {
        name: known.scans_sha256.get(name, checksum)
        if checksum == known.stored_sha256.get(name)
        else checksum
        for name, checksum in new.scans_sha256.items()
    }
    return replace(new, id=known.id, scans_sha256=as_read)


def _changes(result: Path, labels: sitk.Image, scheme: LabelScheme) -> dict[str, Change]:
    """The corrections (added and removed voxels) by region."""
    given = read_labels(LabeledCase("result", {}, result), scheme)
    given = sitk.Resample(given, labels, sitk.Transform(), sitk.sitkNearestNeighbor)
    before, corrected = (
        scheme.to_regions(sitk.GetArrayViewFromImage(label_map)) for label_map in (given, labels)
    )
    spacing_mm = labels.GetSpacing()[::-1]
    names = scheme.region_names
    added = volumes_ml(corrected & ~before, spacing_mm, names)
    removed = volumes_ml(before & ~corrected, spacing_mm, names)
    return {
        name: Change(round(added[name], 3), round(removed[name], 3), round(dice(ours, theirs), 4))
        for name, ours, theirs in zip(names, before, corrected)
    }


def _record(
    stored: Mapping[str, sitk.Image],
    label_map: sitk.Image,
    scheme: LabelScheme,
    checksums: Mapping[str, str],
) -> CaseRecord:
    """The record of a case, from its images.

    Args:
        stored: its scans, on the grid of the labels.
        label_map: the labels.
        scheme: what they mean.
        checksums: of the scans as they were read.
    """
    masks = scheme.to_regions(sitk.GetArrayViewFromImage(label_map))
    volumes = volumes_ml(masks, label_map.GetSpacing()[::-1], scheme.region_names)
    combined = hashlib.sha256(json.dumps(checksums, sort_keys=True).encode()).hexdigest()
    return CaseRecord(
        id=f"case-{combined[:10]}",
        added=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        modalities=tuple(stored),
        scheme=scheme.as_dict(),
        volumes_ml={name: round(volume, 3) for name, volume in volumes.items()},
        scans_sha256=dict(checksums),
        stored_sha256=_checksums(stored),
        labels_sha256=voxels_sha256(label_map),
    )


def _check_names(modalities: Iterable[str]) -> None:
    for name in modalities:
        if not re.fullmatch(NAME, name) or _scan(name.lower()) == LABELS:
            raise InputError(
                f"a modality cannot be named {name!r}; use letters, digits, dots, dashes, "
                "underscores"
            )
