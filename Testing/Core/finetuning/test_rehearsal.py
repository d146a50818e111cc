"""Cases against forgetting: simulated ones with the base's answer, published ones, none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.contract.labels import CHAOS_LIVER
from MISSUCore.core.errors import InputError
from MISSUCore.core.events import Progress
from MISSUCore.finetuning import rehearsal
from MISSUCore.finetuning.rehearsal import balanced, rehearsal_cases
from MISSUCore.inference.segmentation import segment_case
from MISSUCore.models.store import Model, load_model
from MISSUCore.training.cases.labeled import LabeledCase

pytestmark = pytest.mark.slow


@pytest.fixture
def base(bright_model) -> Model:
    return load_model(str(bright_model(spacing_mm=(6.0, 6.0, 6.0))))


def read(case: LabeledCase) -> tuple[dict[str, sitk.Image], np.ndarray]:
    images = {name: sitk.ReadImage(str(path)) for name, path in case.images.items()}
    return images, sitk.GetArrayFromImage(sitk.ReadImage(str(case.labels)))


def test_simulated_cases_have_the_answer_or_the_truth(
    base: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nilearn", reason="simulated cases need nilearn")
    monkeypatch.setattr(rehearsal, "REHEARSED", 1)
    monkeypatch.setattr(rehearsal, "CHECKED", 1)
    rehearsed, checked = rehearsal_cases("auto", base, tmp_path, Progress())
    assert [case.name for case in (*rehearsed, *checked)] == ["simulated4000", "simulated3000"]
    images, labels = read(rehearsed[0])
    answer = sitk.GetArrayFromImage(segment_case(images, base).labels)
    np.testing.assert_array_equal(labels, answer)
    images, truth = read(checked[0])
    answer = sitk.GetArrayFromImage(segment_case(images, base).labels)
    assert set(np.unique(truth)) == {0, 1, 2, 4} and (truth != answer).any()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.gz")}
    assert rehearsal_cases("simulated", base, tmp_path, Progress()) == (rehearsed, checked)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.gz")} == before


def test_none_and_what_cannot_be(base: Model, tmp_path: Path) -> None:
    assert rehearsal_cases("none", base, tmp_path, Progress()) == ([], [])
    other = replace(base, card=replace(base.card, scheme=CHAOS_LIVER.as_dict()))
    assert rehearsal_cases("auto", other, tmp_path, Progress()) == ([], [])
    with pytest.raises(InputError, match="is not for BraTS cases"):
        rehearsal_cases("simulated", other, tmp_path, Progress())
    with pytest.raises(InputError, match="holds no BraTS case"):
        rehearsal_cases(str(tmp_path), base, tmp_path / "run", Progress())


def test_own_cases_and_others_weigh_the_same() -> None:
    own = [LabeledCase(f"own{n}", {}, Path()) for n in range(2)]
    others = [LabeledCase(f"other{n}", {}, Path()) for n in range(5)]
    names = [case.name for case in balanced(own, others)]
    assert sorted(names[:5]) == ["own0", "own0", "own0", "own1", "own1"]
    assert names[5:] == [f"other{n}" for n in range(5)]
    assert len(balanced(others, own)) == 10
    assert balanced(own, []) == own
