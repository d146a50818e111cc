"""Labeled cases, preprocessed once and cached on disk, as a resumable stream of batches."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from .. import __version__
from ..contract.labels import LabelScheme
from ..core.errors import InputError
from ..core.events import Progress, Stage
from ..core.files import atomic_write
from ..io.reading import read_image
from ..preprocessing.working_grid import prepare, prepare_labels
from .cases.labeled import LabeledCase
from .cases.labels import read_labels
from .config import TrainingConfig
from .distributed import rank_in_group
from .patches.augmentation import random_patch


class PreparedCases(Dataset[tuple[Tensor, Tensor]]):
    """Cases on the working grid: volume (modalities, D, H, W) float32, classes (D, H, W) uint8.

    Each case is prepared on first use and cached in a folder, in half precision. It is prepared
    again if its files or the settings change. Processes may share the folder.

    Args:
        cases: to prepare.
        modalities: the network's modalities, in its order.
        scheme: what the label values mean.
        spacing_mm: working spacing (depth, height, width).
        folder: of the cache.
    """

    ending = ".npz"  # of the files

    def __init__(
        self,
        cases: Sequence[LabeledCase],
        modalities: Sequence[str],
        scheme: LabelScheme,
        spacing_mm: tuple[float, float, float],
        folder: Path,
    ) -> None:
        self.cases = list(cases)
        self.modalities = list(modalities)
        self.scheme = scheme
        self.spacing_mm = spacing_mm
        self.folder = folder

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        case = self.cases[index]
        path = self._prepared(case)
        try:
            return _read(path)
        except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile):
            # Damage that shows only when the whole file is read.
            self._prepare(case, path)
            return _read(path)

    def prepare_all(self, progress: Progress, rank: int = 0, ranks: int = 1) -> None:
        """Prepare all missing cases, so that a bad case is found before training starts.

        Args:
            progress: reports every case.
            rank: of this process; each rank begins with another case, so that they share the work.
            ranks: number of processes that prepare the same cases.

        Raises:
            InputError: naming the case that cannot be used.
        """
        first = rank * len(self.cases) // ranks
        for index, case in enumerate(self.cases[first:] + self.cases[:first]):
            progress(Stage.PREPARE, index / len(self.cases), case.name)
            self._prepared(case)

    def _prepared(self, case: LabeledCase) -> Path:
        missing = [name for name in self.modalities if name not in case.images]
        if missing:
            raise InputError(f"case {case.name}: has no {', '.join(missing)}")
        name = re.sub(r"[^\w.-]", "_", case.name)  # a name may contain path separators
        path = self.folder / f"{name}-{self._fingerprint(case)}{self.ending}"
        if not self._is_whole(path):
            self._prepare(case, path)
        return path

    def _prepare(self, case: LabeledCase, path: Path) -> None:
        try:
            images = {name: read_image(case.images[name]) for name in self.modalities}
            write = self._content(images, read_labels(case, self.scheme))
        except InputError as error:
            raise InputError(f"case {case.name}: {error}") from error
        with atomic_write(path) as temporary:
            write(temporary)

    def _content(
        self, images: Mapping[str, sitk.Image], labels: sitk.Image
    ) -> Callable[[Path], None]:
        """A function that writes the prepared case to a file."""
        prepared = prepare(images, self.modalities, self.spacing_mm)
        volume = prepared.volume.astype(np.float16)
        classes = prepare_labels(labels, self.scheme, prepared.grid)
        return lambda path: np.savez(path, volume=volume, classes=classes)

    def _is_whole(self, path: Path) -> bool:
        """Whether a prepared case seems complete; does not read all of it."""
        # After a power failure a file is empty or lacks its end, where the names are stored.
        try:
            with zipfile.ZipFile(path) as arrays:
                return {"volume.npy", "classes.npy"} <= set(arrays.namelist())
        except (OSError, ValueError, zipfile.BadZipFile):
            return False

    def _facts(self) -> list[object]:
        """The settings that all prepared cases depend on."""
        return [__version__, self.scheme.as_dict(), self.spacing_mm]

    def _fingerprint(self, case: LabeledCase) -> str:
        facts = self._facts()
        for path in (*(case.images[name] for name in self.modalities), case.labels):
            try:
                files = sorted(path.iterdir()) if path.is_dir() else [path]
                facts += [[str(file.resolve()), file.stat().st_mtime_ns] for file in files]
            except OSError as error:
                reason = error.strerror or error
                raise InputError(f"case {case.name}: {path}: cannot be read: {reason}") from error
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def _read(path: Path) -> tuple[Tensor, Tensor]:
    with np.load(path) as arrays:
        volume = torch.from_numpy(arrays["volume"].astype(np.float32))
        return volume, torch.from_numpy(arrays["classes"])


SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
CASES_PER_WORKER = 3  # two prefetched, and one being loaded


class Samples(Protocol):
    """A sequence of pairs of tensors."""

    def __len__(self) -> int:
        """Number of pairs."""

    def __getitem__(self, index: int, /) -> tuple[Tensor, Tensor]:
        """One pair."""


def workers_that_fit(wanted: int, cases: Samples) -> int:
    """Number of loader processes that fit into shared memory, which they pass cases through.

    Containers have little of it (Docker 64 MB); beyond that, loading hangs or is killed.

    Args:
        wanted: number that the user asked for.
        cases: to load; all are assumed to be as large as the first.
    """
    if not (wanted and len(cases) and SHARED_MEMORY.is_dir()):
        return wanted
    size = sum(tensor.numel() * tensor.element_size() for tensor in cases[0])
    return min(wanted, shutil.disk_usage(SHARED_MEMORY).free // (CASES_PER_WORKER * size))


def usable_workers(wanted: int, samples: Samples, tell: Callable[[str], None]) -> int:
    """:func:`workers_that_fit`, telling the user if that is fewer than wanted."""
    workers = workers_that_fit(wanted, samples)
    if workers < wanted:
        tell(
            f"{SHARED_MEMORY} is too small for {wanted} workers, so {workers} are used; give the "
            "container more (docker run --shm-size=8g)"
        )
    return workers


class ResumableSampler(Sampler[int]):
    """Case indices in a new order every epoch, determined by seed and position alone.

    Args:
        length: number of cases.
        seed: of the random orders.
        start: first sample, counted over all epochs and ranks.
        stop: one beyond the last sample.
        rank: of this process; sample n goes to rank n modulo ``ranks``.
        ranks: number of processes.
    """

    def __init__(
        self, length: int, seed: int, start: int, stop: int, rank: int = 0, ranks: int = 1
    ) -> None:
        self.length = length
        self.seed = seed
        self.positions = range(start + rank, stop, ranks)

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[int]:
        for position in self.positions:
            epoch, place = divmod(position, self.length)
            generator = torch.Generator().manual_seed(self.seed + epoch)
            yield int(torch.randperm(self.length, generator=generator)[place])


class PatchBatches:
    """Batches of random patches on the device, determined by seed and position alone.

    Each batch is a pair: patches (B, modalities, D, H, W) and classes (B, D, H, W). Each process
    of a group gets different batches.

    Args:
        cases: to cut patches from.
        config: settings of the training.
        steps: optimizer steps to make batches for.
        device: where patches are cut.
        layout: memory format of the patches.
        workers: number of loader processes.
    """

    def __init__(
        self,
        cases: PreparedCases,
        config: TrainingConfig,
        steps: range,
        device: torch.device,
        layout: torch.memory_format = torch.contiguous_format,
        workers: int = 0,
    ) -> None:
        self.cases = cases
        self.config = config
        self.steps = steps
        self.device = device
        self.layout = layout
        self.workers = workers
        self.rank, self.ranks = rank_in_group()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        config = self.config
        loaded = iter(self._loader())
        for batch in range(
            self.steps.start * config.accumulation, self.steps.stop * config.accumulation
        ):
            places = range(batch * config.batch_size, (batch + 1) * config.batch_size)
            patches = [self._patch(next(loaded), place) for place in places]
            volumes, classes = zip(*patches)
            yield (
                torch.stack(volumes).contiguous(memory_format=self.layout),
                torch.stack(classes),
            )

    def _loader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        samples_per_step = self.config.samples_per_step(self.ranks)
        sampler = ResumableSampler(
            len(self.cases),
            self.config.seed,
            start=self.steps.start * samples_per_step,
            stop=self.steps.stop * samples_per_step,
            rank=self.rank,
            ranks=self.ranks,
        )
        # Workers load whole cases; patches are cut and batched on the device.
        return DataLoader(
            self.cases,
            batch_size=None,
            sampler=sampler,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
        )

    def _patch(self, case: tuple[Tensor, Tensor], place: int) -> tuple[Tensor, Tensor]:
        volume, classes = case
        generator = torch.Generator(self.device)
        sample = place * self.ranks + self.rank
        generator.manual_seed(self.config.seed * 1_000_003 + sample)
        return random_patch(
            volume.to(self.device, non_blocking=True),
            classes.to(self.device, non_blocking=True),
            self.config.patch_size,
            self.config.spacing_mm,
            self.config.augmentation,
            generator,
        )
