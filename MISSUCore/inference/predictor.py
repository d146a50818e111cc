"""Prediction of probabilities for a volume, in one forward pass or with a sliding window."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import combinations, product

import torch
from torch import Tensor, nn

from ..core.errors import InputError, MISSUError, ResourceError, says_out_of_memory
from ..core.events import Progress, Stage
from ..core.memory import free_main_memory_bytes, limited_bytes
from ..network.kernels import InstanceNorm

DEVICES = ("auto", "cuda", "mps", "cpu")
# Measured: one pass over 3.5 million voxels in float32 on CPU takes 3.0 GiB at its peak.
BYTES_PER_VOXEL = 1000
FIXED_BYTES = 512 * 2**20


def choose_device(name: str) -> torch.device:
    """The device of this name; ``"auto"`` is the fastest one available.

    Raises:
        InputError: if the name is unknown or the machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    known = re.fullmatch(rf"({'|'.join(DEVICES[1:])})(:\d+)?", name)
    try:
        # PyTorch also knows devices such as "meta", which compute nothing.
        device = torch.device(name if known else "unknown")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = "is not available on this machine" if known else "is unknown"
        raise InputError(f"device {name!r} {reason}; choose one of {', '.join(DEVICES)}") from error
    return device


def fastest_layout(network: nn.Module, device: torch.device) -> torch.memory_format:
    """Memory format for volumes: channels last, unless that slows normalization down."""
    slow = device.type == "cpu" and any(
        isinstance(module, nn.InstanceNorm3d) and not isinstance(module, InstanceNorm)
        for module in network.modules()
    )
    return torch.contiguous_format if slow else torch.channels_last_3d


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16.

    On a processor that emulates it, a training step takes minutes instead of seconds.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "cpu":
        # Older versions of PyTorch do not report this.
        known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return any(known.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return True


def region_logits(logits: Tensor, membership: Tensor, targets: str) -> Tensor:
    """Log-odds (B, regions, D, H, W) of the regions, from logits (B, outputs, D, H, W).

    Args:
        logits: of the network.
        membership: (regions, classes) boolean: which class belongs to which region.
        targets: ``"labels"`` (softmax over classes) or ``"regions"`` (a sigmoid for each).
    """
    if targets == "regions":
        return logits
    odds = [
        logits[:, inside].logsumexp(dim=1) - logits[:, ~inside].logsumexp(dim=1)
        for inside in membership
    ]
    return torch.stack(odds, dim=1)


class Predictor:
    """Applies a network to whole volumes within the available memory.

    Args:
        network: from (1, modalities, D, H, W) to logits (1, outputs, D, H, W).
        membership: (regions, classes) boolean.
        targets: ``"labels"`` or ``"regions"``.
        device: where to compute: in float16 on a CUDA GPU, in bfloat16 on a processor that has it.
        window: size of the sliding window (depth, height, width).
        sliding: True for a sliding window, False for a single pass; None decides by free memory.
        mirror: average over the mirror images along all axes (eight times the work).
        temperatures: divisors of the log-odds of each region, which calibrate the probabilities
            (Guo et al. 2017); empty for no calibration.

    After a call, ``notes`` holds remarks for the user, such as a change of device, and ``windows``
    the number of forward passes per orientation.
    """

    def __init__(
        self,
        network: nn.Module,
        membership: Tensor,
        targets: str,
        device: torch.device,
        window: tuple[int, int, int] = (128, 128, 128),
        sliding: bool | None = None,
        mirror: bool = False,
        temperatures: Sequence[float] = (),
    ) -> None:
        self.network = network.eval()
        self.membership = membership
        self.targets = targets
        self.window = window
        self.sliding = sliding
        self.mirror = mirror
        self.temperatures = torch.tensor(temperatures or [1.0] * len(membership))
        self.notes: list[str] = []
        self.windows = 0
        self._use(device)

    def _use(self, device: torch.device) -> None:
        self.device = device
        self.half_precision = device.type == "cuda" or (
            device.type == "cpu" and has_bfloat16(device)
        )
        self.network.to(device)
        # The type annotations of Module.to lack memory_format.
        self.layout = fastest_layout(self.network, device)
        self.network.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.membership = self.membership.to(device)

    @torch.inference_mode()
    def __call__(self, volume: Tensor, progress: Progress | None = None) -> Tensor:
        """Probabilities (regions, D, H, W) float32 on the CPU of a volume (modalities, D, H, W).

        Raises:
            ResourceError: if there is too little memory even for a sliding window.
            MISSUError: if the network's output is not finite.
        """
        progress = progress or Progress()
        self.notes = []
        sliding = self.sliding
        if sliding is None:
            sliding = not self._fits(volume)
            if sliding:
                self.notes.append("too little memory for a single pass, used a sliding window")
        self._check_limit(volume, sliding)
        while True:
            try:
                return self._predict(volume, sliding, progress)
            except (RuntimeError, MemoryError) as error:
                # MPS lacks operators in older versions of PyTorch.
                lacks = isinstance(error, NotImplementedError) and self.device.type != "cpu"
                if not lacks and not is_out_of_memory(error):
                    raise
            # Outside the except block, since only here the tensors of the failed pass are freed.
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            if lacks:
                self._use_cpu("cannot compute this network")
            elif not sliding:
                sliding = True
                self.notes.append("out of memory in a single pass, used a sliding window")
            elif self.device.type != "cpu":
                self._use_cpu("ran out of memory")
            else:
                raise ResourceError(
                    "out of memory; close other programs, or use a machine with more memory"
                )

    def _use_cpu(self, reason: str) -> None:
        self.notes.append(f"{self.device.type} {reason}, used the CPU")
        self._use(torch.device("cpu"))

    def _fits(self, volume: Tensor) -> bool:
        free = free_memory_bytes(self.device)
        needed = FIXED_BYTES + BYTES_PER_VOXEL * volume[0].numel()
        return free is None or needed < free

    def _check_limit(self, volume: Tensor, sliding: bool) -> None:
        """Check the memory limit of a container, which would kill the process without a message.

        Raises:
            ResourceError: if a forward pass does not fit into what the limit leaves.
        """
        left = limited_bytes() if self.device.type == "cpu" else None
        window = self.window if sliding else volume.shape[1:]
        voxels = math.prod(min(pair) for pair in zip(window, volume.shape[1:]))
        if left is not None and BYTES_PER_VOXEL * voxels > left:
            raise ResourceError(
                f"too little memory: the limit of this container or job leaves {left / 2**30:.1f} "
                f"GiB, and {BYTES_PER_VOXEL * voxels / 2**30:.1f} GiB are needed; raise its limit"
            )

    def _predict(self, volume: Tensor, sliding: bool, progress: Progress) -> Tensor:
        run = self._slide if sliding else self._pass
        mirrors = [
            axes for n in range(4 if self.mirror else 1) for axes in combinations((1, 2, 3), n)
        ]
        total = torch.zeros((len(self.membership), *volume.shape[1:]))
        for index, axes in enumerate(mirrors):
            part = progress.part(index / len(mirrors), (index + 1) / len(mirrors))
            total += run(volume.flip(axes), part).flip(axes)
        return total / len(mirrors)

    def _forward(self, volume: Tensor) -> Tensor:
        """Probabilities (regions, D, H, W), on the CPU, of a volume that fits into memory."""
        x = volume[None].to(self.device, memory_format=self.layout)
        kind = self.device.type
        half = torch.float16 if kind == "cuda" else torch.bfloat16
        with torch.autocast(kind, half, enabled=self.half_precision):
            logits = self.network(x)
        if self.half_precision and not logits.isfinite().all():
            logits = self.network(x)  # they overflowed, so compute in single precision
        if not logits.isfinite().all():
            raise MISSUError("the network's output is not a number; its weights are damaged")
        odds = region_logits(logits.float(), self.membership, self.targets)[0].cpu()
        return (odds / self.temperatures[:, None, None, None]).sigmoid()

    def _pass(self, volume: Tensor, progress: Progress) -> Tensor:
        self.windows = 1
        progress(Stage.SEGMENT, 0.0)
        return self._forward(volume)

    def _slide(self, volume: Tensor, progress: Progress) -> Tensor:
        """Mean of half-overlapping windows, Gaussian-weighted as centers are most reliable."""
        size = volume.shape[1:]
        window = [min(wanted, length) for wanted, length in zip(self.window, size)]
        weight = _gaussian(window)
        starts = list(product(*(_starts(length, step) for length, step in zip(size, window))))
        self.windows = len(starts)
        total = torch.zeros((len(self.membership), *size))
        weights = torch.zeros(size)
        for index, start in enumerate(starts):
            progress(Stage.SEGMENT, index / len(starts), f"window {index + 1} of {len(starts)}")
            place = tuple(slice(first, first + step) for first, step in zip(start, window))
            channels_there = (slice(None), *place)
            total[channels_there] += self._forward(volume[channels_there]) * weight
            weights[place] += weight
        return total / weights


def _starts(length: int, window: int) -> list[int]:
    """Start indices of windows that overlap by at least half; the last one ends at the end."""
    gaps = max(0, -(-2 * (length - window) // window))
    return [round(gap * (length - window) / gaps) for gap in range(gaps + 1)] if gaps else [0]


def _gaussian(size: list[int]) -> Tensor:
    """Gaussian weights (D, H, W), with a standard deviation of an eighth of the size."""
    weight = torch.ones(())
    for length in size:
        offset = (torch.arange(length) - (length - 1) / 2) / (length / 8)
        weight = weight[..., None] * torch.exp(-0.5 * offset**2)
    return weight.clamp(min=1e-4)  # never 0, since weights are divided by


def free_memory_bytes(device: torch.device) -> int | None:
    """Free memory of a device in bytes; None if the system does not report it."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_main_memory_bytes() if device.type == "cpu" else None


def is_out_of_memory(error: Exception) -> bool:
    """Whether a PyTorch error, on any device, means out of memory."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or says_out_of_memory(error)
