"""The paragraph on segmentation for the methods section of a paper, from a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..contract.model_card import ModelCard
from ..contract.segmentation_report import SegmentationReport
from ..preprocessing.working_grid import CLIPPED_PERCENTILES

_MISSU = (
    "Wang N, Lin S, Li X, et al. MISSU: 3D medical image segmentation via self-distilling "
    "TransUNet. IEEE Trans Med Imaging 2023. arXiv:2206.00902."
)
_ITK = (
    "Lowekamp BC, Chen DT, Ibanez L, Blezek D. The design of SimpleITK. Front Neuroinform "
    "2013;7:45. doi:10.3389/fninf.2013.00045."
)
_TORCH = (
    "Paszke A, Gross S, Massa F, et al. PyTorch: an imperative style, high-performance deep "
    "learning library. NeurIPS 2019. arXiv:1912.01703."
)
_DEEPBET = (
    "Fisch L, Zumdick S, Barkhau C, et al. deepbet: fast brain extraction of T1-weighted MRI using "
    "convolutional neural networks. Comput Biol Med 2024;179:108845. "
    "doi:10.1016/j.compbiomed.2024.108845."
)
_N4 = (
    "Tustison NJ, Avants BB, Cook PA, et al. N4ITK: improved N3 bias correction. IEEE Trans Med "
    "Imaging 2010;29:1310-1320. doi:10.1109/TMI.2010.2046908."
)


def methods_paragraph(report: SegmentationReport, card: ModelCard, cases: int = 1) -> str:
    """The methods paragraph for a paper, followed by the works it cites.

    It describes what the program did, with versions; brackets mark what the authors must fill in.

    Args:
        report: of one case; the others must have the same settings.
        card: of the model.
        cases: number of segmented cases.
    """
    cited: list[str] = []

    def cite(work: str) -> str:
        if work not in cited:
            cited.append(work)
        return f"[{cited.index(work) + 1}]"

    sha256 = f", SHA-256 {report.model.sha256[:16]}" if report.model.sha256 else ""
    look = f", which looks where {report.finder.name} finds something" if report.finder.name else ""
    outlined = _listed([region.title.lower() for region in card.label_scheme().regions])
    done = f"{cases} examination" + ("s" if cases != 1 else "")
    sentences = [
        f"In {done}, {outlined} were segmented with MISSU {report.missu_version} (model "
        f"{report.model.name}{sha256}{look}), an implementation of the self-distilling TransUNet "
        f"of Wang et al. {cite(_MISSU)}.",
        *_preparation(report, cite),
        f"Intensities were clipped to the {_ordinals(CLIPPED_PERCENTILES)} percentiles of the "
        f"brain, brought to zero mean and unit variance in it, and sampled at {_spacing(card)} mm.",
        *_cleanup(report.options.get("cleanup")),
        _software(report.software, cite),
        "[Say who checked the results, how many were corrected, and how: they are those of "
        "research software.]",
    ]
    works = [f"[{number}] {work}" for number, work in enumerate(cited, start=1)]
    training = [f"Training data of the model: {card.training_data}"] if card.training_data else []
    return "\n".join([" ".join(sentences), "", *works, *training])


def _preparation(report: SegmentationReport, cite: Any) -> list[str]:
    """Sentences on the preprocessing of the scans, as far as it was enabled."""
    asked = report.options.get("preprocessing")
    options: Mapping[str, Any] = asked if isinstance(asked, Mapping) else {}
    sentences = []
    if options.get("registration"):
        sentences.append(
            "The scans of an examination were registered rigidly to "
            f"{report.fixed or 'one of them'} by normalized mutual information, unless they lay on "
            "each other already; only their positions were changed."
        )
    else:
        sentences.append("The positions of the scans were taken from their headers.")
    if report.brain_method == "given mask":
        sentences.append("The brain was taken from a given mask.")
    elif options.get("brain_extraction"):
        sentences.append(
            f"Where the skull was seen, it was removed with deepbet"
            f"{_version(report.software, 'deepbet')} {cite(_DEEPBET)}."
        )
    bias = options.get("bias_field")
    if bias in ("auto", "always"):
        which = "Scans with a strong bias field were" if bias == "auto" else "All scans were"
        sentences.append(f"{which} corrected with N4 {cite(_N4)}.")
    return sentences


def _cleanup(asked: object) -> list[str]:
    options: Mapping[str, Any] = asked if isinstance(asked, Mapping) else {}
    steps = []
    if options.get("minimum_island_mm3"):
        steps.append(
            f"connected parts of less than {options['minimum_island_mm3']:g} mm³ were removed"
        )
    if options.get("minimum_innermost_mm3"):
        steps.append(
            f"an innermost region of less than {options['minimum_innermost_mm3']:g} mm³ in all was "
            "given to the region around it"
        )
    if options.get("fill_holes"):
        steps.append("holes were filled")
    return [f"In the result, {_listed(steps)}."] if steps else []


def _listed(words: Sequence[str]) -> str:
    """The words as an enumeration: "one, two and three"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _software(software: Mapping[str, str], cite: Any) -> str:
    python = f"Python {software['python']}, " if "python" in software else ""
    return (
        f"Software: {python}PyTorch{_version(software, 'torch')} {cite(_TORCH)}, "
        f"SimpleITK{_version(software, 'SimpleITK')} {cite(_ITK)}."
    )


def _version(software: Mapping[str, str], name: str) -> str:
    return f" {software[name]}" if name in software else ""


def _ordinals(percentiles: tuple[float, float]) -> str:
    return " and ".join(f"{value:g}th" for value in percentiles)


def _spacing(card: ModelCard) -> str:
    steps = [f"{step:g}" for step in card.spacing_mm[::-1]]
    return steps[0] if len(set(steps)) == 1 else " x ".join(steps)
