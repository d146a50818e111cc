"""The context that all steps of a fine-tuning share: cases, models, settings, device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..contract.labels import LabelScheme, same_task
from ..contract.options import FineTuningOptions
from ..inference.predictor import choose_device
from ..models.store import Model
from ..training.cases.labeled import LabeledCase
from ..training.config import TrainingConfig
from ..training.datasets import PreparedCases
from .config import tuning_config
from .transfer import fits, transfer

# Interpolation weights of the tuned model to try, in fine steps: the acceptance test takes the best
# of those that forget little.
MIXES = (1.0, 0.85, 0.7, 0.55, 0.4)


@dataclass(frozen=True)
class TuningContext:
    """The context that all steps of a fine-tuning share.

    Attributes:
        cases: of the user.
        known: names of those that the base was tuned on, whose scores would be too good.
        rehearsed: other cases to learn from, against forgetting.
        base: the model to tune.
        start: the base, adapted to the task.
        new_task: whether the base was trained for another task, and cannot be compared.
        scheme: what the label values mean.
        config: settings of the training.
        folder: of the run.
        device: where it computes.
    """

    cases: Sequence[LabeledCase]
    known: Sequence[str]
    rehearsed: Sequence[LabeledCase]
    base: Model
    start: Model
    new_task: bool
    scheme: LabelScheme
    config: TrainingConfig
    folder: Path
    device: torch.device

    @property
    def judged(self) -> list[LabeledCase]:
        """The cases that are held out in one fold each."""
        return [case for case in self.cases if case.name not in self.known]

    @property
    def mixes(self) -> Sequence[float]:
        """Interpolation weights of the tuned model to try."""
        return (1.0,) if self.new_task else MIXES

    @property
    def membership(self) -> Tensor:
        """(regions, classes): which class belongs to which region."""
        return torch.from_numpy(self.scheme.membership)

    def prepared(self, cases: Sequence[LabeledCase]) -> PreparedCases:
        """Cases on the working grid."""
        return PreparedCases(
            list(cases),
            self.config.modalities,
            self.scheme,
            self.config.spacing_mm,
            self.folder / "prepared",
        )


def tuning_context(
    cases: Sequence[LabeledCase],
    scheme: LabelScheme,
    base: Model,
    folder: Path,
    options: FineTuningOptions,
) -> TuningContext:
    """The context of a fine-tuning, as far as it is known before its folder is read.

    Args:
        cases: of the user.
        scheme: what their label values mean.
        base: the model to tune.
        folder: of the run.
        options: how.

    Raises:
        InputError: if a setting does not fit, or there is no such device.
    """
    modalities = tuple(base.card.modalities)
    if not set(modalities) <= set(cases[0].images):
        modalities = tuple(cases[0].images)
    known = base.card.label_scheme()
    if same_task(scheme, known):
        scheme = known  # BraTS labels are read in either numbering
    new_task = not fits(base, modalities, scheme)
    start = transfer(base, modalities, scheme)
    return TuningContext(
        cases=list(cases),
        known=(),
        rehearsed=(),
        base=base,
        start=start,
        new_task=new_task,
        scheme=scheme,
        config=tuning_config(start.card, scheme, new_task, options.changes),
        folder=folder,
        device=choose_device(options.device),
    )
