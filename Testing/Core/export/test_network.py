"""Exported networks say what ours say, for every kind of network and any size."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.model_card import ModelCard
from MISSUCore.contract.network_config import NetworkConfig
from MISSUCore.core.errors import InputError, MISSUError
from MISSUCore.export import network as exporting
from MISSUCore.export.network import RegionOdds, onnx_runner, to_onnx, to_torchscript
from MISSUCore.inference.predictor import region_logits
from MISSUCore.models.store import Model
from MISSUCore.network.transunet import TransUNet

SMALL = {
    "channels": (4, 6, 8),
    "convolutions": (1, 2, 2),
    "layers": 2,
    "embedding": 8,
    "heads": 2,
    "feed_forward": 8,
    "position_grid": 4,
    "skips": 2,
}
KINDS = {
    "regions": {"outputs": 3, "normalization": "instance", "fusion": "none"},
    "labels": {"outputs": 4, "normalization": "batch", "fusion": "local"},
    "no Transformer": {"outputs": 3, "transformer": False},
    "explicit fusion": {"outputs": 3, "fusion": "output"},
}
# Multiples of 4; one of them makes the deepest features as large as the position embedding.
SIZES = [(8, 8, 8), (16, 16, 16), (12, 20, 32)]


def small_model(kind: str) -> Model:
    torch.manual_seed(0)
    config = NetworkConfig(**SMALL, **KINDS[kind])
    network = TransUNet(config).eval()
    for name, buffer in network.named_buffers():  # statistics that change something
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
    card = ModelCard(
        name="small",
        modalities=("t1", "t1ce", "t2", "flair"),
        scheme=BRATS.as_dict(),
        targets="labels" if kind == "labels" else "regions",
        network=config,
    )
    return Model(network, card)


def expected(model: Model, volume: Tensor) -> Tensor:
    membership = torch.from_numpy(BRATS.membership)
    with torch.no_grad():
        return region_logits(model.network(volume), membership, model.card.targets)


def loaded_torchscript(model: Model) -> Callable[[Tensor], Tensor]:
    return torch.jit.load(io.BytesIO(to_torchscript(RegionOdds(model))))


def loaded_onnx(model: Model) -> Callable[[Tensor], Tensor]:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    return onnx_runner(to_onnx(RegionOdds(model)))


@pytest.mark.parametrize("load", [loaded_torchscript, loaded_onnx])
@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_the_network_says_at_any_size(kind, load):
    model = small_model(kind)
    run = load(model)
    for size in SIZES:
        volume = torch.randn(1, 4, *size, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            found = run(volume)
        torch.testing.assert_close(found, expected(model, volume), rtol=1e-4, atol=1e-4)


def test_a_network_that_was_used_is_exported_too_and_stays_as_it_is():
    """Used networks lie in memory by channels last, where ours has kernels of its own."""
    model = small_model("regions")
    model.network.to(memory_format=torch.channels_last_3d)
    layouts = [weight.stride() for weight in model.network.parameters()]
    assert to_torchscript(RegionOdds(model))
    assert [weight.stride() for weight in model.network.parameters()] == layouts


def test_a_file_that_says_something_else_is_refused(monkeypatch):
    model = small_model("regions")
    loaded = torch.jit.load

    def wrong(file):
        run = loaded(file)
        return lambda volume: run(volume) + 0.01

    monkeypatch.setattr(torch.jit, "load", wrong)
    with pytest.raises(MISSUError, match=r"differs from ours by 0\.01"):
        to_torchscript(RegionOdds(model))


def test_without_onnx_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr(exporting.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install onnx onnxruntime"):
        to_onnx(RegionOdds(small_model("regions")))
