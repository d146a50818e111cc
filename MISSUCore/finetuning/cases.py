"""The cases to tune a model on, from a library or a list, and what their labels mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..contract.labels import LabelScheme, same_task
from ..contract.model_card import ModelCard
from ..core.errors import InputError
from ..core.messages import a_file, an_option
from ..core.messages import modalities as in_words
from ..training.cases.labeled import LabeledCase, read_case_list
from .library.store import CaseLibrary


def tuning_cases(
    source: CaseLibrary | Path,
    base: ModelCard,
    scheme: LabelScheme | None = None,
    modalities: Sequence[str] | None = None,
) -> tuple[list[LabeledCase], LabelScheme]:
    """The cases to tune a model on, with the modalities it takes, and what their labels mean.

    Args:
        source: a library of corrected cases, or a JSON list as :func:`.read_case_list` takes it.
        base: of the model to tune.
        scheme: what the labels mean; by default that of the library, or else of the base.
        modalities: to use; by default those of the base, or all if the task is another.

    Raises:
        InputError: if the cases cannot be read, are of several tasks or of another task than the
            scheme's, or lack a modality.

    Examples:
        >>> from MISSUCore import load_model
        >>> from MISSUCore.finetuning.cases import tuning_cases
        >>> cases, scheme = tuning_cases(case_list, load_model(str(small_model)).card)
        >>> [case.name for case in cases], scheme.name
        (['p1', 'p2', 'p3'], 'BraTS')
    """
    base_scheme = base.label_scheme()
    if isinstance(source, CaseLibrary):
        cases, found = _library_cases(source, scheme or base_scheme)
        if scheme and not same_task(scheme, found):
            raise InputError(
                a_file(source.folder),
                f": its labels mean {found.name}, not {scheme.name}; leave out ",
                an_option("--scheme"),
            )
    else:
        cases, found = read_case_list(source), scheme or base_scheme
    if not modalities and same_task(found, base_scheme):
        modalities = base.modalities
    return _with_modalities(cases, modalities or ()), found


def _library_cases(
    library: CaseLibrary, scheme_if_empty: LabelScheme
) -> tuple[list[LabeledCase], LabelScheme]:
    """The cases of a library, which must be of one task, and what their labels mean."""
    found = library.labeled_cases()
    schemes = [record.label_scheme() for record, _ in found] or [scheme_if_empty]
    if not all(same_task(scheme, schemes[0]) for scheme in schemes):
        raise InputError(
            a_file(library.folder), ": holds cases of several tasks; exclude those of all but one"
        )
    return [case for _, case in found], schemes[0]


def _with_modalities(cases: Sequence[LabeledCase], wanted: Sequence[str]) -> list[LabeledCase]:
    """The cases reduced to these modalities; unchanged if none are named."""
    for case in cases:
        missing = [name for name in wanted if name not in case.images]
        if missing:
            # Not dropped unasked: a model of fewer modalities cannot be compared with the base.
            raise InputError(
                f"case {case.name}: has no ",
                in_words(missing),
                "; leave it out, or say with ",
                an_option("--modalities"),
                " which scans the model shall take",
            )
    if not wanted:
        return list(cases)
    return [
        LabeledCase(case.name, {name: case.images[name] for name in wanted}, case.labels)
        for case in cases
    ]
