"""Which volume is which sequence? From names, DICOM series descriptions and contrast agents."""

from __future__ import annotations

import re
from collections.abc import Iterable

import slicer

from MISSUCore.imaging.modalities import BRATS_MODALITIES


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z0-9])({pattern})(?![a-z0-9])", re.IGNORECASE)


# Maps that are computed from scans, and scans of another kind.
_OTHER = _words(
    r"adc|dwi|diff\w*|ep2d\w*|dti|trace|swi|perf\w*|dsc|dce|r?cbv|r?cbf|mtt|asl|tof|t2 ?\*|"
    r"t2 ?star|subtract\w*|sub|fused|scout|locali[sz]er|mask|labels?|seg\w*|truth|probability"
)
_FLAIR = _words(r"flair\w*|fla|t2f|dark ?fluid")
_T2 = _words(r"t2w?")
_T1 = _words(r"t1[nw]?|t1 ?(ce|c|gd|km)|mp ?rage|mpr|f?spgr|bravo|vibe")
_CONTRAST = _words(r"t1 ?c|\+ ?c|c\+|(t1|\+)? ?(ce|gd|km)|gad\w*|post|contrast\w*|enhanced|mdc")
_NO_CONTRAST = _words(r"pre|without|no|non|w/o|native?|unenhanced")
_SERIES_DESCRIPTION = "0008,103E"
_CONTRAST_AGENT = "0018,0010"


def guessModalities(
    volumeNodes: Iterable[slicer.vtkMRMLScalarVolumeNode],
) -> dict[str, slicer.vtkMRMLScalarVolumeNode]:
    """Volumes by modality (t1, t1ce, t2, flair), only where exactly one fits."""
    found: dict[str, list[slicer.vtkMRMLScalarVolumeNode]] = {m: [] for m in BRATS_MODALITIES}
    for node in volumeNodes:
        modality = None if node.IsA("vtkMRMLLabelMapVolumeNode") else modalityOfVolume(node)
        if modality:
            found[modality].append(node)
    return {modality: nodes[0] for modality, nodes in found.items() if len(nodes) == 1}


def modalityOfVolume(node: slicer.vtkMRMLScalarVolumeNode) -> str | None:
    """The modality of a volume, by its DICOM series if it has one, else by its name; or None."""
    described = modalityOfText(
        _dicomValue(node, _SERIES_DESCRIPTION), bool(_dicomValue(node, _CONTRAST_AGENT).strip())
    )
    return described or modalityOfText(node.GetName() or "")


def modalityOfText(text: str, contrastAgent: bool = False) -> str | None:
    """The modality that a name or description tells of; None if it tells of none or several.

    Args:
        text: such as ``"5: AX T1 POST GAD"``, ``"BraTS2021_00000_t1ce"`` or ``"Sag FLAIR"``.
        contrastAgent: whether one was given before this scan, so that a T1 is a T1ce.
    """
    words = re.sub(r"[_.\-]+", " ", text)
    if _OTHER.search(words):
        return None
    if _T1.search(words):  # also a "T1 FLAIR"
        if _T2.search(words):
            return None
        enhanced = contrastAgent or _CONTRAST.search(words)
        return "t1ce" if enhanced and not _NO_CONTRAST.search(words) else "t1"
    if _FLAIR.search(words):
        return "flair"
    return "t2" if _T2.search(words) else None


def _dicomValue(node: slicer.vtkMRMLScalarVolumeNode, tag: str) -> str:
    """Value of a tag in the first file of the volume's series; empty if there is none."""
    uids = node.GetAttribute("DICOM.instanceUIDs")
    database = getattr(slicer, "dicomDatabase", None)
    return database.instanceValue(uids.split()[0], tag) if uids and database else ""
