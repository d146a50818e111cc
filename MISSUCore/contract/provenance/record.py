"""The record of who changed what in segments, which is kept with them."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta, timezone

from ...core.serialization import by_name, many, maybe, settings_from_dict, settings_to_dict
from ..model_identity import ModelIdentity
from ..segmentation_report import SegmentationReport
from .masks import MaskFact

SCHEMA_VERSION = 1
LONGEST_NAME = 64  # of a reader, as DICOM has it
LONGEST_COMMENT = 500
LONGEST_JSON = 1 << 20
LARGEST = 1e9  # of any number in a record
# An edit of a region goes on with the last one, if no more time than this lies between them.
SESSION = timedelta(hours=1)
Masks = Mapping[str, MaskFact]
# Of a region, by name and checksum before: ml that were added, and removed; None if unknown.
Difference = Callable[[str, str], "tuple[float, float] | None"]


@dataclass(frozen=True)
class Computation:
    """What computed the segments; all is empty if that is unknown.

    Attributes:
        model: that segmented.
        finder: model that found where that one looked; empty if it looked at all.
        missu_version: of the program.
        created: when, ISO 8601.
        inputs: SHA-256 of each scan's file, by modality.
        masks: the regions as they were computed, by name.
    """

    model: ModelIdentity = field(default_factory=ModelIdentity)
    finder: ModelIdentity = field(default_factory=ModelIdentity)
    missu_version: str = ""
    created: str = ""
    inputs: dict[str, str] = by_name(str)
    masks: dict[str, MaskFact] = by_name(MaskFact)

    @classmethod
    def of(cls, report: SegmentationReport) -> Computation:
        """What a report tells."""
        return cls(
            report.model,
            report.finder,
            report.missu_version,
            report.created,
            {modality: scan.sha256 for modality, scan in report.inputs.items()},
            dict(report.masks),
        )


@dataclass(frozen=True)
class Edit:
    """A change of a region by a person; what one did in one session is one edit.

    Attributes:
        region: its name.
        began: when, ISO 8601.
        ended: when, ISO 8601.
        by: name that the reader had typed in; empty if none.
        before: the region as it was.
        after: and as it became; one of the two is empty if it was added or removed as a whole.
        added_ml: volume that it has, and had not; None if unknown.
        removed_ml: volume that it had, and has no more; None if unknown.
    """

    region: str = ""
    began: str = ""
    ended: str = ""
    by: str = ""
    before: MaskFact = field(default_factory=MaskFact)
    after: MaskFact = field(default_factory=MaskFact)
    added_ml: float | None = maybe(float)
    removed_ml: float | None = maybe(float)


@dataclass(frozen=True)
class SignOff:
    """A reader vouches for the segments as they are; this checks nobody's identity.

    Attributes:
        reader: name, as typed in.
        when: ISO 8601.
        comment: any text.
        masks: the regions that were signed off, by name.
        withdrawn: when it was taken back, ISO 8601; empty if it was not.
    """

    reader: str = ""
    when: str = ""
    comment: str = ""
    masks: dict[str, MaskFact] = by_name(MaskFact)
    withdrawn: str = ""


@dataclass(frozen=True)
class Provenance:
    """Who changed what in segments.

    Attributes:
        schema_version: of the record.
        computed: what computed them.
        grid: on which checksums are taken: from voxel indices (i, j, k, 1) to mm, LPS, 3 rows of 4
            numbers; before the segmentation's parent transform in Slicer.
        masks: the regions as they were last seen, by name.
        edits: oldest first.
        sign_offs: oldest first.
    """

    schema_version: int = SCHEMA_VERSION
    computed: Computation = field(default_factory=Computation)
    grid: tuple[float, ...] = many(float)
    masks: dict[str, MaskFact] = by_name(MaskFact)
    edits: tuple[Edit, ...] = many(Edit)
    sign_offs: tuple[SignOff, ...] = many(SignOff)

    @property
    def is_as_computed(self) -> bool:
        """Whether the regions, as last seen, are those that were computed."""
        return bool(self.computed.masks) and same_masks(self.masks, self.computed.masks)

    @property
    def valid_sign_offs(self) -> tuple[SignOff, ...]:
        """Sign-offs of what was last seen that were not withdrawn."""
        return tuple(
            one for one in self.sign_offs if not one.withdrawn and same_masks(one.masks, self.masks)
        )

    @property
    def outdated_sign_offs(self) -> tuple[SignOff, ...]:
        """Sign-offs of something else than what was last seen that were not withdrawn."""
        valid = self.valid_sign_offs
        return tuple(one for one in self.sign_offs if not one.withdrawn and one not in valid)

    def noted(
        self,
        masks: Masks,
        difference: Difference,
        by: str = "",
        began: str | None = None,
    ) -> Provenance:
        """The record after the regions were seen as ``masks``.

        What changed is an edit; it goes on with the last edit of the region where that was by the
        same reader, not long ago, and not signed off since. Taken back as a whole, it was none.

        Args:
            masks: by name.
            difference: tells what was added and removed.
            by: name that the reader has typed in.
            began: when the first change was noticed, ISO 8601; by default now.
        """
        ended = now()
        record = self
        for region in dict.fromkeys((*self.masks, *masks)):
            before, after = (one.get(region, MaskFact()) for one in (self.masks, masks))
            if before.sha256 == after.sha256:
                continue
            edits = list(record.edits)
            edit = Edit(region, began or ended, ended, plain(by, LONGEST_NAME), before)
            last = next((one for one in reversed(edits) if one.region == region), None)
            if last and self._goes_on(last, edit):
                edits.remove(last)
                edit = replace(last, ended=ended)
            if edit.before.sha256 != after.sha256:
                changed = difference(region, edit.before.sha256) or (None, None)
                edits.append(replace(edit, after=after, added_ml=changed[0], removed_ml=changed[1]))
            record = replace(record, edits=tuple(edits))
        return replace(record, masks=dict(masks))

    def _goes_on(self, last: Edit, edit: Edit) -> bool:
        """Whether an edit belongs to the same session as the last one of its region."""
        pause = _time(edit.began) - _time(last.ended)
        signed = any(_time(one.when) >= _time(last.ended) for one in self.sign_offs)
        return (
            last.by == edit.by
            and last.after.sha256 == edit.before.sha256
            and pause <= SESSION
            and not signed
        )

    def signed_off(self, reader: str, comment: str = "") -> Provenance:
        """The record after a reader has signed off the regions as last seen.

        Raises:
            ValueError: if no name is given.
        """
        name = plain(reader, LONGEST_NAME)
        if not name:
            raise ValueError("a sign-off needs the reader's name")
        one = SignOff(name, now(), plain(comment, LONGEST_COMMENT), dict(self.masks))
        return replace(self, sign_offs=(*self.sign_offs, one))

    def withdrawn(self) -> Provenance:
        """The record without its last sign-off, which stays in it as withdrawn."""
        left = [index for index, one in enumerate(self.sign_offs) if not one.withdrawn]
        if not left:
            return self
        sign_offs = list(self.sign_offs)
        sign_offs[left[-1]] = replace(sign_offs[left[-1]], withdrawn=now())
        return replace(self, sign_offs=tuple(sign_offs))

    def to_json(self) -> str:
        """The record as a line of JSON."""
        return json.dumps(settings_to_dict(self))

    @classmethod
    def from_json(cls, text: str) -> Provenance:
        """What :meth:`to_json` gave.

        Raises:
            ValueError: if it is something else; nothing of it is to be trusted then.
        """
        if len(text) > LONGEST_JSON:
            raise ValueError("the record is too long")
        try:
            record = settings_from_dict(cls, json.loads(text))
        except (RecursionError, TypeError, OverflowError) as error:
            raise ValueError(f"not a record: {error}") from error
        check_record(record)
        return record


def check_record(record: Provenance) -> None:
    """Make sure of what the types of a record from outside do not tell.

    Raises:
        ValueError: if it cannot be one.
    """
    if record.schema_version != SCHEMA_VERSION:
        raise ValueError(f"the record is of version {record.schema_version}; update MISSU")
    _check_grid(record.grid)
    facts = [*record.masks.values(), *record.computed.masks.values()]
    times = [record.computed.created] if record.computed.created else []
    for edit in record.edits:
        facts += [edit.before, edit.after]
        times += [edit.began, edit.ended]
        for volume in (edit.added_ml, edit.removed_ml):
            if volume is not None and not 0 <= volume < LARGEST:
                raise ValueError(f"a volume cannot be {volume} ml")
    for one in record.sign_offs:
        facts += one.masks.values()
        times += [one.when, *([one.withdrawn] if one.withdrawn else [])]
    for fact in facts:
        sane = 0 <= fact.voxels < LARGEST and 0 <= fact.volume_ml < LARGEST
        if not sane or not re.fullmatch("([0-9a-f]{64})?", fact.sha256):
            raise ValueError(f"a region cannot be {asdict(fact)}")
    for time in times:
        _time(time)


def _check_grid(grid: tuple[float, ...]) -> None:
    if grid and (len(grid) != 12 or not all(abs(number) < LARGEST for number in grid)):
        raise ValueError("the grid is not a matrix")


def same_masks(ours: Masks, theirs: Masks) -> bool:
    """Whether the same regions have the same voxels."""
    return {name: fact.sha256 for name, fact in ours.items()} == {
        name: fact.sha256 for name, fact in theirs.items()
    }


def now() -> str:
    """The time as a record has it: UTC, ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _time(text: str) -> datetime:
    """A time of a record.

    Raises:
        ValueError: if it is none, or has no time zone.
    """
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return time


def plain(text: str, longest: int) -> str:
    """What was typed in as one line without control characters, cut to a length."""
    shown = "".join(
        letter if unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else " "
        for letter in text
    )
    return " ".join(shown.split())[:longest].strip()
