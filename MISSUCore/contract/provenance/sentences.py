"""The record of who changed what in sentences for a reader."""

from __future__ import annotations

from collections.abc import Mapping

from .masks import MaskFact
from .record import Edit, Provenance, SignOff, time_of


def summary(record: Provenance) -> str:
    """In a sentence or two: as computed, edited, signed off, or changed since then."""
    outdated = record.outdated_sign_offs
    if record.valid_sign_offs:
        return f"Signed off by {_names(record.valid_sign_offs)}, and not changed since."
    if outdated:
        return (
            f"Changed since it was signed off by {_names(outdated)}: the sign-off no longer holds."
        )
    if not record.computed.contents.masks:
        return "What computed it was not recorded. Nobody has signed it off."
    if record.is_as_computed:
        return "As the model computed it. Nobody has signed it off."
    return "Edited since the model computed it. Nobody has signed it off."


def history(record: Provenance, titles: Mapping[str, str] | None = None) -> list[str]:
    """What happened, oldest first, a sentence for each event.

    Args:
        record: of the segments.
        titles: what regions are called, by name; others are called by their name.
    """
    events = [(edit.began, _edited(edit, titles or {})) for edit in record.edits]
    events += [(one.when, _signed(one, record)) for one in record.sign_offs]
    computed = [_computed(record)] if record.computed.model.name else []
    events.sort(key=lambda event: time_of(event[0]))
    return computed + [sentence for _, sentence in events]


def shown_time(text: str) -> str:
    """A time of a record, as clocks here show it."""
    return time_of(text).astimezone().strftime("%d %b %Y, %H:%M")


def _names(sign_offs: tuple[SignOff, ...]) -> str:
    return " and ".join(dict.fromkeys(one.reader for one in sign_offs))


def _computed(record: Provenance) -> str:
    computed = record.computed
    models = " with ".join(one.name for one in (computed.model, computed.finder) if one.name)
    version = f" (MISSU {computed.missu_version})" if computed.missu_version else ""
    when = f", {shown_time(computed.created)}" if computed.created else ""
    return f"Segmented by {models}{version}{when}."


def _edited(edit: Edit, titles: Mapping[str, str]) -> str:
    began, ended = shown_time(edit.began), shown_time(edit.ended)
    title = titles.get(edit.region, edit.region)
    if not edit.watched:
        return f"{title} {_what(edit)} out of sight of MISSU, found {ended}: {_volumes(edit)}."
    day, _, minute = ended.rpartition(", ")
    if ended != began:
        began += f" to {minute if began.startswith(day) else ended}"
    by = f" by {edit.by}" if edit.by else ""
    return f"{title} {_what(edit)}{by}, {began}: {_volumes(edit)}."


def _what(edit: Edit) -> str:
    if not edit.before.sha256:
        return "was added"
    return "was edited" if edit.after.sha256 else "was removed"


def _volumes(edit: Edit) -> str:
    if not edit.before.sha256 or not edit.after.sha256:
        return _ml(edit.after if edit.after.sha256 else edit.before)
    volumes = f"{_ml(edit.before)} before, {_ml(edit.after)} after"
    if edit.added_ml is None or edit.removed_ml is None:
        return volumes
    return f"{volumes} ({edit.added_ml:.2f} ml added, {edit.removed_ml:.2f} ml removed)"


def _signed(one: SignOff, record: Provenance) -> str:
    comment = f" Comment: {one.comment}" if one.comment else ""
    what = f"Signed off by {one.reader}, {shown_time(one.when)}"
    if one.withdrawn:
        return f"{what}; withdrawn, {shown_time(one.withdrawn)}.{comment}"
    valid = one in record.valid_sign_offs
    return f"{what}{'' if valid else '; it no longer holds'}.{comment}"


def _ml(fact: MaskFact) -> str:
    return f"{fact.volume_ml:.2f} ml"
