"""Fine-tuning is a training: its tests share the fixtures of training's."""

from Testing.Core.training.conftest import (  # noqa: F401
    brats_folder,
    make_trainer,
    memory_cases,
    tiny_config,
)
