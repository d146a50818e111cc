"""The inputs that identify a fine-tuning run."""

from __future__ import annotations

from collections.abc import Sequence

from ..contract.labels import LabelScheme
from ..contract.options import FineTuningOptions
from ..contract.tuning.finetuning_run import TuningFacts
from ..core.files import sha256
from ..models.store import Model
from ..training.cases.labeled import LabeledCase


def given_facts(
    name: str,
    base: Model,
    cases: Sequence[LabeledCase],
    scheme: LabelScheme,
    options: FineTuningOptions,
) -> TuningFacts:
    """Everything that identifies a run; with other cases or files it is another run.

    Raises:
        InputError: if a file cannot be read.
    """
    return TuningFacts(
        name=name,
        base=base.card.sha256,
        cases={
            case.name: [
                f"{kind} {sha256(path)}"
                for kind, path in (*case.images.items(), ("labels", case.labels))
            ]
            for case in cases
        },
        scheme=scheme.as_dict(),
        minutes=options.minutes,
        rehearsal=options.rehearsal,
        changes=options.changes,
    )
