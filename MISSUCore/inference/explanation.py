"""Grad-CAM of each region, which shows what the network looks at, as in Fig. 4 of the paper.

References:
    Selvaraju et al., Grad-CAM: Visual explanations from deep networks via gradient-based
    localization, ICCV 2017; for segmentation: Vinogradova et al., Towards interpretable semantic
    segmentation via gradient-weighted class activation mapping, AAAI 2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..core.errors import ResourceError
from ..core.events import Progress, Stage
from ..io.dicom import ScanSource
from ..io.geometry import image_like
from ..io.writing import check_outputs, write_image
from ..models.store import Model, default_model, load_model
from ..network.transunet import TransUNet
from ..preprocessing.pipeline import PreprocessingOptions
from ..preprocessing.working_grid import to_reference
from .case_scans import input_files, read_scans
from .missing_scans import answering_model, network_input
from .predictor import choose_device, is_out_of_memory, region_logits
from .second_look import hull, look_first
from .segmentation import (
    SegmentationOptions,
    checked_reference,
    make_predictor,
)


def gradient_maps(network: TransUNet, volume: Tensor, membership: Tensor, targets: str) -> Tensor:
    """Grad-CAM of every region after the last 3x3x3 convolution and its normalization.

    The score of a region is the sum of its log-odds over the voxels where it is found. Channels A_k
    are weighted by the mean gradient a_k of the score, and only positive evidence is kept:
    ReLU(sum_k a_k A_k).

    Why there: before an instance normalization, which removes any constant, every mean gradient is
    0; after the ReLU only the linear head follows, and the maps would be the logits.

    Args:
        network: in evaluation mode, on the device of the volume.
        volume: (modalities, D, H, W), prepared.
        membership: (regions, classes): which class belongs to which region.
        targets: meaning of the network's outputs, see :func:`.region_logits`.

    Returns:
        (regions, D, H, W), each map from 0 to 1; all 0 where the region is not found.
    """
    features: list[Tensor] = []

    def watch(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        # Nothing before this convolution needs a gradient, which saves most of the memory.
        features.append(output.detach().requires_grad_())
        return features[0].clone()  # a copy, since the ReLU works in place

    last_step: Any = network.decoder[-1]
    handle = last_step.convolution[1].register_forward_hook(watch)
    try:
        with torch.enable_grad():
            odds = region_logits(network(volume[None]), membership, targets)[0]
    finally:
        handle.remove()
    maps = []
    for region in odds:
        score = region[region > 0].sum()
        (gradient,) = torch.autograd.grad(score, features[0], retain_graph=True)
        weights = gradient.mean(dim=(2, 3, 4), keepdim=True)
        evidence = (weights * features[0].detach()).sum(dim=1)[0].relu()
        evidence = evidence[tuple(slice(length) for length in volume.shape[1:])]
        maps.append(evidence / evidence.max().clamp(min=torch.finfo(evidence.dtype).tiny))
    return torch.stack(maps)


def explain_case(
    images: Mapping[str, sitk.Image],
    model: Model,
    reference: sitk.Image | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[str, sitk.Image]:
    """Grad-CAM of a case by region name, on the grid of a reference image.

    Args:
        images: skull-stripped, co-registered 3-D float images by modality.
        model: from :func:`MISSUCore.models.store.load_model`.
        reference: image whose grid the maps have; by default the first of the images.
        device: see :func:`.choose_device`.
        progress: reports the stages.

    Raises:
        InputError: as :func:`.segment_case` does.
        ResourceError: if there is too little memory for a single pass.
    """
    progress = progress or Progress()
    model, _ = answering_model(list(images), model)
    reference = checked_reference(images, reference)
    scheme = model.card.label_scheme()
    volume, grid = _looked_at(images, model, device, progress.part(0.0, 0.3))
    progress(Stage.EXPLAIN, 0.3, "looking for what speaks for each region")
    if volume is None:
        maps = np.zeros((len(scheme.regions), *grid.GetSize()[::-1]), dtype=np.float32)
    else:
        maps = _maps(volume, model, choose_device(device))
    progress(Stage.RESTORE, 0.8, "bringing the maps to the reference grid")
    restored = to_reference(maps, grid, reference)
    return {
        name: image_like(channel, reference) for name, channel in zip(scheme.region_names, restored)
    }


def _maps(volume: NDArray[np.float32], model: Model, device: torch.device) -> NDArray[np.float32]:
    """Grad-CAM (regions, D, H, W) of a prepared volume (modalities, D, H, W).

    Raises:
        ResourceError: if there is too little memory for a single pass.
    """
    try:
        maps = gradient_maps(
            model.network.to(device),
            torch.from_numpy(volume).to(device),
            torch.from_numpy(model.card.label_scheme().membership).to(device),
            model.card.targets,
        )
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            "out of memory; try --device cpu, or a machine with more memory"
        ) from error
    return maps.cpu().numpy()


def _looked_at(
    images: Mapping[str, sitk.Image], model: Model, device: str, progress: Progress
) -> tuple[NDArray[np.float32] | None, sitk.Image]:
    """The network's input for a case (modalities, D, H, W), and its grid.

    If the model looks twice, it is the block of the second look, or None if there is none.
    """
    if model.finder is None:
        progress(Stage.PREPARE, 0.0, "bringing the scans to one grid")
        prepared = network_input(images, model.card)
        return prepared.volume, prepared.grid
    options = SegmentationOptions(device=device)
    first = look_first(images, model, lambda finder: make_predictor(finder, options), progress)
    if not first.boxes:
        return None, first.grid
    z, y, x = hull(first.boxes)
    return np.ascontiguousarray(first.fine.volume[:, z, y, x]), first.fine.grid[x, y, z]


@dataclass(frozen=True)
class ExplainedCase:
    """Result of :func:`explain_files`.

    Attributes:
        files: the written maps by region name.
        warnings: what the user should know before trusting them.
    """

    files: dict[str, Path]
    warnings: list[str]


def explain_files(
    paths: Mapping[str, ScanSource],
    folder: Path,
    *,
    model: str | None = None,
    reference: str | Path | None = None,
    brain_mask: Path | None = None,
    preprocessing: PreprocessingOptions | None = None,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ExplainedCase:
    """Write the Grad-CAM of each region, ``gradcam_WT.nii.gz`` and so on, to a folder.

    Args:
        paths: scans by modality: image files or DICOM series folders.
        folder: for the maps; created if needed.
        model: name or path; by default the one in use.
        reference: image whose grid the maps have, see :func:`.read_scans`.
        brain_mask: see :func:`.read_scans`.
        preprocessing: steps to apply; by default those that the scans need.
        device: see :func:`.choose_device`.
        overwrite: replace files that exist.
        progress: reports the stages.

    Raises:
        InputError: if anything given cannot be used; nothing is written then.
        ResourceError: if there is too little memory or disk space.
    """
    progress = progress or Progress()
    loaded = load_model(model or default_model())
    _, warnings = answering_model(list(paths), loaded)
    scheme = loaded.card.label_scheme()
    files = {name: folder / f"gradcam_{name}.nii.gz" for name in scheme.region_names}
    check_outputs(list(files.values()), input_files(paths, reference, brain_mask), overwrite)
    scans = read_scans(paths, scheme, reference, brain_mask, preprocessing, progress.part(0, 0.5))
    maps = explain_case(
        scans.prepared.images, loaded, scans.reference, device, progress.part(0.5, 0.95)
    )
    progress(Stage.WRITE, 0.95, "writing the maps")
    with ExitStack() as stack:
        for name, path in files.items():
            write_image(stack, scans.where_it_was(maps[name]), path)
    progress(Stage.DONE, 1.0, f"wrote {folder}")
    return ExplainedCase(files, [*scans.prepared.warnings, *warnings])
