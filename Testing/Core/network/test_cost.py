"""Costs against arithmetic done by hand, and against the paper's Table III."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from MISSUCore.contract.network_config import NetworkConfig
from MISSUCore.network.blocks import SelfAttention
from MISSUCore.network.cost import Cost, cost_report, cost_table, network_cost
from MISSUCore.network.transunet import SelfDistillingTransUNet, TransUNet


def test_a_convolution() -> None:
    # 3 x 4 x 5 voxels, each 7 outputs from 2 * 27 inputs.
    cost = network_cost(nn.Conv3d(2, 7, kernel_size=3, padding=1), (2, 3, 4, 5))
    assert cost == Cost(7 * 2 * 27 + 7, 60 * 7 * 54, 60 * 7 * 54)


def test_attention_is_counted_once() -> None:
    # 10 tokens of width 16: four 16 x 16 projections, then queries by keys and scores by values.
    cost = network_cost(SelfAttention(16, heads=2), (10, 16))
    assert cost.parameters == 4 * (16 * 16 + 16)
    assert cost.multiply_adds_without_attention == 10 * 4 * 16 * 16
    assert cost.multiply_adds == 10 * 4 * 16 * 16 + 2 * 10 * 10 * 16


@pytest.fixture(scope="module")
def report() -> dict[str, dict[str, int]]:
    return cost_report()


def test_the_default_network_by_hand(report: dict[str, dict[str, int]]) -> None:
    voxels = [128**3, 64**3, 32**3, 16**3]
    # (voxels, inputs, outputs) of every 3x3x3 convolution; each has a normalization behind it.
    encoder = [(0, 4, 16), (1, 16, 32), (1, 32, 32), (2, 32, 64), *[(2, 64, 64)] * 2]
    encoder += [(3, 64, 128), *[(3, 128, 128)] * 2]
    decoder = [(2, 128 + 64, 64), (1, 64 + 32, 32), (0, 32 + 16, 16)]
    convolutions = encoder + decoder
    tokens, d = 4096, 512
    # Query, key, value, output and two of the feed-forward network, in four layers.
    matrices = 4 * 6 * d * d + 2 * 128 * d
    biases = 4 * 6 * d + d + 128
    norms = (4 * 2 + 1) * 2 * d
    parameters = sum(27 * a * b + 2 * b for _, a, b in convolutions)
    parameters += matrices + biases + norms + d * 16**3 + 16 * 4 + 4
    products = sum(voxels[stage] * 27 * a * b for stage, a, b in convolutions)
    products += voxels[0] * 16 * 4 + tokens * matrices
    attention = 4 * 2 * tokens * tokens * d
    assert report["inference"] == {
        "parameters": parameters,
        "multiply_adds": products + attention,
        "multiply_adds_without_attention": products,
    }


def test_explicit_fusion_by_hand(report: dict[str, dict[str, int]]) -> None:
    parameters = products = 0
    for width, side in ((16, 128), (32, 64), (64, 32)):
        # Three 3x3x3 convolutions, of which rate 3 is applied twice; the 1x1x1 of the branches,
        # applied three times, and that of the pyramid.
        parameters += 3 * (27 * width**2 + width) + 2 * (width**2 + width)
        products += (4 * 27 + 4) * width**2 * side**3
    for shallow, deep, side in ((16, 32, 64), (32, 64, 32)):
        parameters += 27 * shallow * deep + deep
        products += 27 * shallow * deep * side**3
    inference, explicit = report["inference"], report["explicit_msf"]
    assert explicit["parameters"] - inference["parameters"] == parameters
    for key in ("multiply_adds", "multiply_adds_without_attention"):
        assert explicit[key] - inference[key] == products


def test_inference_meets_the_paper(report: dict[str, dict[str, int]]) -> None:
    inference = report["inference"]
    assert inference["parameters"] == pytest.approx(10.50e6, rel=0.02)
    assert inference["multiply_adds_without_attention"] == pytest.approx(132.11e9, rel=0.02)


def test_report_is_json_and_ignores_the_fusion_of_the_config() -> None:
    small = NetworkConfig(
        modalities=1, channels=(2, 3, 4, 6), embedding=8, heads=2, position_grid=2, fusion="output"
    )
    report = cost_report(small, size=(16, 16, 24))
    assert json.loads(json.dumps(report)) == report
    assert list(report) == ["inference", "explicit_msf"]
    assert report["inference"]["parameters"] < report["explicit_msf"]["parameters"]
    assert report["inference"]["multiply_adds"] < report["explicit_msf"]["multiply_adds"]


def test_counting_leaves_a_network_as_it_is() -> None:
    small = NetworkConfig(
        modalities=1, channels=(2, 3, 4, 6), embedding=8, heads=2, feed_forward=8, position_grid=2
    )
    network = SelfDistillingTransUNet(small)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    trained = network_cost(network, (1, 16, 16, 16))
    assert network.training
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])
    # Nothing is left behind that goes on counting.
    assert not any(module._forward_hooks for module in network.modules())
    assert trained.parameters > network_cost(TransUNet(small), (1, 16, 16, 16)).parameters


def test_table_shows_both_conventions_and_the_paper(report: dict[str, dict[str, int]]) -> None:
    table = cost_table(report)
    for figure in ("10.50 M / 132.11 G", "17.38 M / 196.61 G", "10.40 M", "130.63 G", "199.35 G"):
        assert figure in table
    assert max(map(len, table.splitlines())) <= 80
