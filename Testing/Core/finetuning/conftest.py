"""Fixtures for the tests of fine-tuning: those of the tests of training."""

from Testing.Core.training.conftest import (  # noqa: F401
    brats_folder,
    make_trainer,
    memory_cases,
    tiny_config,
)
