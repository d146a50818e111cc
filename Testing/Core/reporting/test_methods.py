"""The methods paragraph says what was done, and no more."""

from __future__ import annotations

import re
from dataclasses import replace

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.model_card import ModelCard
from MISSUCore.contract.model_identity import ModelIdentity
from MISSUCore.contract.segmentation_report import SegmentationReport
from MISSUCore.reporting.methods import methods_paragraph

CARD = ModelCard(
    name="m", scheme=BRATS.as_dict(), spacing_mm=(2.0, 1.0, 1.0), training_data="Ten cases."
)
REPORT = SegmentationReport(
    missu_version="0.9",
    software={"torch": "2.5", "SimpleITK": "2.4", "deepbet": "1.0.2", "python": "3.12.1"},
    model=ModelIdentity("fine", "ab" * 32),
    finder=ModelIdentity("coarse", "cd"),
    options={
        "cleanup": {"minimum_island_mm3": 100.0, "minimum_innermost_mm3": 0.0, "fill_holes": True},
        "preprocessing": {"registration": True, "brain_extraction": True, "bias_field": "auto"},
    },
    fixed="t1",
    brain_method="deepbet",
)


def test_versions_steps_and_works_are_named() -> None:
    text = methods_paragraph(REPORT, CARD, 12)
    for words in (
        "In 12 examinations, whole tumor, tumor core and enhancing tumor were segmented",
        "MISSU 0.9 (model fine, SHA-256 abababababababab, which looks where coarse finds",
        "registered rigidly to t1",
        "removed with deepbet 1.0.2 [2]",
        "strong bias field were corrected with N4 [3]",
        "sampled at 1 x 1 x 2 mm",
        "less than 100 mm³ were removed and holes were filled",
        "Python 3.12.1, PyTorch 2.5 [4], SimpleITK 2.4 [5]",
        "Training data of the model: Ten cases.",
    ):
        assert words in text
    paragraph, works = text.split("\n\n")
    cited = re.findall(r"\[(\d)\]", paragraph)
    assert cited == [work[1] for work in works.splitlines()[:-1]] == list("12345")


def test_what_was_not_done_is_not_said() -> None:
    options = {"preprocessing": {"registration": False, "brain_extraction": False}}
    text = methods_paragraph(replace(REPORT, options=options, brain_method=""), CARD)
    assert "In 1 examination, " in text and "taken from their headers" in text
    for words in ("registered", "deepbet", "N4", "removed", "filled"):
        assert words not in text


def test_a_report_of_an_old_version_will_do() -> None:
    text = methods_paragraph(SegmentationReport(), CARD)
    assert "PyTorch [2], SimpleITK [3]" in text
