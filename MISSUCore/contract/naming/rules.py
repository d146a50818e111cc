"""Which sequence is this? From names, as hospitals and data sets give them, and from DICOM tags.

Loads without torch and SimpleITK, so that the Slicer module can use it. The words are in
:mod:`.words`; MISSUCore.sequences.appearance looks at the images where names and tags are silent.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, replace
from os.path import commonprefix
from typing import TypeVar

from ...core.serialization import maybe
from ..modalities import BRATS_MODALITIES, IMAGE_ENDING
from .timing import Timing, foreign_series, timing_of
from .words import Words, words_of

# All that the last part of a BraTS or BIDS name may be.
_SHORT_NAME = re.compile(r"t1(n|w|c|ce|gd)?|t2[wf]?|fla(ir)?|seg|labels?", re.IGNORECASE)
# Parts of a BIDS name that say nothing of the sequence, though what is in them may look so.
_BIDS_ENTITIES = re.compile(
    r"(?<![a-z0-9])(sub|ses|run|task|dir|echo|space|res)-[a-z0-9]+", re.IGNORECASE
)
# "t1_registered_to_t2" is a T1.
_TARGET = re.compile(
    r"[-_ ]((co)?reg\w*|aligned|warped|resampled)?[-_ ]?(to|in|on)[-_ ][a-z0-9]+", re.I
)
_NO_AGENT = re.compile(
    r"no|none|n|nil|na|n/a|not?( given)?|0|-+|unknown|no contrast|without|ohne", re.I
)
# A guess is clearly better than another when it is this much more confident.
CLEAR_MARGIN = 0.1

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Guess:
    """What sequence a scan is of.

    Attributes:
        sequence: "t1", "t1ce", "t2", "flair" or "segmentation"; None if it is none of these, or
            unknown.
        confidence: 0 to 1, in the sequence, or in its being none; 0 if nothing is known.
        reason: a phrase for the user, as "series description 'AX T1 POST GAD'".
        agent_only: whether a T1 is taken for T1ce only because the header names a contrast agent.
    """

    sequence: str | None = maybe(str)
    confidence: float = 0.0
    reason: str = ""
    agent_only: bool = False


@dataclass(frozen=True)
class _Text:
    """A text that came with the scan, and what it says."""

    source: str
    text: str
    words: Words

    def __str__(self) -> str:
        return f"{self.source} '{self.text}'"


def modality_of_file_name(file_name: str) -> str | None:
    """``"t1"``, ``"t1ce"``, ``"t2"``, ``"flair"``, ``"segmentation"``, or None if it does not say.

    The last part of the name decides, as in all of BraTS: ``BraTS-GLI-00012-000-t1c.nii.gz`` is a
    T1ce, and ``t1_brain.nii.gz`` says nothing. :func:`guess_from_name` understands more.
    """
    stem, endings = IMAGE_ENDING.subn("", file_name)
    last = re.split(r"[-_. ]", stem)[-1]
    if not endings or not _SHORT_NAME.fullmatch(last):
        return None
    words = words_of(last)
    if words.sequence == "t1" and (words.contrast or "_ce-" in stem):
        return "t1ce"
    return words.sequence


def without_common_start(names: Collection[str]) -> dict[str, str]:
    """What is left of file names that begin alike, if it is a sequence in each: annat1, annaflair.

    A single one of them could be anything, as "patient1", and so could "patient1" and "patient2":
    one at least must end in what no other word ends in. Otherwise nothing is returned.
    """
    stems = {name: IMAGE_ENDING.sub("", name) for name in names}
    # Of letters: these are not paths.
    begin = commonprefix([stem.lower() for stem in stems.values()])  # noqa: RUF071
    start = re.sub(r"t[12]?$", "", begin)
    ends = {name: stem[len(start) :] for name, stem in stems.items()}
    if len(ends) < 2 or not all(_SHORT_NAME.fullmatch(end) for end in ends.values()):
        return {}
    words = [words_of(end) for end in ends.values()]
    sure = any(word.sequence == "flair" or word.contrast is not None for word in words)
    return ends if sure else {}


def guess_from_name(name: str) -> Guess:
    """What the name of a file, with or without ending, or of a volume says."""
    return guess_sequence(name, {})


def guess_from_tags(tags: Mapping[str, str]) -> Guess:
    """What the DICOM attributes of a series tell, by keyword (``SeriesDescription``, ...).

    Several values are separated by a backslash, times are in ms, as in DICOM (PS3.6).
    """
    return guess_sequence("", tags)


def guess_sequence(name: str, tags: Mapping[str, str]) -> Guess:
    """What a name and DICOM attributes tell together.

    The first of series description, protocol name and name that says what it is decides, unless
    the times of the pulse sequence prove it wrong. Times alone tell T1, T2 and FLAIR apart, less
    surely. A contrast agent makes a T1 a T1ce, unless words say that the scan came before it:
    scanners write the agent into all series of an examination.
    """
    tags = {keyword: value.strip() for keyword, value in tags.items() if value.strip()}
    foreign = foreign_series(tags)
    if foreign:
        return Guess(None, 0.95, foreign)
    texts = _texts(name, tags)
    telling = next((text for text in texts if text.words.sequence or text.words.other), None)
    timing = timing_of(tags)
    if telling is None and timing is None:
        said = ", ".join(map(str, texts))
        return Guess(None, 0.0, f"{said} does not tell" if said else "no name and no tags")
    if telling and telling.words.other:
        return Guess(None, 0.9, f"{telling.words.other}: {telling}")
    if telling and telling.words.sequence == "segmentation":
        return Guess("segmentation", 0.9, f"a segmentation: {telling}")
    weighting, confidence, reasons = _weighting(telling, timing)
    doubts = [
        text
        for text in texts
        if telling and text is not telling and text.words.sequence not in (None, weighting)
    ]
    if doubts:
        confidence = min(confidence, 0.6)
        reasons.append(f"though {doubts[0]}")
    if weighting != "t1":
        return Guess(weighting, confidence, "; ".join(reasons))
    return _with_contrast(confidence, reasons, texts, tags.get("ContrastBolusAgent", ""))


def contrast_told_apart(guesses: Mapping[Key, Guess]) -> dict[Key, Guess]:
    """The guesses, with a T1 found among several T1ce where words name contrast in some only.

    Scanners write the agent into all series of an examination, also into those before it. Where
    no scan is T1 otherwise, those whose words are silent are it.
    """
    enhanced = {guess.agent_only for guess in guesses.values() if guess.sequence == "t1ce"}
    if len(enhanced) < 2 or any(guess.sequence == "t1" for guess in guesses.values()):
        return dict(guesses)
    return {
        key: replace(
            guess,
            sequence="t1",
            reason=f"{guess.reason}, as in series that say so in words",
        )
        if guess.sequence == "t1ce" and guess.agent_only
        else guess
        for key, guess in guesses.items()
    }


def assign(
    guesses: Mapping[Key, Guess], preference: Mapping[Key, float] | None = None
) -> dict[str, Key]:
    """One scan for each of t1, t1ce, t2 and flair that some scan was guessed to be.

    Where several were, a clearly more confident guess wins, then the higher preference; a sequence
    with two that are equally good is left out.

    Args:
        guesses: by scan.
        preference: by scan, such as the fineness of its voxels; by default all are alike.
    """
    liking = preference or {}
    chosen = {}
    for sequence in BRATS_MODALITIES:
        fitting = {key: guess for key, guess in guesses.items() if guess.sequence == sequence}
        most = max((guess.confidence for guess in fitting.values()), default=0.0)
        sure = [key for key, guess in fitting.items() if guess.confidence > most - CLEAR_MARGIN]
        best = max((liking.get(key, 0.0) for key in sure), default=0.0)
        liked = [key for key in sure if liking.get(key, 0.0) == best]
        if len(liked) == 1:
            chosen[sequence] = liked[0]
    return chosen


def to_be_looked_at(guesses: Mapping[Key, Guess]) -> tuple[list[Key], set[str]]:
    """The scans of one case of which only the image can tell the sequence, and those in question.

    There are no such scans if they are more than the sequences that are still missing: some must be
    of another kind then.

    Args:
        guesses: from names and tags.
    """
    silent = [key for key, guess in guesses.items() if not guess.confidence]
    missing = set(BRATS_MODALITIES) - {guess.sequence for guess in guesses.values()}
    return (silent if len(silent) <= len(missing) else []), missing


def _texts(name: str, tags: Mapping[str, str]) -> list[_Text]:
    stem = _TARGET.sub("", _BIDS_ENTITIES.sub("", IMAGE_ENDING.sub("", name)))
    named = (
        ("series description", tags.get("SeriesDescription", ""), None),
        ("protocol name", tags.get("ProtocolName", ""), None),
        ("name", name, stem),
    )
    texts: list[_Text] = []
    for source, text, meant in named:
        if text and text not in [other.text for other in texts]:
            texts.append(_Text(source, text, words_of(text if meant is None else meant)))
    return texts


def _weighting(text: _Text | None, timing: Timing | None) -> tuple[str | None, float, list[str]]:
    """What the words and the times say together: t1, t2, flair or None; confidence; reasons."""
    if text is None:
        return (timing.sequence, 0.6, [str(timing)]) if timing else (None, 0.0, [])
    if timing is None:
        return text.words.sequence, 0.95 if text.words.sure else 0.7, [str(text)]
    if timing.sequence == text.words.sequence:
        return timing.sequence, 0.98 if text.words.sure else 0.9, [str(text), str(timing)]
    if timing.proof or not text.words.sure:
        return timing.sequence, 0.6, [str(timing), f"though {text}"]
    return text.words.sequence, 0.5, [str(text), f"though {timing}"]


def _with_contrast(confidence: float, reasons: list[str], texts: list[_Text], agent: str) -> Guess:
    """T1 or T1ce."""
    agent = "" if _NO_AGENT.fullmatch(agent) else agent
    # A protocol named "BRAIN WITH CONTRAST" holds scans before it, too.
    saying = [t for t in texts if t.words.contrast is not None and t.words.sequence == "t1"]
    if not any(text.words.sequence for text in texts):
        saying = [text for text in texts[:1] if text.words.contrast is not None]
    if saying:
        contrast = saying[0].words.contrast
        if str(saying[0]) not in reasons:
            reasons.append(str(saying[0]))
        if agent:
            reasons.append(f"contrast agent {agent}")
    elif agent:
        contrast, confidence = True, min(confidence, 0.75)
        reasons.append(f"contrast agent {agent}")
    else:
        contrast, confidence = False, min(confidence, 0.8)
    agent_only = bool(agent and not saying)
    return Guess("t1ce" if contrast else "t1", confidence, "; ".join(reasons), agent_only)
