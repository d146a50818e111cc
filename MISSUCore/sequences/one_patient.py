"""Do scans and maps that were named one by one show one patient, as far as DICOM or BIDS tells?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from ..core.errors import InputError
from ..core.messages import Text, a_file, an_option
from ..io.dicom import ScanSource, series_header
from ..io.dicom_file import is_dicom
from .examination import Identity, bids_entity, identity_of


@dataclass(frozen=True)
class Origin:
    """Where a scan or map comes from.

    Attributes:
        identity: whom and when it shows, as its tags or BIDS names say.
        is_dicom: whether tags say it; a number in DICOM and one in BIDS tell nothing of each other.
        frame: Frame of Reference UID, within which places can be compared; "" if it has none.
    """

    identity: Identity
    is_dicom: bool = False
    frame: str = ""

    def other_patient(self, other: Origin) -> bool:
        """Whether the two show different patients."""
        return self.is_dicom == other.is_dicom and self.identity.other_patient(other.identity)

    def other_examination(self, other: Origin) -> bool:
        """Whether the two are of different examinations."""
        return self.is_dicom == other.is_dicom and self.identity.other_examination(other.identity)

    def other_frame(self, other: Origin) -> bool:
        """Whether headers do not tell where one lies in the other: the patient was moved."""
        return self.frame != other.frame and bool(self.frame and other.frame)


def origin_of(source: ScanSource) -> Origin:
    """Where a scan or map comes from.

    Raises:
        InputError: if it is DICOM and cannot be read.
    """
    if isinstance(source, Path) and not (source.is_dir() or is_dicom(source)):
        path = str(source)
        return Origin(Identity(bids_entity(path, "sub"), study=bids_entity(path, "ses")))
    tags = series_header(source).tags
    return Origin(identity_of(tags), True, tags.get("FrameOfReferenceUID", ""))


def check_one_patient(
    scans: Mapping[str, ScanSource], *, only_warn: bool, registered: bool
) -> list[str]:
    """Make sure that scans show one patient.

    Args:
        scans: by modality.
        only_warn: whether another patient is no error.
        registered: whether they will be laid on each other; else headers tell their places.

    Returns:
        Warnings of other examinations, and of headers that cannot tell the places.

    Raises:
        InputError: naming two scans of different patients.
    """
    origins = {source: origin_of(source) for source in scans.values()}
    warnings: dict[str, Text] = {}  # one of a kind
    for (first, one), (second, other) in combinations(origins.items(), 2):
        if one.other_patient(other):
            told = _text("patient", first, second)
            if not only_warn:
                raise InputError(
                    told,
                    "; give scans of one patient, or, if they are, go on by ",
                    an_option("--allow-different-anatomy"),
                )
            warnings.setdefault("patient", told)
        elif one.other_examination(other):
            told = Text(
                _text("examination", first, second), "; look whether they lie on each other"
            )
            warnings.setdefault("examination", told)
        if one.other_frame(other) and not registered:
            told = Text(
                _text("frame of reference", first, second),
                ": their headers do not tell how they lie on each other; leave out ",
                an_option("--registration never"),
            )
            warnings.setdefault("frame", told)
    return list(warnings.values())


def _text(what: str, first: ScanSource, second: ScanSource) -> Text:
    return Text(a_file(second), f": is of another {what} than ", a_file(first))
