"""Grad-CAM: what the formula says, on the right voxels, and dependent on the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.network_config import NetworkConfig
from MISSUCore.core.errors import InputError, ResourceError
from MISSUCore.core.events import Progress, ProgressEvent
from MISSUCore.inference import explanation
from MISSUCore.inference.explanation import explain_case, gradient_maps
from MISSUCore.models.store import load_model
from MISSUCore.network.transunet import TransUNet
from MISSUCore.preprocessing.pipeline import AS_THEY_ARE

MEMBERSHIP = torch.from_numpy(BRATS.membership)
MODALITIES = ("t1", "t1ce", "t2", "flair")
NETWORK = NetworkConfig(
    outputs=3,
    channels=(4, 8),
    convolutions=(1, 1),
    transformer=False,
    skips=1,
    normalization="instance",
)

# These are not brains.
explain_files = partial(explanation.explain_files, preprocessing=AS_THEY_ARE)


@pytest.fixture
def network() -> TransUNet:
    torch.manual_seed(0)
    return TransUNet(NETWORK).eval()


@pytest.fixture
def volume() -> torch.Tensor:
    return torch.randn((4, 9, 11, 10), generator=torch.Generator().manual_seed(0))


def test_the_maps_are_those_of_the_formula(network: TransUNet, volume: torch.Tensor) -> None:
    seen: list[NDArray[np.float32]] = []
    normalization = network.decoder[-1].convolution[1]
    handle = normalization.register_forward_hook(
        lambda *call: seen.append(call[2][0].numpy().copy())
    )
    with torch.inference_mode():
        logits = network(volume[None])[0].numpy()
    handle.remove()
    maps = gradient_maps(network, volume, MEMBERSHIP, "regions").numpy()
    assert maps.shape == (3, 9, 11, 10)
    # Behind the normalization there are a ReLU and a linear head: its weight is the gradient where
    # the feature is positive and the region is found, padding voxels counting in the mean alone.
    (features,) = seen
    cut = features[:, :9, :11, :10]
    weights = network.head.weight.detach().numpy()[:, :, 0, 0, 0]
    for region in range(3):
        counted = (cut > 0) & (logits[region] > 0)
        alpha = weights[region] * counted.sum(axis=(1, 2, 3)) / features[0].size
        expected = np.einsum("k,kdhw->dhw", alpha, cut).clip(0)
        assert expected.max() > 0
        np.testing.assert_allclose(maps[region], expected / expected.max(), atol=1e-4)


def test_exclusive_labels_have_maps_too(volume: torch.Tensor) -> None:
    torch.manual_seed(1)
    network = TransUNet(replace(NETWORK, outputs=4)).eval()
    maps = gradient_maps(network, volume, MEMBERSHIP, "labels")
    assert maps.shape == (3, 9, 11, 10)
    assert maps.isfinite().all()
    assert maps.amax(dim=(1, 2, 3)).tolist() == pytest.approx([1, 1, 1])


def test_a_region_that_is_not_found_has_an_empty_map(
    network: TransUNet, volume: torch.Tensor
) -> None:
    with torch.no_grad():
        network.head.bias[1] = -1e4
    maps = gradient_maps(network, volume, MEMBERSHIP, "regions")
    assert not maps[1].any()
    assert maps[0].any()


def test_the_network_is_left_as_it_was(network: TransUNet, volume: torch.Tensor) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    logits = network(volume[None])
    gradient_maps(network, volume, MEMBERSHIP, "regions")
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(network(volume[None]), logits)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("part", ["encoder", "decoder", "head"])
def test_random_weights_give_other_maps(part: str, volume: torch.Tensor) -> None:
    """The sanity check of Adebayo et al. 2018: a map that ignores the weights explains nothing."""
    torch.manual_seed(0)
    network = TransUNet(replace(NETWORK, normalization="batch")).eval()
    trained = gradient_maps(network, volume, MEMBERSHIP, "regions")
    for parameter in getattr(network, part).parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    random = gradient_maps(network, volume, MEMBERSHIP, "regions")
    for one, other in zip(trained, random):
        correlation = torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]
        assert not correlation > 0.9


# Whole cases


@pytest.fixture
def write_case(
    write_image: Callable[..., Path], truth: NDArray[np.uint8]
) -> Callable[..., dict[str, Path]]:
    """Function that writes scans that are bright where the bright model looks for each region."""

    def write(**geometry: object) -> dict[str, Path]:
        voxels = np.random.default_rng(0).normal(100, 2, (4, *truth.shape)).astype(np.float32)
        for channel, labels in enumerate(([], [4], [1, 4], [1, 2, 4])):
            voxels[channel][np.isin(truth, labels)] += 100
        return {
            name: write_image(f"{name}.nii.gz", channel, **geometry)
            for name, channel in zip(MODALITIES, voxels)
        }

    return write


def test_maps_lie_on_the_grid_of_the_scans(
    tmp_path: Path,
    write_case: Callable[..., dict[str, Path]],
    bright_model: Callable[..., Path],
    truth: NDArray[np.uint8],
    direction: NDArray[np.float64],
) -> None:
    paths = write_case(origin=(-31.0, 42.5, 17.25), direction=direction)
    explained = explain_files(paths, tmp_path / "maps", model=str(bright_model()), device="cpu")
    assert explained.warnings == []
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [
        "gradcam_ET.nii.gz",
        "gradcam_TC.nii.gz",
        "gradcam_WT.nii.gz",
    ]
    scan = sitk.ReadImage(str(paths["t1"]))
    for name, labels in (("WT", (1, 2, 4)), ("TC", (1, 4)), ("ET", (4,))):
        image = sitk.ReadImage(str(explained.files[name]))
        assert image.GetSize() == scan.GetSize()
        for part in ("Spacing", "Origin", "Direction"):
            found, expected = (getattr(i, f"Get{part}")() for i in (image, scan))
            np.testing.assert_allclose(found, expected, atol=1e-4)
        voxels = sitk.GetArrayFromImage(image)
        assert 0 <= voxels.min() <= voxels.max() <= 1.001
        region = np.isin(truth, labels)
        # The bright model finds a region by one bright modality alone, and so do its maps.
        assert voxels[region].mean() > 0.6
        assert voxels[~region].mean() < 0.15


def test_the_reference_decides_the_grid(
    write_case: Callable[..., dict[str, Path]],
    bright_model: Callable[..., Path],
    make_image: Callable[..., sitk.Image],
) -> None:
    images = {name: sitk.ReadImage(str(path)) for name, path in write_case().items()}
    reference = make_image(np.zeros((7, 8, 9), np.float32), spacing=(3.0, 2.0, 2.5))
    maps = explain_case(images, load_model(str(bright_model())), reference, "cpu")
    assert maps["WT"].GetSize() == (9, 8, 7)
    assert maps["WT"].GetSpacing() == (3.0, 2.0, 2.5)


def test_progress_rises_and_files_are_kept_unless_told(
    tmp_path: Path, write_case: Callable[..., dict[str, Path]], bright_model: Callable[..., Path]
) -> None:
    paths, model = write_case(), str(bright_model())
    events: list[ProgressEvent] = []
    explain_files(paths, tmp_path / "maps", model=model, progress=Progress(events.append))
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    before = (tmp_path / "maps" / "gradcam_WT.nii.gz").read_bytes()
    with pytest.raises(InputError, match=r"gradcam_WT\.nii\.gz: exists"):
        explain_files(paths, tmp_path / "maps", model=model)
    assert (tmp_path / "maps" / "gradcam_WT.nii.gz").read_bytes() == before
    explain_files(paths, tmp_path / "maps", model=model, overwrite=True)


def test_what_cannot_be_used_writes_nothing(
    tmp_path: Path, write_case: Callable[..., dict[str, Path]], bright_model: Callable[..., Path]
) -> None:
    paths, model = write_case(), str(bright_model())
    for wrong in (
        {"paths": {"t1": paths["t1"]}},
        {"paths": {**paths, "t2": tmp_path / "missing.nii.gz"}},
        {"device": "quantum"},
        {"reference": tmp_path / "missing.nii.gz"},
    ):
        with pytest.raises(InputError):
            explain_files(**{"paths": paths, "folder": tmp_path / "maps", "model": model, **wrong})
    assert not (tmp_path / "maps").exists()


def test_an_input_is_never_written_over(
    tmp_path: Path, write_case: Callable[..., dict[str, Path]], bright_model: Callable[..., Path]
) -> None:
    paths = write_case()
    paths["t1"] = paths["t1"].rename(tmp_path / "gradcam_WT.nii.gz")
    before = paths["t1"].read_bytes()
    with pytest.raises(InputError, match="is an input too"):
        explain_files(paths, tmp_path, model=str(bright_model()), overwrite=True)
    assert paths["t1"].read_bytes() == before


def test_a_reference_apart_from_the_scans_is_refused(
    write_case: Callable[..., dict[str, Path]],
    bright_model: Callable[..., Path],
    make_image: Callable[..., sitk.Image],
) -> None:
    images = {name: sitk.ReadImage(str(path)) for name, path in write_case().items()}
    apart = make_image(np.zeros((7, 8, 9), np.float32), origin=(5000.0, 0.0, 0.0))
    with pytest.raises(InputError, match="lies apart in space"):
        explain_case(images, load_model(str(bright_model())), apart, "cpu")


def test_too_little_memory_is_told(
    write_case: Callable[..., dict[str, Path]],
    bright_model: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(explanation, "gradient_maps", fail)
    images = {name: sitk.ReadImage(str(path)) for name, path in write_case().items()}
    with pytest.raises(ResourceError, match="--device cpu"):
        explain_case(images, load_model(str(bright_model())), device="cpu")
