"""A training run from labeled cases to a model in a run folder."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import FrameType

import torch

from ..contract.labels import label_scheme
from ..contract.model_card import ModelCard, check_card
from ..core.errors import InputError
from ..core.events import Progress, silent
from ..core.files import NAME, check_output
from ..core.run_state import RunState, run_state
from ..core.serialization import JsonObject
from ..core.torchrun import torchrun_process
from ..core.written import Written, run_folder
from ..inference.predictor import choose_device
from ..models.store import Model, load_model, save_model
from .cases.labeled import LabeledCase
from .config import TrainingConfig
from .datasets import PreparedCases
from .distributed import process_group
from .second_look.cases import SeenCases
from .second_look.crops import LesionCrops
from .second_look.trainer import SecondLookTrainer
from .trainer import Trainer

# Files that older versions wrote, which kept no record of them.
OLDER_RUN = (
    *("checkpoint.pt", ".????????-checkpoint.pt", "training.csv", "validation.csv", "curves.png"),
    *("model/*.pt", "model/*.json", "prepared/*-" + "[0-9a-f]" * 12 + ".npz"),
)


def train(
    config: TrainingConfig,
    training: Sequence[LabeledCase],
    validation: Sequence[LabeledCase],
    folder: Path,
    name: str,
    device: str = "auto",
    workers: int = 0,
    progress: Progress | None = None,
    start: Model | None = None,
    crops: Path | None = None,
) -> ModelCard | None:
    """Train a model, or resume a stopped run, and write the model to ``folder/model``.

    Under torchrun every process calls this, and the first one writes; all must see the folder.

    Args:
        config: settings; those of the run if it is resumed.
        training: cases to learn from.
        validation: cases to choose the best weights on; without any, the last weights are used.
        folder: of the run: prepared cases, checkpoint, logs, curves, model.
        name: of the model: letters, digits, dots, dashes, underscores.
        device: as :func:`choose_device` takes it.
        workers: number of loader processes.
        progress: reports every step.
        start: model whose weights the run begins with.
        crops: file of lesion crops, as :class:`.LesionCrops` takes it, for the second look.

    Returns:
        The card of the model written; None in all but the first process.

    Raises:
        InputError: if the name or a case cannot be used, or the folder holds another run.
        Stopped: if the run was asked to stop; it can be resumed.

    Examples:
        >>> from MISSUCore import train
        >>> from MISSUCore.training.cases.labeled import read_case_list
        >>> from MISSUCore.training.presets import training_config
        >>> cases = read_case_list(case_list)
        >>> config = training_config("brats-fast", {"epochs": "1", "patch_size": "[16, 16, 16]"})
        >>> train(config, cases[:2], cases[2:], folder / "run", "first").name
        'first'
    """
    if not re.fullmatch(NAME, name):
        raise InputError(f"model name {name!r}: use letters, digits, dots, dashes, underscores")
    if crops and not config.first_look.model:
        raise InputError("lesion crops are for a training with first_look, as of brats-precise")
    process, _, _ = torchrun_process()
    with run_folder(folder, _is_run, OLDER_RUN, process) as written:
        if process == 0:
            _check_places(written, name)
        with process_group(choose_device(device)) as own_device:
            trainer = _new_trainer(config, training, validation, folder, own_device, start, crops)
            check_card(_card(trainer, name))  # now, since an error at the end would lose the model
            trainer.workers = workers
            state = run_state(folder, _given(trainer)) if process == 0 else RunState()
            trainer.resume()
            _prepare_and_train(trainer, state, progress or Progress())
        return _save(trainer, name) if process == 0 else None


def _new_trainer(
    config: TrainingConfig,
    training: Sequence[LabeledCase],
    validation: Sequence[LabeledCase],
    folder: Path,
    device: torch.device,
    start: Model | None,
    crops: Path | None,
) -> Trainer:
    """A trainer at its first step, of the kind that the settings ask for."""
    scheme, prepared = label_scheme(config.scheme), folder / "prepared"
    shape = (config.modalities, scheme, config.spacing_mm, prepared)
    first_look = config.first_look
    if not first_look.model:
        learned, held_out = (PreparedCases(cases, *shape) for cases in (training, validation))
        return Trainer(config, learned, held_out, folder, device, start=start)
    finder = load_model(first_look.model)
    seen, kept_apart = (
        SeenCases(cases, *shape, finder, first_look, device) for cases in (training, validation)
    )
    lesions = crops and LesionCrops(
        crops, config.modalities, scheme, config.sampling.crop_spacing_mm, config.spacing_mm
    )
    return SecondLookTrainer(
        config, seen, kept_apart, folder, device, start=start, crops=lesions or None
    )


def _check_places(written: Written, name: str) -> None:
    """Check before training that results can be written, and would not replace other files."""
    for path in ("curves.png", f"model/{name}.pt", f"model/{name}.json"):
        written.check(written.folder / path)
        check_output(written.folder / path, overwrite=True)


def _prepare_and_train(trainer: Trainer, state: RunState, progress: Progress) -> None:
    """Bring all cases to the working grid, and train from the current step to the end.

    Args:
        trainer: already resumed, if there was a checkpoint.
        state: of the run; the first process writes it once all cases are known to be usable.
        progress: used by the first process only.
    """
    if trainer.rank > 0:
        progress = Progress(silent)
    prepared = ((trainer.training, (0.0, 0.02)), (trainer.validation, (0.02, 0.03)))
    for cases, (start, end) in prepared:
        cases.prepare_all(progress.part(start, end), trainer.rank, trainer.ranks)
    if trainer.rank == 0:  # from now on the folder belongs to this run
        state.begin(trainer.folder, {})
    trainer.report_to(progress.part(0.03, 1.0))
    with stopped_by_signals(trainer):
        trainer.run()


def _given(trainer: Trainer) -> JsonObject:
    """Everything that identifies a run, in plain JSON types."""
    setup = {key: value for key, value in trainer.setup().items() if key != "number of processes"}
    return dict(json.loads(json.dumps({**trainer.config.as_dict(), **setup})))


def _is_run(folder: Path) -> bool:
    """Whether the folder holds a run of an older version."""
    try:
        saved = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
        return {"config", "setup", "step"} <= saved.keys()
    except Exception:  # an arbitrary file can raise any error
        return False


def _save(trainer: Trainer, name: str) -> ModelCard:
    """Write the model: the best weights, or the last if there was no validation."""
    weights = trainer.best or trainer.average.state_dict()
    return save_model(trainer.folder / "model", _card(trainer, name), weights)


def _card(trainer: Trainer, name: str) -> ModelCard:
    config = trainer.config
    scheme = label_scheme(config.scheme)
    return ModelCard(
        name=name,
        task=f"Segments {', '.join(region.title.lower() for region in scheme.regions)}",
        modalities=config.modalities,
        may_miss=1 if config.augmentation.modality_dropout else 0,
        scheme=scheme.as_dict(),
        targets=config.targets,
        spacing_mm=config.spacing_mm,
        network=trainer.average.config,
        first_look=config.first_look,
        training_data=f"{len(trainer.training)} cases",
        metrics=_metrics(trainer),
        date=date.today().isoformat(),
    )


def _metrics(trainer: Trainer) -> dict[str, object]:
    if not trainer.best:
        return {}
    return {
        "validation": "mean Dice over whole volumes at the working spacing, best of the run, "
        "without clean-up"
        if trainer.config.first_look.model
        else "mean Dice over whole volumes at the working spacing, best of the run",
        "cases": [case.name for case in trainer.validation.cases],
        "mean_dice": round(trainer.best_score, 4),
    }


@contextmanager
def stopped_by_signals(trainer: Trainer) -> Iterator[None]:
    """On Ctrl-C or SIGTERM, save and stop after the current step; on a second one, at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if trainer.stop_requested:
            raise KeyboardInterrupt
        trainer.stop()

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)
