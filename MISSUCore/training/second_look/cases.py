"""Training cases of the second look, with the first look's predictions and patch centers."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...contract.labels import LabelScheme
from ...contract.model_card import FirstLook, ModelCard
from ...core.errors import InputError
from ...core.events import Progress, silent
from ...inference.postprocessing import outermost_regions
from ...inference.predictor import Predictor
from ...inference.second_look import Box, coarse_log_odds, look_first
from ...models.store import Model
from ...preprocessing.working_grid import prepare_labels
from ..cases.labeled import LabeledCase
from ..datasets import PreparedCases

# Largest number of candidate patch centers kept per kind.
MOST_PLACES = 4000
ERRORS, BRAIN = "errors", "brain"
_PARTS = {"volume", "classes", "log_odds", "boxes", "places"}


@dataclass(frozen=True)
class SeenCase:
    """A case on the fine working grid; its tensors lie in a file until they are looked at.

    Attributes:
        volume: (modalities, D, H, W) float16.
        classes: (D, H, W) uint8.
        log_odds: (regions, D, H, W) float16 of the first look.
        boxes: (boxes, 3, 2): first voxel of each box along each axis, and one beyond its last.
        places: candidate patch centers (n, 3) by kind: class number (as text) of the tumor,
            ``ERRORS`` or ``BRAIN``; kinds without voxels are left out.
    """

    volume: Tensor
    classes: Tensor
    log_odds: Tensor
    boxes: Tensor
    places: dict[str, Tensor]

    def box_slices(self) -> list[Box]:
        """The boxes as slices (D, H, W)."""
        return [tuple(slice(*ends) for ends in box) for box in self.boxes.tolist()]

    def tumor(self) -> list[Tensor]:
        """Candidate patch centers in the tumor, one tensor for each label."""
        return [self.places[name] for name in sorted(self.places) if name.isdecimal()]


class SeenCases(PreparedCases):
    """Labeled cases on the fine working grid, with the predictions of the first model.

    Each is prepared once and memory-mapped, so that only the parts that patches are cut from are
    held in memory, however many cases there are.

    Args:
        cases: what to prepare.
        modalities: the network's modalities, in its order.
        scheme: what the label values mean.
        spacing_mm: fine working spacing (depth, height, width).
        folder: where prepared cases are kept.
        finder: the first model.
        first_look: how the fine model uses its predictions.
        device: where the finder computes.

    Raises:
        InputError: if the finder has other modalities or regions.
    """

    ending = ".pt"

    def __init__(
        self,
        cases: Sequence[LabeledCase],
        modalities: Sequence[str],
        scheme: LabelScheme,
        spacing_mm: tuple[float, float, float],
        folder: Path,
        finder: Model,
        first_look: FirstLook,
        device: torch.device,
    ) -> None:
        super().__init__(cases, modalities, scheme, spacing_mm, folder)
        card = finder.card
        if set(card.modalities) != set(modalities) or finder.finder:
            raise InputError(f"first_look: model {card.name} takes other scans, or looks twice")
        if card.label_scheme().regions != scheme.regions:
            raise InputError(f"first_look: model {card.name} finds other regions")
        unknown = set(first_look.averaged) - set(scheme.region_names)
        if unknown:
            raise InputError(f"first_look.averaged: no such region: {', '.join(sorted(unknown))}")
        self.finder = finder
        self.first_look = first_look
        self.device = device

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        seen = self.seen(index)
        return seen.volume.float(), seen.classes

    def seen(self, index: int) -> SeenCase:
        """A case, prepared if it is not yet."""
        return _read(self._prepared(self.cases[index]))

    def _facts(self) -> list[object]:
        look = self.first_look
        return [*super()._facts(), self.finder.card.sha256, look.threshold, look.margin]

    def _is_whole(self, path: Path) -> bool:
        try:
            _read(path)
        except (OSError, RuntimeError, ValueError, LookupError, TypeError, pickle.UnpicklingError):
            return False
        return True

    def _content(
        self, images: Mapping[str, sitk.Image], labels: sitk.Image
    ) -> Callable[[Path], None]:
        card = ModelCard(
            modalities=tuple(self.modalities),
            scheme=self.scheme.as_dict(),
            spacing_mm=self.spacing_mm,
            first_look=self.first_look,
        )
        fine = Model(self.finder.network, card, self.finder)
        first = look_first(images, fine, self._predictor, Progress(silent))
        grid = first.fine.grid
        log_odds = np.stack(
            [coarse_log_odds(first, region, grid) for region in range(len(first.log_odds))]
        )
        classes = prepare_labels(labels, self.scheme, grid)
        outermost = outermost_regions(self.scheme)
        found = log_odds[outermost].max(axis=0) > self.first_look.threshold
        boxes = [[[span.start, span.stop] for span in box] for box in first.boxes]
        content = {
            "volume": torch.from_numpy(first.fine.volume).half(),
            "classes": torch.from_numpy(classes),
            "log_odds": torch.from_numpy(log_odds).half(),
            "boxes": torch.tensor(boxes, dtype=torch.int16).reshape(-1, 3, 2),
            "places": find_places(classes, found, (first.fine.volume != 0).all(axis=0)),
        }
        return lambda path: torch.save(content, path)

    def _predictor(self, model: Model) -> Predictor:
        card = model.card
        membership = torch.from_numpy(card.label_scheme().membership)
        return Predictor(model.network, membership, card.targets, self.device)


def find_places(
    classes: NDArray[np.uint8], found: NDArray[np.bool_], brain: NDArray[np.bool_]
) -> dict[str, Tensor]:
    """Voxels that patches may be centered on, at most ``MOST_PLACES`` of each kind.

    Args:
        classes: (D, H, W).
        found: (D, H, W), where the first look does not rule a tumor out.
        brain: (D, H, W), where all modalities show something.

    Returns:
        Voxels (n, 3) int16 by kind, as :class:`SeenCase` has them.
    """
    kinds = {str(label): classes == label for label in np.unique(classes).tolist() if label}
    kinds |= {ERRORS: found != (classes > 0), BRAIN: brain}
    generator = np.random.default_rng(0)
    places = {}
    for name, mask in kinds.items():
        flat = np.flatnonzero(mask)
        if len(flat) > MOST_PLACES:
            flat = np.sort(generator.choice(flat, MOST_PLACES, replace=False))
        if len(flat):
            voxels = np.stack(np.unravel_index(flat, mask.shape), axis=1)
            places[name] = torch.from_numpy(voxels.astype(np.int16))
    return places


def _read(path: Path) -> SeenCase:
    stored: dict[str, Any] = torch.load(str(path), map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(stored, dict) or stored.keys() != _PARTS:
        raise ValueError(f"{path} is not a prepared case")
    return SeenCase(**stored)
