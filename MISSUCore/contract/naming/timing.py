"""What the DICOM attributes of a series tell of its contrast, apart from words.

Loads without torch and SimpleITK. Times are those of spin-echo and gradient-echo imaging of the
brain at 1.5 and 3 T, as in: Brown et al., Magnetic Resonance Imaging: Physical Principles and
Sequence Design, 2nd edition, 2014; attributes as in DICOM PS3.3, C.8.3.1 and C.8.13.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

# Values of Image Type that mark what is not a scan of one weighting.
_IMAGE_TYPES = {
    "LOCALIZER": "a localizer",
    "ADC": "a diffusion map",
    "DIFFUSION": "a diffusion scan",
    "TRACEW": "a diffusion scan",
    "FA": "a diffusion map",
    "PERFUSION": "a perfusion scan",
    "SUBTRACTION": "a subtraction",
    "SUB": "a subtraction",
    "MIP": "a projection",
    "MNIP": "a projection",
    "MINIP": "a projection",
    "PROJECTION IMAGE": "a projection",
    "P": "a phase image",
    "PHASE MAP": "a phase image",
    "VELOCITY MAP": "a phase image",
    "SWI": "a susceptibility scan",
    "FMRI": "a functional scan",
    "T1 MAP": "a map",
    "T2 MAP": "a map",
    "T2_STAR MAP": "a map",
    "SCREEN SAVE": "a picture",
    "SECONDARY CAPTURE": "a picture",
}
_OTHER_BODY_PARTS = re.compile(
    "spine|neck|breast|chest|abdomen|pelvis|prostate|liver|knee|hip|shoulder|heart|extremity", re.I
)
# Siemens' names of pulse sequences that tell more than Scanning Sequence does.
_SEQUENCE_NAMES = (
    (re.compile(r"^\*?ep[_2]|^\*?ep.?b", re.I), "a diffusion, perfusion or functional scan"),
    (re.compile(r"^\*?swi|^\*?qsm", re.I), "a susceptibility scan"),
    # TONE pulses and velocity encoding
    (re.compile(r"^\*?(fi[23]d|tof|fl[23]d\d*r?_[tv]\d)", re.I), "an angiogram"),
    (re.compile(r"^\*?(tfi|ci3d)", re.I), "a steady-state scan"),
)


@dataclass(frozen=True)
class Timing:
    """What the times of the pulse sequence make of the image.

    Attributes:
        sequence: "t1", "t2" or "flair"; None if none of them.
        meaning: what it is then.
        times: as given, for the user.
        proof: whether they leave no doubt, whatever words say.
    """

    sequence: str | None
    meaning: str
    times: str
    proof: bool

    def __str__(self) -> str:
        return f"{self.times}: {self.meaning}"


def foreign_series(tags: Mapping[str, str]) -> str:
    """Why a series is not a scan of one weighting of the brain; "" if nothing says so."""
    modality = tags.get("Modality", "MR")
    if modality != "MR":
        return f"not an MR scan: modality {modality}"
    for value in tags.get("ImageType", "").upper().split("\\"):
        if value.strip() in _IMAGE_TYPES:
            return f"{_IMAGE_TYPES[value.strip()]}: image type {value.strip()}"
    part = tags.get("BodyPartExamined", "")
    if _OTHER_BODY_PARTS.search(part) and not re.search("brain|head", part, re.I):
        return f"not of the brain: body part {part}"
    name = tags.get("SequenceName", "")
    for pattern, what in _SEQUENCE_NAMES:
        if pattern.search(name):
            return f"{what}: pulse sequence {name}"
    return ""


def timing_of(tags: Mapping[str, str]) -> Timing | None:
    """What echo, repetition and inversion time make of the image; None if they do not tell."""
    echo, repetition, inversion = (
        _number(tags.get(keyword, ""))
        for keyword in ("EchoTime", "RepetitionTime", "InversionTime")
    )
    if not echo or not repetition:
        return None
    kinds = set(tags.get("ScanningSequence", "").upper().split("\\"))
    times = f"echo time {echo:g} ms, repetition time {repetition:g} ms"
    if inversion:
        times += f", inversion time {inversion:g} ms"

    def found(sequence: str | None, meaning: str, proof: bool = False) -> Timing:
        return Timing(sequence, meaning, times, proof)

    spin_echo = "SE" in kinds or (not kinds & {"GR", "EP"} and repetition >= 250)
    if "EP" in kinds:
        return found(None, "a diffusion, perfusion or functional scan", proof=True)
    if inversion and 80 <= inversion <= 350 and spin_echo:
        return found(None, "a STIR", proof=True)
    if inversion and 500 <= inversion <= 1400 and echo <= 40:
        return found("t1", "T1 by inversion recovery", proof=True)
    if inversion and inversion >= 1500 and repetition >= 4000 and echo >= 60:
        return found("flair", "fluid is suppressed", proof=True)
    if spin_echo and inversion and "IR" in kinds:
        return None
    if spin_echo and echo <= 40 and repetition <= 1200:
        return found("t1", "short times as of T1")
    if spin_echo and echo <= 40 and repetition >= 1800 and not inversion:
        return found(None, "times as of proton density")
    if spin_echo and echo >= 60 and repetition >= 2000 and "IR" not in kinds:
        return found("t2", "long times as of T2")
    if not spin_echo and "GR" in kinds and echo >= 12:
        return found(None, "T2* by gradient echo", proof=True)
    if not spin_echo and "GR" in kinds and echo <= 10 and repetition <= 60:
        return found("t1", "short times as of T1")
    return None


def _number(text: str) -> float:
    try:
        return float(text.split("\\")[0])
    except ValueError:
        return 0.0
