"""Segmentation of a case in memory, from its scans to a label map."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from ..contract.model_card import ModelCard
from ..contract.options import Cleanup, SegmentationOptions
from ..core.errors import InputError
from ..core.events import Progress, Stage
from ..evaluation.volumes import volumes_ml
from ..io.geometry import overlap, voxel_ml
from ..models.store import Model
from ..preprocessing.brain_extraction import PLAUSIBLE_BRAIN_ML
from ..preprocessing.field_of_view import end_warnings
from ..preprocessing.working_grid import NetworkInput
from .confidence import doubts, expected_dice
from .missing_scans import answering_model, network_input
from .postprocessing import nest
from .predictor import Predictor, choose_device
from .restoring import ProbabilityMaps, likely_block
from .second_look import look_closely, look_first

NO_SECOND_LOOK = "the first look found nothing that could be a tumor, so there was no second look"


@dataclass(frozen=True)
class Segmentation:
    """A segmented case, on the grid of its reference image.

    Attributes:
        labels: label map (8-bit) in the numbering of the model's scheme.
        probabilities: by region name, float32 images; each is computed on access.
        volumes_ml: by region name.
        confidence: expected Dice by region name, for those regions whose probabilities were
            checked against references with the given set of scans.
        warnings: what the user should know before trusting the result.
        seconds: computing time by stage.
        windows: forward passes per orientation; 1 is a single pass.
        device: where it was computed.
    """

    labels: sitk.Image
    probabilities: Mapping[str, sitk.Image]
    volumes_ml: dict[str, float]
    confidence: dict[str, float]
    warnings: list[str]
    seconds: dict[str, float]
    windows: int
    device: str


def segment_case(
    images: Mapping[str, sitk.Image],
    model: Model,
    reference: sitk.Image | None = None,
    options: SegmentationOptions | None = None,
    progress: Progress | None = None,
) -> Segmentation:
    """Segment skull-stripped, co-registered scans.

    Args:
        images: 3-D float images by modality; their grids may differ.
        model: from :func:`MISSUCore.models.store.load_model`.
        reference: image whose grid the result has; by default the first of the images.
        options: device, sliding window, mirroring and cleanup.
        progress: reports the stages.

    Raises:
        InputError: if the modalities are not those of the model, a scan has no contrast, or the
            reference does not overlap the scans.
        ResourceError: if there is too little memory.

    Examples:
        >>> from MISSUCore import load_model, read_case, segment_case
        >>> names = ("t1", "t1ce", "t2", "flair")
        >>> case = read_case({name: folder / f"{name}.nii.gz" for name in names})
        >>> result = segment_case(case.images, load_model("missu-brats-fast"))
        >>> sorted(result.volumes_ml)
        ['ET', 'TC', 'WT']
    """
    options = options or SegmentationOptions()
    progress = progress or Progress()
    model, warnings = answering_model(list(images), model)
    reference = checked_reference(images, reference)
    predicted = predict(images, model, options, progress.part(0.0, 0.85))
    progress(Stage.RESTORE, 0.85, "bringing the result to the reference grid")
    missing = [name for name in model.card.modalities if name not in images]
    result = restored(predicted, model.card, missing, reference, options.cleanup)
    if model.card.label_scheme().is_in_brain:
        warnings = [*warnings, *end_warnings(images, result.labels)]
    return replace(result, warnings=[*warnings, *result.warnings])


def restored(
    predicted: Prediction,
    card: ModelCard,
    missing: Sequence[str],
    reference: sitk.Image,
    cleanup: Cleanup,
) -> Segmentation:
    """Segmentation made from a prediction: cleaned up, on the grid of the reference.

    Args:
        predicted: by :func:`predict`.
        card: of the model.
        missing: modalities of the model that were not given.
        reference: image whose grid the result has.
        cleanup: which corrections are made.
    """
    began = time.monotonic()
    scheme, warnings = card.label_scheme(), list(predicted.warnings)
    probabilities = nest(predicted.probabilities, scheme)
    block = likely_block(probabilities, predicted.grid, reference)
    masks = block.masks(scheme, reference, cleanup)
    spacing_mm = reference.GetSpacing()[::-1]
    if not masks.any():
        warnings.append("nothing was found, all regions are empty")
    confidence, doubtful = _confidence(card, missing, block.probabilities, masks, spacing_mm)
    warnings += doubtful
    seconds = {**predicted.seconds, "restore": time.monotonic() - began}
    return Segmentation(
        labels=block.on_whole(scheme.to_labels(masks), reference),
        probabilities=ProbabilityMaps(
            scheme.region_names, probabilities, predicted.grid, reference
        ),
        volumes_ml=volumes_ml(masks, spacing_mm, scheme.region_names),
        confidence=confidence,
        warnings=warnings,
        seconds=seconds,
        windows=predicted.windows,
        device=predicted.device,
    )


@dataclass(frozen=True)
class Prediction:
    """Prediction of a model for a case, before cleanup.

    Attributes:
        probabilities: (regions, D, H, W), calibrated if the model is.
        grid: empty image with the geometry of the working grid, or of the predicted block of it.
        warnings: what the user should know.
        seconds: computing time by stage.
        windows: forward passes per orientation; of a second look, the most for any box.
        device: where it was computed.
    """

    probabilities: NDArray[np.float32]
    grid: sitk.Image
    warnings: list[str]
    seconds: dict[str, float]
    windows: int
    device: str


def predict(
    images: Mapping[str, sitk.Image], model: Model, options: SegmentationOptions, progress: Progress
) -> Prediction:
    """Prepare the scans and apply the model's network, or both networks if it looks twice.

    Args:
        images: skull-stripped, co-registered 3-D float images by modality.
        model: one that takes these modalities, see :func:`.check_modalities`.
        options: device, sliding window and mirroring; the cleanup is ignored.
        progress: reports the stages.

    Raises:
        InputError: if a scan has no contrast.
        ResourceError: if there is too little memory.
    """
    if model.finder:
        return _predict_twice(images, model, options, progress)
    card = model.card
    began = time.monotonic()
    progress(Stage.PREPARE, 0.0, "bringing the scans to one grid")
    prepared = network_input(images, card)
    prepare_seconds = time.monotonic() - began

    began = time.monotonic()
    predictor = make_predictor(model, options, card.temperatures)
    volume = torch.from_numpy(prepared.volume)
    probabilities = predictor(volume, progress.part(0.18, 1.0)).numpy()
    return Prediction(
        probabilities,
        prepared.grid,
        [*_brain_warnings(prepared, card), *predictor.notes],
        {"prepare": prepare_seconds, "predict": time.monotonic() - began},
        predictor.windows,
        str(predictor.device),
    )


def _predict_twice(
    images: Mapping[str, sitk.Image], model: Model, options: SegmentationOptions, progress: Progress
) -> Prediction:
    """Apply the finder to the whole case, then the model to what the finder has found."""
    began = time.monotonic()
    predictor = make_predictor(model, options)
    first = look_first(
        images, model, lambda finder: make_predictor(finder, options), progress.part(0.0, 0.4)
    )
    second = look_closely(first, model, predictor, progress.part(0.4, 1.0))
    notes = [*first.notes, *(predictor.notes if first.boxes else [NO_SECOND_LOOK])]
    return Prediction(
        second.probabilities,
        second.grid,
        [*_brain_warnings(first.fine, model.card), *dict.fromkeys(notes)],
        {
            "prepare": first.prepare_seconds,
            "predict": time.monotonic() - began - first.prepare_seconds,
        },
        second.windows,
        str(predictor.device),
    )


def make_predictor(
    model: Model, options: SegmentationOptions, temperatures: Sequence[float] = ()
) -> Predictor:
    """Predictor for the network of a model (not its finder) with these options."""
    card = model.card
    return Predictor(
        model.network,
        torch.from_numpy(card.label_scheme().membership),
        card.targets,
        choose_device(options.device),
        sliding=options.sliding,
        mirror=options.mirror,
        temperatures=temperatures,
    )


def _confidence(
    card: ModelCard,
    missing: Sequence[str],
    probabilities: NDArray[np.float32],
    masks: NDArray[np.bool_],
    spacing_mm: Sequence[float],
) -> tuple[dict[str, float], list[str]]:
    """Expected Dice of the regions for which it is known, and warnings where it is low.

    Empty if the model is uncalibrated; regions unreliable for lack of a scan are left out.
    """
    if not card.temperatures:
        return {}, []
    expected = expected_dice(probabilities, masks, spacing_mm)
    names, untold = card.label_scheme().region_names, card.unreliable(missing)
    told = [name not in untold for name in names]
    confidence = dict(compress(zip(names, expected), told))
    return confidence, doubts(confidence, list(compress(card.doubtful_below, told)))


def checked_reference(images: Mapping[str, sitk.Image], reference: sitk.Image | None) -> sitk.Image:
    """The image whose grid the result has: the given reference, or the first scan.

    Raises:
        InputError: if it overlaps none of the scans.
    """
    if reference is None:
        reference = next(iter(images.values()))
    if not any(overlap(reference, image) for image in images.values()):
        raise InputError("the reference lies apart in space from the scans")
    return reference


def _brain_warnings(prepared: NetworkInput, card: ModelCard) -> list[str]:
    if not card.label_scheme().is_in_brain:
        return []
    brain_ml = prepared.volume.any(axis=0).sum() * voxel_ml(prepared.grid.GetSpacing())
    low, high = PLAUSIBLE_BRAIN_ML
    if brain_ml > high:
        return [
            f"nonzero voxels of the scans fill {brain_ml:.0f} ml, more than a brain: they must be "
            "skull-stripped, with 0 outside the brain"
        ]
    if brain_ml < low:
        return [f"nonzero voxels of the scans fill only {brain_ml:.0f} ml, less than a brain"]
    return []
