"""Whole volumes through a network: single pass, sliding window, mirrors, and too little memory."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from MISSUCore.contract.labels import BRATS
from MISSUCore.core.errors import InputError, MISSUError, ResourceError
from MISSUCore.core.events import Progress, ProgressEvent
from MISSUCore.inference import predictor as predictor_module
from MISSUCore.inference.predictor import (
    BYTES_PER_VOXEL,
    FIXED_BYTES,
    Predictor,
    _gaussian,
    _starts,
    choose_device,
    fastest_layout,
    free_memory_bytes,
    has_bfloat16,
    region_logits,
)
from MISSUCore.network.kernels import InstanceNorm

CPU = torch.device("cpu")
MEMBERSHIP = torch.from_numpy(BRATS.membership)
WINDOW = (8, 6, 10)


def make_predictor(network: nn.Module, targets: str = "regions", **options: object) -> Predictor:
    return Predictor(network, MEMBERSHIP, targets, CPU, WINDOW, **options)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    # Answers are held against exact ones, on whatever processor.
    monkeypatch.setattr(predictor_module, "has_bfloat16", lambda device: False)


@pytest.fixture
def volume() -> Tensor:
    return torch.randn((2, 17, 13, 20), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network() -> nn.Module:
    """A network that sees its surroundings, and the ends of what it is given."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(2, 4, 3, padding=1), nn.GELU(), nn.Conv3d(4, 3, 3, padding=1))


@pytest.fixture
def pointwise() -> nn.Module:
    """A network whose answer at a voxel depends on that voxel alone."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(2, 8, 1), nn.GELU(), nn.Conv3d(8, 3, 1))


# Regions


def test_probabilities_of_exclusive_labels() -> None:
    logits = torch.randn((1, 4, 2, 3, 4), generator=torch.Generator().manual_seed(0))
    found = region_logits(logits, MEMBERSHIP, "labels").sigmoid()
    powers = np.exp(logits[0].numpy().astype(np.float64))
    necrosis, edema, enhancing = powers[1:] / powers.sum(axis=0)
    expected = np.stack([necrosis + edema + enhancing, necrosis + enhancing, enhancing])
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-6)


def test_log_odds_of_sure_labels_are_finite() -> None:
    logits = torch.zeros(1, 4, 1, 1, 2)
    logits[0, 0], logits[0, 3] = torch.tensor([300.0, -300.0]), torch.tensor([-300.0, 300.0])
    found = region_logits(logits, MEMBERSHIP, "labels")[0, :, 0, 0]
    # Background at 300 against the other labels at 0, 0 and -300; then the other way round.
    expected = [[-300 + np.log(2), 600], [-300, 300], [-600, 300 - np.log(2)]]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_log_odds_of_regions() -> None:
    logits = torch.randn((2, 3, 2, 3, 4), generator=torch.Generator().manual_seed(0))
    assert torch.equal(region_logits(logits, MEMBERSHIP, "regions"), logits)


def test_labels_reach_the_regions_through_a_prediction(volume: Tensor) -> None:
    torch.manual_seed(0)
    network = nn.Conv3d(2, 4, 1)
    with torch.inference_mode():
        expected = region_logits(network(volume[None]), MEMBERSHIP, "labels")[0].sigmoid()
    for sliding in (False, True):
        found = make_predictor(network, "labels", sliding=sliding)(volume)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("sliding", [False, True])
def test_temperatures_divide_the_log_odds_of_each_region(
    pointwise: nn.Module, volume: Tensor, sliding: bool
) -> None:
    plain = make_predictor(pointwise, sliding=sliding)(volume).double()
    soft = make_predictor(pointwise, sliding=sliding, temperatures=(1.0, 2.0, 0.5))(volume)
    odds = (plain / (1 - plain)).numpy()
    for index, power in enumerate((1, 1 / 2, 2)):
        expected = odds[index] ** power / (1 + odds[index] ** power)
        np.testing.assert_allclose(soft[index].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("layer", "device", "layout"),
    [
        (nn.InstanceNorm3d(2), "cpu", torch.contiguous_format),
        (nn.InstanceNorm3d(2), "cuda", torch.channels_last_3d),
        (InstanceNorm(2), "cpu", torch.channels_last_3d),
        (nn.BatchNorm3d(2), "cpu", torch.channels_last_3d),
    ],
)
def test_memory_layout(layer: nn.Module, device: str, layout: torch.memory_format) -> None:
    assert fastest_layout(nn.Sequential(layer), torch.device(device)) == layout


@pytest.mark.parametrize(
    ("capabilities", "has"),
    [
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx512_f": True, "avx512_bf16": True, "amx_bf16": False}, True),
        ({"neon": True, "bf16": True}, True),
        (None, False),  # PyTorch that does not tell
    ],
)
def test_bfloat16_is_for_processors_that_have_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool] | None, has: bool
) -> None:
    if capabilities is None:
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert has_bfloat16(torch.device("cpu")) == has


@pytest.mark.parametrize(("version", "has"), [((7, 0), False), ((8, 6), True)])
def test_bfloat16_is_for_gpus_that_have_it(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], has: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: version)
    assert has_bfloat16(torch.device("cuda")) == has


@pytest.mark.parametrize("has", [False, True])
def test_a_processor_with_bfloat16_computes_in_it(
    monkeypatch: pytest.MonkeyPatch, network: nn.Module, volume: Tensor, has: bool
) -> None:
    monkeypatch.setattr(predictor_module, "has_bfloat16", lambda device: has)
    found = make_predictor(network)(volume)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=has):
        expected = network(volume[None]).float().sigmoid()[0]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    assert found.dtype == torch.float32


def test_what_is_too_large_for_half_precision_is_computed_in_full(
    monkeypatch: pytest.MonkeyPatch, volume: Tensor
) -> None:
    monkeypatch.setattr(predictor_module, "has_bfloat16", lambda device: True)

    class Fragile(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            half = (torch.ones(1, 1) @ torch.ones(1, 1)).dtype == torch.bfloat16
            return x[:, :1].expand(-1, 3, -1, -1, -1) * (float("inf") if half else 1.0)

    torch.testing.assert_close(make_predictor(Fragile())(volume)[0], volume[0].sigmoid())


# Windows


@pytest.mark.parametrize("window", [4, 7, 8, 128])
def test_windows_cover_every_length_and_overlap_by_half(window: int) -> None:
    for length in range(window, 5 * window + 1, max(1, window // 16)):
        starts = _starts(length, window)
        assert starts[0] == 0
        assert starts[-1] == length - window
        steps = np.diff(starts)
        assert (steps > 0).all()
        assert (steps <= (window + 1) // 2).all()
        assert len(starts) == 1 + -(-2 * (length - window) // window)  # and no more than needed


def test_window_weights() -> None:
    weight = _gaussian([9, 4, 16]).numpy()
    assert weight.shape == (9, 4, 16)
    expected = np.ones(())
    for length in (9, 4, 16):
        offset = np.arange(length) - (length - 1) / 2
        expected = expected[..., None] * np.exp(-0.5 * (offset / (length / 8)) ** 2)
    np.testing.assert_allclose(weight, expected.clip(1e-4), rtol=1e-5)
    assert weight.min() > 0
    np.testing.assert_allclose(weight, weight[::-1, ::-1, ::-1], rtol=1e-6)


def test_a_single_pass_is_the_network(network: nn.Module, volume: Tensor) -> None:
    predictor = make_predictor(network, sliding=False)
    found = predictor(volume)
    with torch.inference_mode():
        expected = network(volume[None])[0].sigmoid()
    torch.testing.assert_close(found, expected)
    assert found.dtype == torch.float32 and found.device == CPU
    assert predictor.windows == 1 and predictor.notes == []


def test_a_sliding_window_over_a_pointwise_network_is_a_single_pass(
    pointwise: nn.Module, volume: Tensor
) -> None:
    predictor = make_predictor(pointwise, sliding=True)
    found = predictor(volume)
    assert predictor.windows == 4 * 4 * 3
    torch.testing.assert_close(found, make_predictor(pointwise, sliding=False)(volume))


def test_a_window_larger_than_the_volume_is_a_single_pass(network: nn.Module) -> None:
    small = torch.randn((2, 8, 5, 3), generator=torch.Generator().manual_seed(0))
    predictor = make_predictor(network, sliding=True)
    found = predictor(small)
    assert predictor.windows == 1
    torch.testing.assert_close(found, make_predictor(network, sliding=False)(small))


def test_windows_are_blended_as_monai_does(monkeypatch: pytest.MonkeyPatch) -> None:
    inferers = pytest.importorskip("monai.inferers")
    # MONAI gives a window's corners at least 1e-3.
    monkeypatch.setattr(predictor_module, "_gaussian", lambda size: _gaussian(size).clamp(min=1e-3))
    torch.manual_seed(0)
    network = nn.Conv3d(2, 3, 5, padding=2)
    # Lengths whose half-overlapping windows lie the same way in both.
    volume = torch.randn((2, 24, 20, 16), generator=torch.Generator().manual_seed(0))
    window = (8, 10, 8)
    predictor = Predictor(network, MEMBERSHIP, "regions", CPU, window, sliding=True)
    found = predictor(volume)
    monai = inferers.SlidingWindowInferer(window, overlap=0.5, mode="gaussian")
    with torch.inference_mode():
        expected = monai(volume[None], lambda x: network(x).sigmoid())[0]
    assert predictor.windows == 5 * 3 * 3
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert (found - make_predictor(network, sliding=False)(volume)).abs().max() > 0.01


def test_progress_rises_over_windows_and_mirrors(network: nn.Module, volume: Tensor) -> None:
    events: list[ProgressEvent] = []
    predictor = make_predictor(network, sliding=True, mirror=True)
    predictor(volume, Progress(events.append))
    fractions = [event.fraction for event in events]
    assert len(fractions) == 8 * predictor.windows
    assert fractions == sorted(fractions) and len(set(fractions)) == len(fractions)
    assert fractions[0] == 0 and 0.9 < fractions[-1] < 1
    assert events[1].message == "window 2 of 48"


# Mirrors


@pytest.mark.parametrize("sliding", [False, True])
def test_mirror_images_are_averaged(network: nn.Module, volume: Tensor, sliding: bool) -> None:
    found = make_predictor(network, sliding=sliding, mirror=True)(volume)
    single = make_predictor(network, sliding=sliding)
    images = [axes for n in range(4) for axes in combinations((1, 2, 3), n)]
    assert len(images) == 8
    expected = torch.stack([single(volume.flip(axes)).flip(axes) for axes in images]).mean(dim=0)
    torch.testing.assert_close(found, expected)
    assert (found - single(volume)).abs().max() > 0.01


# Memory


class Greedy(nn.Module):
    """Runs out of memory on the first passes, then answers what it was given."""

    def __init__(self, error: Exception, failures: int) -> None:
        super().__init__()
        self.error = error
        self.failures = failures
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(x[0, 0].numel())
        if len(self.sizes) <= self.failures:
            raise self.error
        return x[:, [0, 1, 0]]


OUT_OF_MEMORY = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB)"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: str(error)[:12])
def test_out_of_memory_in_a_single_pass(volume: Tensor, error: Exception) -> None:
    network = Greedy(error, failures=1)
    predictor = make_predictor(network, sliding=False)
    found = predictor(volume)
    torch.testing.assert_close(found, volume[[0, 1, 0]].sigmoid())
    assert predictor.notes == ["out of memory in a single pass, used a sliding window"]
    assert predictor.windows == 48
    assert network.sizes == [17 * 13 * 20] + 48 * [8 * 6 * 10]


@pytest.mark.parametrize("sliding", [None, False, True])
@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: str(error)[:12])
def test_out_of_memory_in_a_window(volume: Tensor, error: Exception, sliding: bool | None) -> None:
    network = Greedy(error, failures=100)
    with pytest.raises(ResourceError, match="out of memory; close other programs") as caught:
        make_predictor(network, sliding=sliding)(volume)
    assert caught.value.exit_code == 3
    assert len(network.sizes) == (1 if sliding else 2)


def test_notes_are_of_the_last_call(volume: Tensor) -> None:
    predictor = make_predictor(Greedy(MemoryError(), failures=1), sliding=False)
    predictor(volume)
    predictor(volume)
    assert predictor.notes == [] and predictor.windows == 1


def test_other_errors_are_not_hidden(volume: Tensor) -> None:
    error = RuntimeError("Given groups=1, expected input to have 4 channels")
    with pytest.raises(RuntimeError, match="expected input to have 4 channels"):
        make_predictor(Greedy(error, failures=100))(volume)
    with pytest.raises(NotImplementedError):
        make_predictor(Greedy(NotImplementedError("no such operator"), failures=100))(volume)


def on_mps(network: nn.Module, errors: list[Exception]) -> Predictor:
    """A predictor that believes to compute on MPS, where every pass ends in the next error."""
    predictor = make_predictor(network, sliding=False)
    predictor.device = torch.device("mps")
    forward = predictor._forward

    def fail_on_mps(volume: Tensor) -> Tensor:
        if predictor.device.type == "mps":
            raise errors.pop(0)
        return forward(volume)

    predictor._forward = fail_on_mps  # type: ignore[method-assign]
    return predictor


def test_an_operator_that_mps_lacks(network: nn.Module, volume: Tensor) -> None:
    lacks = NotImplementedError("The operator 'aten::upsample_trilinear3d.out' is not currently")
    predictor = on_mps(network, [lacks])
    found = predictor(volume)
    assert predictor.notes == ["mps cannot compute this network, used the CPU"]
    assert predictor.device == CPU and predictor.windows == 1
    torch.testing.assert_close(found, make_predictor(network, sliding=False)(volume))


def test_a_device_without_the_memory_for_a_window(network: nn.Module, volume: Tensor) -> None:
    predictor = on_mps(network, [RuntimeError("MPS backend out of memory")] * 2)
    found = predictor(volume)
    assert predictor.notes == [
        "out of memory in a single pass, used a sliding window",
        "mps ran out of memory, used the CPU",
    ]
    assert predictor.device == CPU and predictor.windows == 48
    torch.testing.assert_close(found, make_predictor(network, sliding=True)(volume))


@pytest.mark.parametrize(
    ("free", "windows"),
    [
        (FIXED_BYTES + BYTES_PER_VOXEL * 17 * 13 * 20 + 1, 1),
        (FIXED_BYTES + BYTES_PER_VOXEL * 17 * 13 * 20 - 1, 48),
        (0, 48),
        (None, 1),
    ],
)
def test_free_memory_decides(
    pointwise: nn.Module,
    volume: Tensor,
    monkeypatch: pytest.MonkeyPatch,
    free: int | None,
    windows: int,
) -> None:
    monkeypatch.setattr(predictor_module, "free_memory_bytes", lambda device: free)
    predictor = make_predictor(pointwise)
    found = predictor(volume)
    assert predictor.windows == windows
    note = ["too little memory for a single pass, used a sliding window"]
    assert predictor.notes == (note if windows > 1 else [])
    torch.testing.assert_close(found, make_predictor(pointwise, sliding=False)(volume))


def test_who_asks_for_a_single_pass_gets_it(
    pointwise: nn.Module, volume: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor_module, "free_memory_bytes", lambda device: 0)
    predictor = make_predictor(pointwise, sliding=False)
    predictor(volume)
    assert predictor.windows == 1 and predictor.notes == []


def test_free_memory() -> None:
    free = free_memory_bytes(CPU)
    assert free is None or 2**20 < free < 2**46
    assert free_memory_bytes(torch.device("mps")) is None


def test_an_answer_that_is_no_number(volume: Tensor) -> None:
    network = nn.Conv3d(2, 3, 1)
    nn.init.constant_(network.bias, float("nan"))
    for sliding in (False, True):
        with pytest.raises(MISSUError, match="the network's output is not a number"):
            make_predictor(network, sliding=sliding)(volume)


def test_the_network_is_put_to_evaluation(volume: Tensor) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(2, 3, 1), nn.BatchNorm3d(3)).train()
    make_predictor(network, sliding=True)(volume)
    assert not network.training
    assert network[1].num_batches_tracked == 0


# Devices


def test_the_cpu_is_always_there() -> None:
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize("name", ["gpu", "", "cpu:x", "quantum", "CPU"])
def test_an_unknown_device(name: str) -> None:
    with pytest.raises(InputError) as caught:
        choose_device(name)
    assert str(caught.value) == (f"device {name!r} is unknown; choose one of auto, cuda, mps, cpu")


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there(name: str) -> None:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if there[name]:
        assert choose_device(name).type == name
        return
    with pytest.raises(InputError, match=f"device '{name}' is not available on this machine"):
        choose_device(name)


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu"), (True, False, "cuda")],
)
def test_the_fastest_device(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, chosen: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends, "mps", SimpleNamespace(is_available=lambda: mps))
    assert choose_device("auto").type == chosen
