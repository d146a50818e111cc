"""The rows of the paper's tables: each ablation switches what it names, and all of them train."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

pytest.importorskip("monai")
pytest.importorskip("einops")

import paper
import paper_rows
from paper_rows import BRATS, MISSU, TABLES, Run
from paper_training import Task, TaughtByAnother, new_trainer, train_run

from MISSUCore.core.errors import InputError
from MISSUCore.core.events import Progress, silent
from MISSUCore.network.transunet import SelfDistillingTransUNet
from MISSUCore.training.cases.labeled import LabeledCase
from MISSUCore.training.config import TrainingConfig
from MISSUCore.training.presets import changed_config, training_config

RUNS = {row.run.key: row.run for rows in TABLES.values() for row in rows if row.run}
MODALITIES = ("t1", "t1ce", "t2", "flair")


def parts(run: Run, training: bool = True) -> set[str]:
    """What the network of a run consists of, by the names of its weights."""
    config = training_config("paper-brats", run.settings).network_for_task()
    with torch.device("meta"):
        model = SelfDistillingTransUNet(config)
    names = (model if training else model.network).state_dict()
    known = ("context.layers", "teacher.", "teacher_heads.", "fusion.", "decoder.")
    return {part for part in known for name in names if part in name}


def changed(run: Run) -> dict[str, object]:
    """Settings that differ from those of MISSU."""
    own, other = (training_config("paper-brats", r.settings).as_dict() for r in (MISSU, run))
    flat = [{**c, **{f"network.{k}": v for k, v in c["network"].items()}} for c in (own, other)]
    return {name: flat[1][name] for name in flat[0] if flat[0][name] != flat[1][name]}


@pytest.mark.parametrize(
    ("run", "transformer", "teacher", "explicit", "distilled"),
    [
        (paper_rows.BASE, False, False, False, None),
        (paper_rows.TRANSFORMER, True, False, False, None),
        (paper_rows.MSF, False, True, False, 0.0),
        (paper_rows.MSF_DISTILLED, False, True, False, 0.3),
        (paper_rows.TRANSFORMER_MSF, True, True, False, 0.0),
        (paper_rows.EXPLICIT, True, False, True, None),
        (MISSU, True, True, False, 0.3),
    ],
    ids=lambda value: value.key if isinstance(value, Run) else str(value),
)
def test_rows_of_table_4_have_the_parts_that_they_name(
    run: Run, transformer: bool, teacher: bool, explicit: bool, distilled: float | None
) -> None:
    have = parts(run)
    assert ("context.layers" in have) == transformer
    assert ("teacher." in have) == ("teacher_heads." in have) == teacher
    assert ("fusion." in have) == explicit
    # What segments never holds a teacher, and explicit fusion stays.
    left = parts(run, training=False)
    assert "teacher." not in left
    assert ("fusion." in left) == explicit
    if distilled is not None:
        weight = training_config("paper-brats", run.settings).distillation_weight
        assert weight == distilled


def test_rows_of_table_5_and_figure_5_change_one_number_only() -> None:
    found = [changed(row.run) for row in TABLES["5"] if row.run]
    assert [set(change) - {"network"} for change in found] == [
        {"network.layers"},
        {"network.layers"},
        {"network.embedding"},
        set(),
        {"network.embedding"},
    ]
    assert [
        (change.get("network.layers", 4), change.get("network.embedding", 512)) for change in found
    ] == [(1, 512), (8, 512), (4, 384), (4, 512), (4, 768)]
    skips = [changed(row.run) for row in TABLES["skips"] if row.run]
    assert [change.get("network.skips", 3) for change in skips] == [0, 1, 2, 3]
    assert all(set(change) <= {"network", "network.skips"} for change in skips)


def test_a_run_has_one_name_in_all_tables() -> None:
    rows = [row for table in TABLES.values() for row in table if row.run]
    assert all(row.run == RUNS[row.run.key] for row in rows if row.run)
    # What cannot be trained says why, and no title stands twice in a table.
    for table in TABLES.values():
        assert all(row.note for row in table if row.run is None)
        assert len({row.title for row in table}) == len(table)


@pytest.fixture(scope="module")
def small_task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """Two cases of 20 x 24 x 28 voxels with a ball for a tumor."""
    folder = tmp_path_factory.mktemp("paper")
    cases = []
    for number in range(2):
        generator = np.random.default_rng(number)
        middle = np.array((10, 12, 14))
        place = np.linalg.norm(np.indices((20, 24, 28)).transpose(1, 2, 3, 0) - middle, axis=-1)
        labels = np.select([place < 3, place < 5, place < 7], [1, 4, 2], 0)
        images = {}
        for name in MODALITIES:
            images[name] = folder / f"{number}-{name}.nii.gz"
            voxels = generator.normal(100, 5, labels.shape) + 40 * labels
            write(voxels.astype(np.float32), images[name])
        write(labels.astype(np.uint8), folder / f"{number}-seg.nii.gz")
        cases.append(LabeledCase(str(number), images, folder / f"{number}-seg.nii.gz"))
    return Task(BRATS, "small", MODALITIES, cases[:1], cases[1:], folder / "runs")


def write(voxels: np.ndarray, path: Path) -> None:
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((2.0, 2.0, 2.0))
    sitk.WriteImage(image, str(path))


SMALL = {
    "patch_size": "[32, 32, 32]",
    # The gradient of a convolution of 2 x 2 x 2 voxels in bfloat16 is sometimes infinite on a CPU.
    "mixed_precision": "false",
    "network.channels": "[4, 4, 8, 8]",
    "network.heads": "1",
    "network.embedding": "8",
    "network.feed_forward": "8",
}


class SmallTask(Task):
    """Small patches, and for MISSU a small network: what is trained is not looked at."""

    def config(self, run: Run, seed: int, steps: int) -> TrainingConfig:
        return changed_config(super().config(run, seed, steps), SMALL)


@pytest.fixture
def task(small_task: Task, tmp_path: Path) -> Task:
    return SmallTask(**{**vars(small_task), "folder": tmp_path})


@pytest.mark.slow
@pytest.mark.parametrize("key", RUNS)
def test_every_row_makes_a_step(key: str, task: Task) -> None:
    if RUNS[key].teacher:
        pytest.skip("below, with its teacher")
    trainer = new_trainer(task, RUNS[key], 1000, 1, task.folder / key)
    before = [weight.detach().clone() for weight in trainer.model.parameters()]
    trainer.run()
    moved = [not torch.equal(old, new) for old, new in zip(before, trainer.model.parameters())]
    # All of it learns, but a bias that a normalization takes away, or one that nothing reaches.
    assert sum(moved) > 0.7 * len(moved)
    assert all(torch.isfinite(weight).all() for weight in trainer.model.parameters())


@pytest.mark.slow
def test_kd_net_learns_from_a_teacher_that_stays_as_it_is_and_sees_t1ce_alone(task: Task) -> None:
    trainer = new_trainer(task, RUNS["kd-net"], 1000, 2, task.folder / "kd-net")
    # Its teacher was trained first, and is the row that it names.
    assert (task.folder / "3d-u-net" / "seed-1000" / "result.json").exists()
    model = trainer.model
    assert isinstance(model, TaughtByAnother)
    teacher = [weight.clone() for weight in model.frozen[0].parameters()]
    learned = sum(
        weight.numel() for group in trainer.optimizer.param_groups for weight in group["params"]
    )
    assert learned == sum(weight.numel() for weight in model.network.parameters())
    trainer.run()
    assert all(torch.equal(a, b) for a, b in zip(teacher, model.frozen[0].parameters()))
    x = torch.randn(1, 4, 16, 16, 16)
    other = x.clone()
    other[:, [0, 2, 3]] = 0
    network = trainer.average.eval()
    assert torch.equal(network(x), network(other))
    other[:, 1] = 0
    assert not torch.equal(network(x), network(other))


@pytest.mark.slow
def test_a_run_is_stored_told_again_and_refused_with_other_settings(task: Task) -> None:
    run = paper_rows.BASE
    result = train_run(task, run, 1000, 2, Progress(silent))
    assert result.steps == 2
    assert result.patches == 2
    assert set(result.scores) == {"1"}
    assert set(result.scores["1"]) == {"WT", "TC", "ET"}
    path = task.folder / "base" / "seed-1000" / "result.json"
    written = path.stat().st_mtime_ns
    assert train_run(task, run, 1000, 2, Progress(silent)) == result
    assert path.stat().st_mtime_ns == written
    with pytest.raises(InputError, match="other settings"):
        train_run(task, run, 1000, 3, Progress(silent))
    # Another seed is another run.
    other = train_run(task, run, 1001, 2, Progress(silent))
    assert other.given != result.given


@pytest.mark.slow
def test_hours_of_a_core_become_steps_once_and_are_remembered(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = paper.remembered_steps(task, paper_rows.BASE, 1000, 0.01)
    # 36 seconds of one core; a step of this network takes between 1 ms and 10 s.
    assert 3 <= steps <= 36_000
    monkeypatch.setattr(paper, "steps_in", lambda *_: pytest.fail("timed again"))
    assert paper.remembered_steps(task, paper_rows.BASE, 1000, 0.01) == steps
    with pytest.raises(InputError, match=r"0\.01 core hours"):
        paper.remembered_steps(task, paper_rows.BASE, 1000, 2.0)
    # Nothing of the timing is left for the run to go on with.
    assert not (task.folder / "base" / "seed-1000" / "checkpoint.pt").exists()
