"""Reading further maps, and whether they can be of the patient whom the scans show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from ..contract.labels import is_plain_name
from ..core.errors import InputError
from ..core.messages import Text, a_file
from ..io.dicom import ScanSource, series_header
from ..io.dicom_file import is_dicom
from ..io.reading import read_map
from ..sequences.examination import Identity, bids_entity, identity_of


@dataclass(frozen=True)
class FurtherMap:
    """A map as it was read.

    Attributes:
        name: by which it is reported.
        source: where it was read.
        image: float, NaN where it has no number.
        warnings: what is doubtful about its place or time, one sentence each.
    """

    name: str
    source: ScanSource
    image: sitk.Image
    warnings: Sequence[str] = ()


def read_maps(
    paths: Mapping[str, ScanSource], scans: Iterable[ScanSource] = ()
) -> list[FurtherMap]:
    """Read further maps.

    Args:
        paths: image files, or DICOM folders or series, by the name of the map.
        scans: that must show the same patient, as far as DICOM or BIDS tells.

    Raises:
        InputError: if a map cannot be used (4-D, complex, in color, constant, without a number), is
            another patient's, or has a name that cannot be shown.
    """
    maps = []
    told = {scan: _identity(scan) for scan in (scans if paths else ())}
    for name, source in paths.items():
        if not is_plain_name(name):
            raise InputError(
                f'{name!r} is no name for a map; use up to 64 letters, and no < > : " / \\ | ? *'
            )
        image, warnings = read_map(source)
        maps.append(
            FurtherMap(name, source, image, [*warnings, *_examinations(name, source, told)])
        )
    return maps


def _examinations(
    name: str, source: ScanSource, scans: Mapping[ScanSource, tuple[bool, Identity]]
) -> list[Text]:
    """A warning if a map is of another examination than a scan.

    Raises:
        InputError: if it is of another patient.
    """
    is_dicom_map, own = _identity(source)
    for scan, (is_dicom_scan, other) in scans.items():
        if is_dicom_map != is_dicom_scan:
            continue  # a number in DICOM and one in BIDS tell nothing of each other
        if own.other_patient(other):
            raise InputError(
                a_file(source),
                f": the map {name} is of another patient than ",
                a_file(scan),
                "; give the map of the same examination",
            )
        if own.other_examination(other):
            return [
                Text(
                    a_file(source),
                    f": the map {name} is of another examination than ",
                    a_file(scan),
                    "; look whether it lies on it",
                )
            ]
    return []


def _identity(source: ScanSource) -> tuple[bool, Identity]:
    """Whether a source is DICOM, and whom and when it shows, as its tags or BIDS names say."""
    if isinstance(source, Path) and not (source.is_dir() or is_dicom(source)):
        path = str(source)
        return False, Identity(bids_entity(path, "sub"), study=bids_entity(path, "ses"))
    return True, identity_of(series_header(source).tags)
