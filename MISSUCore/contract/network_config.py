"""What a MISSU network looks like; the network itself is in MISSUCore.network."""

from __future__ import annotations

from dataclasses import dataclass

# More is a damaged file, which must not fill the memory: the paper's network has 10.5 M.
MAXIMUM_PARAMETERS = 500_000_000
MAXIMUM = {
    "modalities": 64,
    "outputs": 256,
    "channels": 2048,
    "convolutions": 64,
    "layers": 256,
    "embedding": 8192,
    "heads": 256,
    "feed_forward": 32768,
    "position_grid": 64,
}


@dataclass(frozen=True)
class NetworkConfig:
    """What a MISSU network looks like. The defaults are the paper's, as far as it is known.

    The paper leaves the convolutions per stage and the feed-forward width open; these meet its
    10.50 M parameters and 132.11 G multiply-adds within 1 %.

    Args:
        modalities: input channels (BraTS: 4, CHAOS: 2).
        outputs: output channels.
        channels: encoder channels, shallow to deep; every stage after the first halves the size.
        convolutions: 3x3x3 convolutions of each stage, the one into the stage included.
        transformer: whether the Transformer stands between encoder and decoder.
        layers: Transformer layers L.
        embedding: token width d.
        heads: attention heads.
        feed_forward: hidden width of the feed-forward network.
        position_grid: side of the stored position embedding.
        skips: number of skip connections, 0 to 3; the deepest are dropped last.
        fusion: multi-scale fusion: ``"none"``; ``"local"``, which teaches the encoder and is
            absent at inference; or ``"output"``, whose outputs are the skip connections, in
            training and at inference.
        normalization: ``"batch"`` or ``"instance"``.

    Raises:
        ValueError: if the values contradict each other.

    Examples:
        >>> from MISSUCore import NetworkConfig
        >>> NetworkConfig(channels=(8, 16), convolutions=(1, 2), skips=1).stride
        2
    """

    modalities: int = 4
    outputs: int = 4
    channels: tuple[int, ...] = (16, 32, 64, 128)
    convolutions: tuple[int, ...] = (1, 2, 3, 3)
    transformer: bool = True
    layers: int = 4
    embedding: int = 512
    heads: int = 8
    feed_forward: int = 512
    position_grid: int = 16
    skips: int = 3
    fusion: str = "local"
    normalization: str = "batch"

    def __post_init__(self) -> None:
        if self.modalities < 1 or self.outputs < 1:
            raise ValueError("a network needs at least one modality and one output")
        if len(self.channels) < 2 or len(self.channels) != len(self.convolutions):
            raise ValueError("channels and convolutions must name the same two or more stages")
        if min(self.channels) < 1 or min(self.convolutions) < 1:
            raise ValueError("every stage needs at least one channel and one convolution")
        sizes = (self.layers, self.embedding, self.heads, self.feed_forward, self.position_grid)
        if self.transformer and min(sizes) < 1:
            raise ValueError("every size of the Transformer must be at least 1")
        if self.transformer and self.embedding % self.heads:
            raise ValueError(f"{self.heads} heads do not divide an embedding of {self.embedding}")
        if not 0 <= self.skips < len(self.channels):
            raise ValueError(f"skips must be 0 to {len(self.channels) - 1}, not {self.skips}")
        if self.fusion not in ("none", "local", "output"):
            raise ValueError(f"fusion must be 'none', 'local' or 'output', not {self.fusion!r}")
        if self.fusion == "output" and self.skips == 0:
            raise ValueError("fusion 'output' stands in the skip connections, and there are none")
        if self.normalization not in ("batch", "instance"):
            raise ValueError(
                f"normalization must be 'batch' or 'instance', not {self.normalization!r}"
            )
        self._check_size()

    def _check_size(self) -> None:
        """Before anything is allocated: sizes may come from a file."""
        for name, most in MAXIMUM.items():
            value = getattr(self, name)
            if max(value if isinstance(value, tuple) else (value,)) > most:
                raise ValueError(f"{name} must be at most {most}, not {value}")
        widths = (self.modalities, *self.channels)
        stages = zip(widths, self.channels, self.convolutions)
        parameters = sum(27 * b * (a + (count - 1) * b) for a, b, count in stages)
        if self.transformer:
            layer = 4 * self.embedding**2 + 2 * self.embedding * self.feed_forward
            parameters += self.layers * layer + self.embedding * self.position_grid**3
        if parameters > MAXIMUM_PARAMETERS or len(self.channels) > 8:
            raise ValueError(
                f"a network of {parameters / 1e6:.0f} million parameters in {len(self.channels)} "
                "stages is too large to be meant"
            )

    @property
    def stride(self) -> int:
        """Voxels of the input that one token stands for, along each axis."""
        return 2 ** (len(self.channels) - 1)
