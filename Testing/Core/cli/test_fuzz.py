"""Two hundred hostile inputs, the same ones in every run: no traceback, no hang, no file lost."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from MISSUCore.cli.main import main
from MISSUCore.contract.labels import BRATS
from MISSUCore.models.store import ModelCard, save_model
from MISSUCore.network.transunet import NetworkConfig, TransUNet

MODALITIES = ("t1", "t1ce", "t2", "flair")
SECONDS_PER_INPUT = 20
NUMBERS = ("nan", "inf", "-inf", "-5", "1e400", "-0.0", "", " ", "0x10", "1,5", "9" * 5000, "٣")
TEXTS = ("", " ", "-", "..", "/", "a/b", "../../up", "x" * 300, "\udcfc", "\n", "{}", "[" * 100_000)
OPTIONS = (
    *("--minimum-island", "--minimum-enhancing", "--device", "--model", "--reference", "--image"),
    *("--case", "--cases", "--bids", "--output", "--report", "--brain-mask", "--t1"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**30, 1e308, float("nan"), float("inf")),
    *("", "a/b", "\0", "x" * 300, "\ud800", [], {}, [[]], ["a"], {"a": {}}, [None], [1e8], [4096]),
)
# Offset and kind of what a NIfTI header says: sizes, data type, spacing, units, transforms.
HEADER = ((40, "h"), (42, "h"), (70, "h"), (72, "h"), (76, "f"), (80, "f"), (108, "f"), (123, "b"))
HEADER += ((252, "h"), (254, "h"), (256, "f"), (280, "f"), (344, "i"))


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A folder with a tiny model, a case, a list, a reference and something of the user's."""
    torch.manual_seed(0)
    config = NetworkConfig(
        outputs=3, channels=(4, 8), convolutions=(1, 1), transformer=False, skips=1
    )
    card = ModelCard(
        "tiny", "", MODALITIES, scheme=BRATS.as_dict(), targets="regions", network=config
    )
    save_model(tmp_path, card, TransUNet(config).state_dict())
    rng = np.random.default_rng(0)
    for name in MODALITIES:
        voxels = np.pad(rng.uniform(50, 150, (6, 6, 6)), 1).astype(np.float32)
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / f"{name}.nii"))
    labels = sitk.GetImageFromArray((voxels > 100).astype(np.uint8))
    sitk.WriteImage(labels, str(tmp_path / "labels.nii"))
    images = {name: f"{name}.nii" for name in MODALITIES}
    case = {"name": "a", "images": images, "labels": "labels.nii"}
    (tmp_path / "cases.json").write_text(json.dumps([case]))
    (tmp_path / "scheme.json").write_text(json.dumps(BRATS.as_dict()))
    (tmp_path / "precious.nii").write_text("of the user")
    return tmp_path


def scans(house: Path) -> list[str]:
    named = [part for name in MODALITIES for part in (f"--{name}", str(house / f"{name}.nii"))]
    return [*named, "--registration", "never", "--brain-extraction", "never", "--device", "cpu"]


def options(draw: random.Random, house: Path) -> list[str]:
    """Values that no option can mean."""
    base = ["segment", *scans(house), "--model", str(house / "tiny.pt")]
    output = ["--output", str(house / "precious.nii")]
    option = draw.choice(OPTIONS)
    return [*base, *output, option, draw.choice(NUMBERS + TEXTS[:-1])]


def changed(draw: random.Random, value: Any) -> Any:
    """The same JSON with something else at one place."""
    if isinstance(value, dict) and value and draw.random() < 0.85:
        key = draw.choice(sorted(value))
        return {**value, key: changed(draw, value[key])}
    if isinstance(value, list) and value and draw.random() < 0.85:
        place = draw.randrange(len(value))
        return [*value[:place], changed(draw, value[place]), *value[place + 1 :]]
    return draw.choice(VALUES)


def json_files(draw: random.Random, house: Path) -> list[str]:
    """Model cards, lists of cases and label schemes with a wrong value, cut off, or too deep."""
    name = draw.choice(("tiny.json", "cases.json", "scheme.json"))
    text = json.dumps(changed(draw, json.loads((house / name).read_text())))
    how = draw.random()
    if how < 0.1:
        text = draw.choice(("[", '{"a":')) * 100_000
    elif how < 0.2:
        text = text[: draw.randrange(len(text))]
    (house / name).write_text(text)
    if name == "scheme.json":
        pair = [str(house / "labels.nii"), str(house / "labels.nii")]
        return ["evaluate", *pair, "--scheme", str(house / name)]
    if name == "cases.json":
        given = ["--cases", str(house / name), "--output-folder", str(house / "results")]
        return ["segment", *given, *scans(house)[8:], "--model", str(house / "tiny.pt")]
    model = ["--model", str(house / "tiny.pt")]
    return ["segment", *scans(house), *model, "--output", "out.nii"]


def headers(draw: random.Random, house: Path) -> list[str]:
    """NIfTI files whose header lies in one to three places, or that are cut off."""
    path = house / draw.choice(("t1.nii", "t1ce.nii"))
    content = bytearray(path.read_bytes())
    for _ in range(draw.randrange(1, 4)):
        offset, kind = draw.choice(HEADER)
        number = draw.choice((0, -1, 1, 3, 8, 512, 16, 32767, -32768))
        if kind == "b":
            number %= 128
        value = draw.choice((float("nan"), float("inf"), 1e30, number)) if kind == "f" else number
        struct.pack_into(f"<{kind}", content, offset, value)
    if draw.random() < 0.2:
        content = content[: draw.randrange(len(content))]
    path.write_bytes(content)
    return ["segment", *scans(house), "--model", str(house / "tiny.pt"), "--output", "out.nii"]


def contents(folder: Path) -> dict[Path, str]:
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


class Hang(BaseException):
    """An input took too long."""


@pytest.fixture
def alarm():
    """Raise Hang after some seconds, where the system has alarms."""
    if sys.platform == "win32":
        yield lambda seconds: None
        return

    def ring(*arguments: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    yield signal.alarm
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(("hostile", "count"), [(options, 70), (json_files, 80), (headers, 50)])
def test_hostile_inputs(
    hostile: Callable[[random.Random, Path], list[str]],
    count: int,
    house: Path,
    alarm: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (house / "here").mkdir()
    monkeypatch.chdir(house / "here")
    monkeypatch.setattr("tempfile.tempdir", str(house / "here"))
    originals = {path: path.read_bytes() for path in house.iterdir() if path.is_file()}
    for seed in range(count):
        draw = random.Random(f"{hostile.__name__} {seed}")  # noqa: S311
        for path, content in originals.items():
            if path.read_bytes() != content:
                path.write_bytes(content)
        for path in (house / "here").glob("*.nii"):
            path.unlink()
        arguments = hostile(draw, house)
        before = contents(house)
        alarm(SECONDS_PER_INPUT)
        try:
            code = main(arguments)
        except SystemExit as end:
            code = end.code
        alarm(0)
        told = capsys.readouterr()
        what = f"seed {seed}: {[part[:80] for part in arguments]}\n{told.err}"
        assert code in (0, 2, 3) or "cases are not done" in told.err, what
        assert "Traceback" not in told.out + told.err and "unexpected error" not in told.err, what
        after = contents(house)
        assert all(after.get(p) == d for p, d in before.items() if "results" not in p.parts), what
