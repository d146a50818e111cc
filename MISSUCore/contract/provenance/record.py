"""The record of who changed what in segments, which is kept with them."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta, timezone

from ...core.serialization import by_name, many, maybe, settings_from_dict, settings_to_dict
from ..model_identity import ModelIdentity
from ..segmentation_report import SegmentationReport
from .masks import Contents, MaskFact

SCHEMA_VERSION = 1
LONGEST_NAME = 64  # of a reader, as DICOM has it
LONGEST_COMMENT = 500
LONGEST_JSON = 1 << 20
LARGEST = 1e9  # of any number in a record
# An edit of a region goes on with the last one, if no more time than this lies between them.
SESSION = timedelta(hours=1)
LONG_AGO = datetime(1971, 1, 1, tzinfo=timezone.utc)
FAR_OFF = datetime(2999, 1, 1, tzinfo=timezone.utc)
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
        contents: what was computed.
    """

    model: ModelIdentity = field(default_factory=ModelIdentity)
    finder: ModelIdentity = field(default_factory=ModelIdentity)
    missu_version: str = ""
    created: str = ""
    inputs: dict[str, str] = by_name(str)
    contents: Contents = field(default_factory=Contents)

    @classmethod
    def of(cls, report: SegmentationReport) -> Computation:
        """What a report tells."""
        return cls(
            report.model,
            report.finder,
            report.missu_version,
            report.created,
            {modality: scan.sha256 for modality, scan in report.inputs.items()},
            Contents(tuple(report.grid), dict(report.masks)),
        )


@dataclass(frozen=True)
class Edit:
    """A change of a region by a person; what one did in one session is one edit.

    Attributes:
        region: its name.
        began: when, ISO 8601.
        ended: when, ISO 8601.
        watched: whether it was seen as it was made; else the times say when it was found.
        by: name that the reader had typed in; empty if none.
        before: the region as it was.
        after: and as it became; one of the two is empty if it was added or removed as a whole.
        added_ml: volume that it has, and had not; None if unknown.
        removed_ml: volume that it had, and has no more; None if unknown.
    """

    region: str = ""
    began: str = ""
    ended: str = ""
    watched: bool = True
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
        contents: what was signed off.
        withdrawn: when it was taken back, ISO 8601; empty if it was not.
    """

    reader: str = ""
    when: str = ""
    comment: str = ""
    contents: Contents = field(default_factory=Contents)
    withdrawn: str = ""


@dataclass(frozen=True)
class Provenance:
    """Who changed what in segments.

    Attributes:
        schema_version: of the record.
        computed: what computed them.
        contents: what they held when they were last seen.
        edits: oldest first.
        sign_offs: oldest first.
    """

    schema_version: int = SCHEMA_VERSION
    computed: Computation = field(default_factory=Computation)
    contents: Contents = field(default_factory=Contents)
    edits: tuple[Edit, ...] = many(Edit)
    sign_offs: tuple[SignOff, ...] = many(SignOff)

    @property
    def is_as_computed(self) -> bool:
        """Whether the regions, as last seen, are those that were computed."""
        computed = self.computed.contents
        return bool(computed.masks) and computed.same_as(self.contents)

    @property
    def valid_sign_offs(self) -> tuple[SignOff, ...]:
        """Sign-offs of what was last seen that were not withdrawn."""
        return tuple(
            one
            for one in self.sign_offs
            if not one.withdrawn and one.contents.same_as(self.contents)
        )

    @property
    def outdated_sign_offs(self) -> tuple[SignOff, ...]:
        """Sign-offs of something else than what was last seen that were not withdrawn."""
        valid = self.valid_sign_offs
        return tuple(one for one in self.sign_offs if not one.withdrawn and one not in valid)

    @property
    def latest(self) -> datetime:
        """When the last event was recorded; long ago if none was."""
        texts = [self.computed.created, *(edit.ended for edit in self.edits)]
        texts += [text for one in self.sign_offs for text in (one.when, one.withdrawn)]
        return max([LONG_AGO, *(time_of(text) for text in texts if text)])

    def noted(
        self,
        contents: Contents,
        difference: Difference = lambda *_: None,
        by: str = "",
        began: str = "",
    ) -> Provenance:
        """The record after the segments were seen to hold something.

        What changed is an edit; it goes on with the last edit of the region where that was by the
        same reader, not long ago, and not signed off since. Taken back as a whole, it was none.

        Args:
            contents: of the segments.
            difference: tells what was added and removed.
            by: name that the reader has typed in.
            began: when the first change was seen, ISO 8601; empty if nobody watched.
        """
        ended = now()
        same_grid = contents.has_grid_of(self.contents)
        edits = list(self.edits)
        for region in dict.fromkeys((*self.contents.masks, *contents.masks)):
            before, after = (one.masks.get(region, MaskFact()) for one in (self.contents, contents))
            if same_grid and before.sha256 == after.sha256:
                continue
            edit = Edit(region, began or ended, ended, bool(began), plain(by, LONGEST_NAME), before)
            last = next((one for one in reversed(edits) if one.region == region), None)
            if last and same_grid and self._goes_on(last, edit):
                edits.remove(last)
                edit = replace(last, ended=ended)
            if same_grid and edit.before.sha256 == after.sha256:
                continue
            added, removed = difference(region, edit.before.sha256) or (None, None)
            edits.append(replace(edit, after=after, added_ml=added, removed_ml=removed))
        return replace(self, contents=contents, edits=tuple(edits))

    def _goes_on(self, last: Edit, edit: Edit) -> bool:
        """Whether an edit belongs to the same session as the last one of its region."""
        pause = time_of(edit.began) - time_of(last.ended)
        signed = any(time_of(one.when) >= time_of(last.ended) for one in self.sign_offs)
        return (
            (last.by, last.watched) == (edit.by, edit.watched)
            and last.after.sha256 == edit.before.sha256
            and last.after.sha256 != last.before.sha256  # else it was moved as a whole
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
        one = SignOff(name, now(), plain(comment, LONGEST_COMMENT), self.contents)
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
    states = [record.contents, record.computed.contents]
    states += [one.contents for one in record.sign_offs]
    facts = [fact for state in states for fact in state.masks.values()]
    facts += [fact for edit in record.edits for fact in (edit.before, edit.after)]
    for state in states:
        if state.grid and (len(state.grid) != 12 or not all(map(_is_sane, state.grid))):
            raise ValueError("a grid is not a matrix")
    for fact in facts:
        sane = _is_volume(fact.voxels) and _is_volume(fact.volume_ml)
        if not sane or not re.fullmatch("([0-9a-f]{64})?", fact.sha256):
            raise ValueError(f"a region cannot be {asdict(fact)}")
    for edit in record.edits:
        if not all(one is None or _is_volume(one) for one in (edit.added_ml, edit.removed_ml)):
            raise ValueError("a volume is not a number")
        time_of(edit.began)
        time_of(edit.ended)
    for one in record.sign_offs:
        time_of(one.when)
    _ = record.latest  # reads the other times


def _is_sane(number: float) -> bool:
    return abs(number) < LARGEST  # false for what is not a number


def _is_volume(number: float) -> bool:
    return number >= 0 and _is_sane(number)


def now() -> str:
    """The time as a record has it: UTC, ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def time_of(text: str) -> datetime:
    """A time of a record.

    Raises:
        ValueError: if it is none, or has no time zone.
    """
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    if not LONG_AGO <= time < FAR_OFF:
        raise ValueError(f"{text} is not a time of a record")
    return time


def plain(text: str, longest: int) -> str:
    """What was typed in as one line without control characters, cut to a length."""
    shown = "".join(
        letter if unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else " "
        for letter in text
    )
    return " ".join(shown.split())[:longest].strip()
