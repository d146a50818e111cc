"""Many cases: from a list of them to a folder for each, with its segmentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..contract.model_card import ModelCard
from ..contract.segmentation_report import SegmentationReport
from ..core.events import Progress
from ..core.torchrun import torchrun_process
from ..inference.case_files import segment_files
from ..inference.predictor import choose_device
from ..inference.segmentation import SegmentationOptions
from ..io.bids.dataset import BidsDataset
from ..io.case_lists import CasePaths, check_cases, read_cases
from ..models.store import Model, default_model, load_model
from ..preprocessing.pipeline import PreprocessingOptions
from ..reporting.methods import methods_paragraph
from ..sequences.scan_choice import choose_scans
from .bids_layout import BidsLayout, check_labels
from .layout import Layout
from .run import run_cohort
from .summary import CohortSummary


@dataclass(frozen=True)
class CohortOptions:
    """How the cases of a cohort are segmented, and what is written for each.

    Attributes:
        reference: modality whose grid a result has, where the list does not say another.
        quality_pages: also write ``quality.html``.
        probabilities: also write a probability map for each region.
        radiomics: also write a folder for radiomics, and a list over all cases.
        allow_missing: go on without a scan of a case's folder that cannot be used.
        preprocessing: what is done to the scans.
        segmentation: how they are segmented.
    """

    reference: str | None = None
    quality_pages: bool = False
    probabilities: bool = False
    radiomics: bool = False
    allow_missing: bool = False
    preprocessing: PreprocessingOptions = field(default_factory=PreprocessingOptions)
    segmentation: SegmentationOptions = field(default_factory=SegmentationOptions)

    def settings(self, model: Model) -> dict[str, Any]:
        """What decides the result beside the scans; with something else a case is done anew."""
        return {
            "missu_version": __version__,
            "model": model.checksum,
            "options": {**asdict(self.segmentation), "device": ""},
            "preprocessing": asdict(self.preprocessing),
            "reference": self.reference,
            "quality_page": self.quality_pages,
            "probabilities": self.probabilities,
            # Records of before have no such key, and their cases stay done.
            **({"radiomics": True} if self.radiomics else {}),
        }


def segment_cohort(
    cases: Path | Sequence[CasePaths] | BidsDataset,
    folder: Path,
    model: str | Model | None = None,
    options: CohortOptions | None = None,
    overwrite: bool = False,
    tell: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> CohortSummary:
    """Segment many cases, each into the folder of its name, and list them in ``summary.csv``.

    ``cohort.html`` shows them all, and ``methods.txt`` is a paragraph for a paper.

    The same call goes on where an earlier one stopped: :func:`.run_cohort` says what is done anew,
    and what is never replaced. A case that fails is recorded with the reason and stops no other.
    Under torchrun, each process takes its part of the cases, and a GPU of its own.

    Args:
        cases: a CSV or JSON list or a folder of case folders, see :func:`.read_cases`; or what
            such a list would say; or a BIDS dataset, see :func:`.read_bids`, whose results become
            a BIDS derivative dataset.
        folder: for the cases' folders, which hold ``segmentation.nii.gz`` and ``report.json``.
        model: loaded, or a name or path; by default the one in use, see :func:`.default_model`.
        options: how they are segmented.
        overwrite: replace also results that were changed since they were written.
        tell: is called with a sentence for every scan found in a case's folder.
        progress: reports every case.

    Returns:
        What became of each case; under torchrun, those of other processes as far as they are.

    Raises:
        InputError: if the list, the model or the folder cannot be used; nothing is done then.
        ResourceError: if the disk is full.

    Examples:
        >>> from MISSUCore import segment_cohort
        >>> summary = segment_cohort(case_list, folder / "results", str(small_model))
        >>> {name: record.state for name, record in summary.records.items()}
        {'p1': 'done', 'p2': 'done', 'p3': 'done'}
    """
    how = options or CohortOptions()
    device = device_of_process(how.segmentation.device)
    loaded = model if isinstance(model, Model) else load_model(model or default_model())
    cases, layout = _cases_and_layout(cases, folder, loaded.card, how)
    here = replace(how, segmentation=replace(how.segmentation, device=device))
    segment_one = partial(_segment_one, loaded, here, layout, overwrite, tell)
    return run_cohort(
        cases,
        folder,
        segment_one,
        how.settings(loaded),
        progress,
        overwrite,
        layout,
        lambda report, done: methods_paragraph(report, loaded.card, done),
    )


def _cases_and_layout(
    cases: Path | Sequence[CasePaths] | BidsDataset,
    folder: Path,
    card: ModelCard,
    options: CohortOptions,
) -> tuple[Sequence[CasePaths], Layout]:
    """The cases, which can be segmented into the folder, and where their results lie there."""
    wanted = (options.quality_pages, options.probabilities, options.radiomics)
    if isinstance(cases, BidsDataset):
        cases.check_output(folder)
        check_labels(card.label_scheme())
        check_cases(str(cases.folder), cases.cases, card.modalities, folder)
        return cases.cases, BidsLayout(*wanted, dataset=cases, folder=folder, card=card)
    if isinstance(cases, Path):
        return read_cases(cases, card.modalities, folder), Layout(*wanted)
    check_cases("the list of cases", cases, card.modalities, folder)
    return cases, Layout(*wanted)


def _segment_one(
    model: Model,
    options: CohortOptions,
    layout: Layout,
    overwrite: bool,
    tell: Callable[[str], None] | None,
    case: CasePaths,
    folder: Path,
    progress: Progress,
) -> SegmentationReport:
    """Segment a case into its folder."""
    scans = choose_scans(
        case.images, case.folder, options.allow_missing, tell, progress.part(0.0, 0.03)
    )
    report = segment_files(
        scans.paths,
        layout.files(case, folder),
        model=model,
        reference=case.reference or options.reference,
        maps=case.maps,
        overwrite=overwrite,
        preprocessing=options.preprocessing,
        options=options.segmentation,
        sequences=scans.sequences,
        progress=progress.part(0.03, 1.0),
    )
    layout.write_sidecars(case, folder, report)
    return report


def device_of_process(name: str) -> str:
    """The device of this process: its own GPU under torchrun, else the one of this name.

    Raises:
        InputError: if there is no such device.
    """
    process = torchrun_process()
    if process.ranks > 1 and choose_device(name) == torch.device("cuda"):
        return f"cuda:{process.local_rank % torch.cuda.device_count()}"
    return name
