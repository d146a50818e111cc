"""Weights in 8 bits: near enough, small, and told apart from half precision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from MISSUCore.contract.model_card import ModelCard
from MISSUCore.contract.network_config import NetworkConfig
from MISSUCore.core.errors import InputError
from MISSUCore.core.files import sha256
from MISSUCore.models.eight_bit import pack, unpack
from MISSUCore.models.store import load_model, save_model
from MISSUCore.network.transunet import TransUNet


def test_each_channel_has_a_scale_of_its_own() -> None:
    """By hand: a channel of multiples of its largest value / 127 comes back as it was."""
    whole = torch.tensor([[127.0, -3.0, 0.0], [1.0, -127.0, 64.0], [0.0, 0.0, 0.0]])
    weight = whole * torch.tensor([[0.5], [0.25], [1.0]])
    packed = pack({"layer.weight": weight, "layer.bias": torch.tensor([0.5]), "n": torch.tensor(7)})
    assert packed["layer.weight"].dtype == torch.int8
    assert packed["layer.weight"].tolist() == whole.tolist()
    assert packed["layer.weight.scale"][:2].flatten().tolist() == [0.5, 0.25]
    assert packed["layer.bias"].dtype == torch.float16
    found = unpack(packed)
    assert set(found) == {"layer.weight", "layer.bias", "n"}
    assert torch.equal(found["layer.weight"], weight)
    assert found["n"].dtype == torch.int64


@pytest.mark.parametrize("shape", [(5, 40), (6, 3, 3, 3, 3), (1, 7, 4, 4, 4)])
def test_no_value_is_off_by_more_than_half_a_step(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    axis = 1 if shape[0] == 1 else 0
    others = [a for a in range(len(shape)) if a != axis]
    packed = pack({"w": weight})
    assert packed["w.scale"].numel() == shape[axis]
    error = (unpack(packed)["w"] - weight).abs()
    # A step is the largest value / 127; where the largest are cut, they may be off by a fifth.
    largest = weight.abs().amax(others, keepdim=True)
    inside = weight.abs() < 0.8 * largest
    assert (error <= largest / 127 / 2 + 1e-7)[inside].all()
    assert (error <= 0.2 * largest + 1e-7).all()
    # Cutting is done only where it is nearer on the whole.
    plain = (weight / (largest / 127)).round() * largest / 127
    assert (error.square().sum(others) <= (plain - weight).square().sum(others) * (1 + 1e-5)).all()


def test_half_precision_is_read_as_before() -> None:
    weight = torch.randn(3, 4)
    found = unpack({"w": weight.half(), "count": torch.tensor(2)})
    assert torch.equal(found["w"], weight.half().float()) and found["count"] == 2


@pytest.fixture
def card(tiny_card: ModelCard) -> ModelCard:
    network = NetworkConfig(
        outputs=3, channels=(8, 16), convolutions=(1, 2), layers=1, embedding=32, heads=2,
        feed_forward=32, position_grid=4, skips=1, normalization="instance",
    )  # fmt: skip
    return replace(tiny_card, network=network)


def test_a_model_in_8_bits_answers_nearly_the_same_in_half_the_space(
    tmp_path: Path, card: ModelCard
) -> None:
    torch.manual_seed(0)
    network = TransUNet(card.network).eval()
    scan = torch.randn(1, 4, 8, 12, 10)
    halves = save_model(tmp_path / "halves", card, network.state_dict())
    eighth = save_model(tmp_path / "bytes", card, network.state_dict(), eight_bit=True)
    assert eighth.sha256 == sha256(tmp_path / "bytes" / "tiny.pt") != halves.sha256
    sizes = [(tmp_path / name / "tiny.pt").stat().st_size for name in ("halves", "bytes")]
    assert sizes[1] < 0.75 * sizes[0]  # the rest is the names of the layers
    with torch.inference_mode():
        answers = [
            load_model(str(tmp_path / name / "tiny.pt")).network(scan)
            for name in ("halves", "bytes")
        ]
    off = (answers[0] - answers[1]).abs().mean() / answers[0].std()
    assert 0 < off < 0.05


def test_scales_that_are_missing_are_an_error_of_the_file(tmp_path: Path, card: ModelCard) -> None:
    save_model(tmp_path, card, TransUNet(card.network).state_dict(), eight_bit=True)
    path = tmp_path / "tiny.pt"
    weights = torch.load(path, weights_only=True)
    del weights["head.weight.scale"]
    torch.save(weights, path)
    text = path.with_suffix(".json").read_text()
    old = load_card_checksum(text)
    path.with_suffix(".json").write_text(text.replace(old, sha256(path)))
    with pytest.raises(InputError, match="holds no weights of the network in its card"):
        load_model(str(path))


def load_card_checksum(text: str) -> str:
    """The checksum in a card."""
    return text.split('"sha256": "')[-1].split('"')[0]
