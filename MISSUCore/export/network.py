"""Export of a network that maps a preprocessed volume to log-odds of the regions.

Exported is a recording (``torch.jit.trace``) of the float32 network. So that a recording serves
volumes of any size, padding is left to the caller: each side must be a multiple of the network's
stride. ONNX is written by PyTorch's older exporter, which every version from 2.2 on has; the newer
one would need onnxscript.
"""

from __future__ import annotations

import copy
import importlib.util
import inspect
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import InputError, MISSUError
from ..models.store import Model

INPUT, OUTPUT = "volume", "log_odds"
SIDES = ("depth", "height", "width")
OPSET = 17  # of ONNX: the newest that PyTorch 2.2 writes
# Of log-odds, between the exported network and ours; rounding alone makes 0.0001.
TOLERANCE = 0.005

Run = Callable[[Tensor], Tensor]


class RegionOdds(nn.Module):
    """Log-odds (1, regions, D, H, W) of the regions, of a volume (1, modalities, D, H, W).

    Args:
        model: whose network it is; a copy is taken, in single precision on the CPU.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        network = copy.deepcopy(model.network).float().cpu().eval()
        # The annotations of Module.to do not know its memory_format.
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.network = network
        self.by_label = model.card.targets == "labels"
        self.membership = model.card.label_scheme().membership
        self.eval()  # all of it: PyTorch's exporter gives back the mode that it found

    def forward(self, volume: Tensor) -> Tensor:
        """Log-odds of the same size; sides are multiples of the stride, and two of it at least."""
        *local, deepest = self.network.encode(volume)
        skips = local if self.network.fusion is None else self.network.fusion(local)
        # The Transformer leaves channels last, for which our network has kernels of its own, in
        # Python: other programs have none.
        logits = self.network.decode(self.network.context(deepest).contiguous(), skips)
        if not self.by_label:
            return logits
        # As region_logits of the inference, with indices: an index by truth values is one whose
        # size a recording would not know.
        odds = [
            _joined(logits, inside.nonzero()[0].tolist())
            - _joined(logits, (~inside).nonzero()[0].tolist())
            for inside in self.membership
        ]
        return torch.stack(odds, dim=1)


def _joined(logits: Tensor, classes: list[int]) -> Tensor:
    """Log of the summed exponentials of some classes' logits (1, D, H, W)."""
    return torch.stack([logits[:, number] for number in classes], dim=1).logsumexp(dim=1)


def least_side(stride: int) -> int:
    """The shortest side of a volume: a single voxel in the deepest stage cannot be normalized."""
    return 2 * stride


def to_torchscript(network: RegionOdds) -> bytes:
    """The network as a TorchScript file.

    Raises:
        MISSUError: if the recording's output differs from the network's.
    """
    with torch.no_grad(), _exporters_quiet():
        traced = torch.jit.trace(network, _example(network, 0), check_trace=False)
        buffer = io.BytesIO()
        torch.jit.save(traced, buffer)
        buffer.seek(0)
        _check(network, torch.jit.load(buffer))
    return buffer.getvalue()


def to_onnx(network: RegionOdds) -> bytes:
    """The network as an ONNX file, checked with onnxruntime if that is installed.

    Raises:
        InputError: if the package onnx is not installed.
        MISSUError: if the file's output differs from the network's.
    """
    if importlib.util.find_spec("onnx") is None:
        raise InputError(
            "ONNX files are written with the package onnx, which is not installed: "
            "pip install onnx onnxruntime"
        )
    axes = dict(enumerate(SIDES, start=2))
    # Before PyTorch 2.5 there was no other exporter, and no word for it.
    known = inspect.signature(torch.onnx.export).parameters
    older: dict[str, Any] = {"dynamo": False} if "dynamo" in known else {}
    buffer = io.BytesIO()
    with torch.no_grad(), _exporters_quiet():
        torch.onnx.export(
            network,
            (_example(network, 0),),
            buffer,  # type: ignore[arg-type]  # for the newer one only
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: axes, OUTPUT: axes},
            **older,
        )
        if importlib.util.find_spec("onnxruntime") is not None:
            _check(network, onnx_runner(buffer.getvalue()))
    return buffer.getvalue()


def onnx_runner(model: bytes) -> Run:
    """A function that runs an ONNX file by onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda volume: torch.from_numpy(session.run([OUTPUT], {INPUT: volume.numpy()})[0])


def _example(network: RegionOdds, seed: int) -> Tensor:
    """A random volume whose sides differ from each other and from the position embedding's."""
    config = network.network.config
    sides = [(number + seed) * config.stride for number in (3, 4, 5)]
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, config.modalities, *sides, generator=generator)


def _check(network: RegionOdds, run: Run) -> None:
    """Compare with the network itself, on a volume of another size than the recorded one."""
    volume = _example(network, 1)
    ours, theirs = network(volume), run(volume)
    difference = (ours - theirs).abs().max().item() if ours.shape == theirs.shape else torch.inf
    if not difference <= TOLERANCE:
        raise MISSUError(
            f"the exported network differs from ours by {difference:g} in its log-odds, so nothing "
            f"was written; it is PyTorch {torch.__version__} that exports it, try another version"
        )


@contextmanager
def _exporters_quiet() -> Iterator[None]:
    """Silence the exporters' tracing warnings; the comparison finds real errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
