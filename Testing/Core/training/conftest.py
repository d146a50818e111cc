"""Fixtures for the tests of training: tiny cases, and settings to train on them in seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from MISSUCore.contract.network_config import NetworkConfig
from MISSUCore.training.config import TrainingConfig
from MISSUCore.training.patches.settings import AugmentationConfig
from MISSUCore.training.trainer import Trainer

MODALITIES = ("t1", "t1ce", "t2", "flair")
TINY_NETWORK = NetworkConfig(
    channels=(4, 8),
    convolutions=(1, 1),
    layers=1,
    embedding=16,
    heads=2,
    feed_forward=16,
    position_grid=4,
    skips=1,
    normalization="instance",
)
NO_AUGMENTATION = AugmentationConfig(flip_probability=0, intensity_shift=0, intensity_scale=0)
TINY = TrainingConfig(
    network=TINY_NETWORK,
    augmentation=NO_AUGMENTATION,
    patch_size=(16, 16, 16),
    batch_size=1,
    epochs=2,
    learning_rate=1e-2,
    validate_every=1,
    mixed_precision=False,
)


def tumor_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scans (modalities, 16, 16, 16) and labels of a tumor whose position depends on the seed."""
    generator = np.random.default_rng(seed)
    center = generator.uniform(6, 10, size=3)
    distance = np.linalg.norm(np.indices((16, 16, 16)).T - center, axis=-1).T
    labels = np.select([distance < 2, distance < 3.5, distance < 5], [4, 1, 2], 0)
    contrast = {0: (5, 5, 5, 5), 2: (4, 4, 8, 9), 1: (2, 3, 9, 7), 4: (4, 9, 7, 7)}
    scans = np.zeros((4, 16, 16, 16), dtype=np.float32)
    for value, brightness in contrast.items():
        scans[:, labels == value] = np.array(brightness)[:, None]
    scans += generator.normal(0, 0.3, scans.shape)
    return scans, labels.astype(np.uint8)


class MemoryCases:
    """Replaces PreparedCases by cases in memory; ``on_access`` is called at every access.

    ``groups`` lists the group of each case.
    """

    def __init__(self, seeds, on_access=lambda count: None, groups=None):
        groups = groups or [""] * len(seeds)
        self.cases = [
            SimpleNamespace(name=f"case{seed}", group=group) for seed, group in zip(seeds, groups)
        ]
        self.items = []
        for seed in seeds:
            scans, labels = tumor_case(seed)
            scans = (scans - scans.mean((1, 2, 3), keepdims=True)) / scans.std(
                (1, 2, 3), keepdims=True
            )
            classes = np.where(labels == 4, 3, labels).astype(np.uint8)
            self.items.append((torch.from_numpy(scans), torch.from_numpy(classes)))
        self.on_access = on_access
        self.count = 0

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        self.count += 1
        return self.on_access(self.count) or self.items[index]


@pytest.fixture
def memory_cases():
    """The class MemoryCases."""
    return MemoryCases


@pytest.fixture
def tiny_config():
    """Function that makes the settings of a tiny run; single settings can be changed."""

    def make(network=None, **changes) -> TrainingConfig:
        return replace(TINY, network=replace(TINY_NETWORK, **(network or {})), **changes)

    return make


@pytest.fixture
def make_trainer(tmp_path, tiny_config):
    """Function that makes a trainer on tiny cases in memory; it resumes the run in its folder."""

    def make(config=None, training=None, validation=None, folder="run", **settings) -> Trainer:
        trainer = Trainer(
            config or tiny_config(),
            MemoryCases(range(3)) if training is None else training,
            MemoryCases([]) if validation is None else validation,
            tmp_path / folder,
            torch.device("cpu"),
            **settings,
        )
        trainer.resume()
        return trainer

    return make


@pytest.fixture
def brats_folder(tmp_path) -> Path:
    """A BraTS folder of four tiny cases; the scans fill less than their images, as brains do."""
    folder = tmp_path / "brats"
    for number in range(4):
        place = folder / f"BraTS2021_0000{number}"
        place.mkdir(parents=True)
        scans, labels = tumor_case(number)
        for suffix, voxels in (*zip(MODALITIES, scans), ("seg", labels)):
            image = sitk.GetImageFromArray(np.pad(voxels, ((1, 2), (0, 1), (2, 0))))
            sitk.WriteImage(image, str(place / f"{place.name}_{suffix}.nii.gz"))
    return folder
