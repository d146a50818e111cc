"""Whether the scans of two visits show one patient."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from MISSUCore.core.errors import ErrorCode, InputError
from MISSUCore.visits import alignment


@pytest.mark.parametrize(
    ("quality", "one_patient"),
    # The best fit of two patients and the poorest of one (docs/evidence.md).
    [(1.067, False), (1.0905, False), (1.099, True)],
)
def test_the_limit_lies_between_one_patient_and_two(
    monkeypatch: pytest.MonkeyPatch, quality: float, one_patient: bool
) -> None:
    fit: Any = SimpleNamespace(quality=quality)
    monkeypatch.setattr(alignment, "register", lambda *_, **__: fit)
    scans = [sitk.GetImageFromArray(np.full((4, 4, 4), value, np.float32)) for value in (1, 2)]
    names = ["first", "second"]
    if one_patient:
        assert alignment.align(names, scans, names) == [None, fit]
        return
    with pytest.raises(InputError, match="do not seem to show one patient") as caught:
        alignment.align(names, scans, names)
    assert caught.value.code is ErrorCode.ANATOMY_DIFFERS
    assert alignment.align(names, scans, names, different_anatomy=True) == [None, fit]
