"""The whole network: variants, sizes, the teacher that stays behind, and the configuration."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from MISSUCore.contract.network_config import NetworkConfig
from MISSUCore.core.serialization import settings_from_dict, settings_to_dict
from MISSUCore.network.transunet import SelfDistillingTransUNet, TransUNet, crop

TINY = NetworkConfig(
    modalities=2,
    outputs=3,
    channels=(2, 3, 4, 6),
    convolutions=(1, 2, 1, 2),
    layers=1,
    embedding=8,
    heads=2,
    feed_forward=8,
    position_grid=2,
)

VARIANTS: list[dict[str, Any]] = [
    {},
    {"transformer": False},
    {"transformer": False, "fusion": "none", "skips": 0},
    {"fusion": "none"},
    {"fusion": "output"},
    {"fusion": "output", "skips": 1},
    {"skips": 0},
    {"skips": 1},
    {"skips": 2},
    {"layers": 3},
    {"embedding": 12, "heads": 3},
    {"modalities": 1, "outputs": 1},
    {"modalities": 4, "outputs": 4},
    {"normalization": "instance"},
    {"channels": (2, 4), "convolutions": (1, 1), "skips": 1},
]


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_every_variant_segments_and_trains(changes: dict[str, Any]) -> None:
    config = replace(TINY, **changes)
    training = SelfDistillingTransUNet(config)
    result = training(torch.randn(2, config.modalities, 16, 24, 16))
    assert result.logits.shape == (2, config.outputs, 16, 24, 16)
    assert bool(result.fused) == (config.fusion == "local")
    loss = sum(part.square().mean() for part in (result.logits, *result.fused_logits))
    loss.backward()
    untrained = [name for name, p in training.network.named_parameters() if p.grad is None]
    # Only fusion outputs that no skip connection takes may stay without a gradient.
    assert all("fusion." in name and config.skips < 3 for name in untrained)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_a_trained_network_is_what_segments(changes: dict[str, Any]) -> None:
    config = replace(TINY, **changes)
    training = SelfDistillingTransUNet(config)
    scan = torch.randn(2, config.modalities, 16, 16, 16)
    training(scan)  # Moves the running statistics away from their start.
    network = TransUNet(config)
    network.load_state_dict(training.network.state_dict(), strict=True)
    torch.testing.assert_close(network.eval()(scan), training.eval()(scan).logits, rtol=0, atol=0)


def test_nothing_of_the_teacher_is_in_the_network_that_segments() -> None:
    training = SelfDistillingTransUNet(TINY)
    assert training.teacher is not None
    kept = training.network.state_dict()
    assert not [key for key in kept if "fusion" in key or "teacher" in key]
    without = TransUNet(replace(TINY, fusion="none")).state_dict()
    assert {key: value.shape for key, value in kept.items()} == {
        key: value.shape for key, value in without.items()
    }
    # Its decoder does not depend on the teacher either, in training.
    training(torch.randn(1, 2, 16, 16, 16)).logits.sum().backward()
    assert all(parameter.grad is None for parameter in training.teacher.parameters())


def test_the_teacher_reads_the_local_features() -> None:
    training = SelfDistillingTransUNet(TINY)
    assert training.teacher_heads is not None
    result = training(torch.randn(1, 2, 15, 16, 17))
    # Padded to 16 x 16 x 24, then halved from stage to stage.
    expected = [(2, 16, 16, 24), (3, 8, 8, 12), (4, 4, 4, 6)]
    assert [tuple(part.shape[1:]) for part in result.local] == expected
    assert [tuple(part.shape[1:]) for part in result.fused] == expected
    assert [tuple(part.shape[1:]) for part in result.fused_logits] == [
        (3, *size) for _, *size in expected
    ]
    for logits, fused, head in zip(result.fused_logits, result.fused, training.teacher_heads):
        by_hand = torch.einsum("oc,bcdhw->bodhw", head.weight.flatten(1), fused)
        torch.testing.assert_close(logits, by_hand + head.bias.view(1, 3, 1, 1, 1))
    result.fused_logits[0].sum().backward()
    first = training.network.encoder[0].entry[0].weight
    assert first.grad is not None
    assert first.grad.abs().sum() > 0


def test_explicit_fusion_is_what_the_decoder_sees() -> None:
    network = TransUNet(replace(TINY, fusion="output")).eval()
    assert network.fusion is not None
    scan = torch.randn(1, 2, 16, 16, 16)
    *local, deepest = network.encode(scan)
    context = network.context(deepest)
    torch.testing.assert_close(network(scan), network.decode(context, network.fusion(local)))
    assert not torch.allclose(network(scan), network.decode(context, local))


def test_features_halve_and_skips_are_taken_from_the_deepest_on() -> None:
    scan = torch.randn(1, 2, 16, 16, 32)
    for skips in range(4):
        network = TransUNet(replace(TINY, skips=skips))
        *local, deepest = (part.detach() for part in network.encode(scan))
        assert [tuple(part.shape[1:]) for part in (*local, deepest)] == [
            (2, 16, 16, 32),
            (3, 8, 8, 16),
            (4, 4, 4, 8),
            (6, 2, 2, 4),
        ]
        for part in local:
            part.requires_grad_()
        network.decode(network.context(deepest), local).sum().backward()
        used = [part.grad is not None for part in local]
        assert used == [False] * (3 - skips) + [True] * skips


@pytest.mark.parametrize("size", [(17, 20, 23), (16, 16, 16), (8, 9, 24), (1, 16, 8)])
def test_any_size_is_padded_with_background_and_cropped(size: tuple[int, int, int]) -> None:
    network = TransUNet(TINY).eval()
    scan = torch.randn(1, 2, *size)
    padded = torch.zeros(1, 2, *(max(16, 8 * ((side + 7) // 8)) for side in size))
    padded[..., : size[0], : size[1], : size[2]] = scan
    expected = network(padded)[..., : size[0], : size[1], : size[2]]
    logits = network(scan)
    assert logits.shape == (1, 3, *size)
    torch.testing.assert_close(logits, expected)


def test_a_tiny_scan_can_be_normalized() -> None:
    network = TransUNet(replace(TINY, normalization="instance")).eval()
    assert network(torch.randn(1, 2, 3, 1, 8)).isfinite().all()


def test_the_position_is_only_resampled_away_from_its_own_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = TransUNet(TINY).eval()
    resampled = []
    interpolate = F.interpolate

    def watched(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        if x is network.context.position:
            resampled.append(args)
        return interpolate(x, *args, **options)

    monkeypatch.setattr(F, "interpolate", watched)
    network(torch.randn(1, 2, 16, 16, 16))
    assert resampled == []
    network(torch.randn(1, 2, 16, 16, 24))
    assert len(resampled) == 1


def test_context_reaches_across_the_scan() -> None:
    """One end's logits depend on the other end with the Transformer, and not without it."""
    for transformer in (True, False):
        config = replace(TINY, transformer=transformer, convolutions=(1, 1, 1, 1))
        network = TransUNet(config).eval()
        scan = torch.randn(1, 2, 64, 8, 8, requires_grad=True)
        network(scan)[0, :, :8].sum().backward()
        assert scan.grad is not None
        assert bool(scan.grad[0, :, -8:].any()) == transformer


def test_crop_keeps_the_start() -> None:
    x = torch.arange(2 * 3 * 4).view(1, 1, 2, 3, 4)
    assert crop(x, (1, 2, 3)).tolist() == [[[[[0, 1, 2], [4, 5, 6]]]]]


@pytest.mark.parametrize("network_class", [TransUNet, SelfDistillingTransUNet])
def test_a_scan_must_have_the_modalities_of_the_network(network_class: type) -> None:
    with pytest.raises(ValueError, match="2 modalities, not 3"):
        network_class(TINY)(torch.randn(1, 3, 16, 16, 16))


@pytest.mark.parametrize(
    "changes",
    [
        {"modalities": 0},
        {"outputs": 0},
        {"channels": (4,), "convolutions": (1,), "skips": 0},
        {"channels": (2, 3, 4)},
        {"channels": (0, 3, 4, 6)},
        {"convolutions": (0, 1, 1, 1)},
        {"heads": 3},
        {"heads": 0},
        {"layers": 0},
        {"embedding": 0},
        {"feed_forward": 0},
        {"position_grid": 0},
        {"skips": 4},
        {"skips": -1},
        {"fusion": "both"},
        {"normalization": "group"},
    ],
    ids=str,
)
def test_contradictions_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(TINY, **changes)


def test_defaults_are_those_of_the_paper() -> None:
    config = NetworkConfig()
    assert (config.layers, config.embedding, config.heads) == (4, 512, 8)
    assert config.channels == (16, 32, 64, 128)
    assert config.stride == 8
    assert config.position_grid * config.stride == 128


def test_config_survives_json() -> None:
    config = replace(TINY, fusion="output", transformer=False)
    assert (
        settings_from_dict(NetworkConfig, json.loads(json.dumps(settings_to_dict(config))))
        == config
    )
    assert settings_from_dict(NetworkConfig, {"outputs": 1}) == NetworkConfig(outputs=1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"colour": 1}, "'colour'"),
        ({"layers": "4"}, "'layers'"),
        ({"layers": 4.0}, "'layers'"),
        ({"layers": True}, "'layers'"),
        ({"transformer": 1}, "'transformer'"),
        ({"fusion": None}, "'fusion'"),
        ({"channels": 16}, "'channels'"),
        ({"channels": [16, 32, "64", 128]}, "'channels'"),
        ({"channels": [16, 32, 64.5, 128]}, "'channels'"),
        ({"skips": 9}, "skips"),
    ],
)
def test_settings_refuse_what_it_does_not_know(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings_from_dict(NetworkConfig, values)
