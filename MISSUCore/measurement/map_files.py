"""Reading further maps, and checking that they can belong to the patient of the scans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import SimpleITK as sitk

from ..contract.labels import is_plain_name
from ..core.errors import InputError
from ..core.messages import Text, a_file
from ..io.dicom import ScanSource
from ..io.reading import read_map
from ..sequences.one_patient import Origin, origin_of


@dataclass(frozen=True)
class FurtherMap:
    """A further map, such as ADC or CBV.

    Attributes:
        name: used in reports.
        source: that it was read from.
        image: float, NaN where it has no value.
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
    told = {scan: origin_of(scan) for scan in (scans if paths else ())}
    for name, source in paths.items():
        if not is_plain_name(name):
            raise InputError(
                f'{name!r} is not a name for a map; use up to 64 letters, and no < > : " / \\ | ? *'
            )
        image, warnings = read_map(source)
        maps.append(
            FurtherMap(name, source, image, [*warnings, *_examinations(name, source, told)])
        )
    return maps


def _examinations(name: str, source: ScanSource, scans: Mapping[ScanSource, Origin]) -> list[Text]:
    """Warnings if a map is from another examination than a scan, or in another frame of reference.

    Raises:
        InputError: if it is of another patient.
    """
    own = origin_of(source)
    for scan, other in scans.items():
        if own.other_patient(other):
            raise InputError(
                a_file(source),
                f": the map {name} is of another patient than ",
                a_file(scan),
                "; give the map of the same examination",
            )
        for what, differs in (
            ("examination", own.other_examination(other)),
            ("frame of reference", own.other_frame(other)),
        ):
            if differs:
                return [
                    Text(
                        a_file(source),
                        f": the map {name} is of another {what} than ",
                        a_file(scan),
                        "; look whether it lies on it",
                    )
                ]
    return []
