"""The command ``missu``: options, output, exit codes; started as users and the module start it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from MISSUCore.cli.main import main
from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.model_card import ModelCard
from MISSUCore.contract.network_config import NetworkConfig
from MISSUCore.core.errors import ResourceError
from MISSUCore.core.events import ErrorEvent, ProgressEvent, parse_line
from MISSUCore.evaluation.comparison import Comparison
from MISSUCore.models.store import save_model
from MISSUCore.network.transunet import TransUNet

pytestmark = pytest.mark.slow

MODALITIES = ("t1", "t1ce", "t2", "flair")


@pytest.fixture
def model(tmp_path: Path) -> str:
    """Path of a tiny model with random weights."""
    torch.manual_seed(0)
    config = NetworkConfig(
        outputs=3, channels=(4, 8), convolutions=(1, 1), transformer=False, skips=1
    )
    card = ModelCard(
        name="tiny",
        modalities=MODALITIES,
        scheme=BRATS.as_dict(),
        targets="regions",
        spacing_mm=(1.0, 1.0, 1.0),
        network=config,
    )
    save_model(tmp_path / "models", card, TransUNet(config).state_dict())
    return str(tmp_path / "models" / "tiny.pt")


@pytest.fixture
def scans(tmp_path: Path) -> list[str]:
    """Options that name four scans of noise with a background of 0, and leave them as they are."""
    rng = np.random.default_rng(0)
    options = []
    for modality in MODALITIES:
        voxels = np.pad(rng.uniform(50, 150, (10, 12, 14)), 2).astype(np.float32)
        path = tmp_path / f"case_{modality}.nii.gz"
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path))
        options += [f"--{modality}", str(path)]
    return [*options, "--registration", "never", "--brain-extraction", "never"]


def missu(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "MISSUCore", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_help_does_not_load_torch() -> None:
    code = (
        "import sys\nfrom MISSUCore.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "assert not {'torch', 'SimpleITK', 'scipy'} & set(sys.modules), 'loaded'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("segment", "explain", "library", "finetune", "train", "models"):
        assert command in done.stdout
    for command in ("evaluate", "measure", "cost", "demo"):
        assert command in done.stdout


def test_segment_writes_labels_report_and_json_lines(
    tmp_path: Path, model: str, scans: list[str]
) -> None:
    output, report = tmp_path / "out" / "seg.nii.gz", tmp_path / "out" / "report.json"
    arguments = ["--output", str(output), "--report", str(report), "--model", model]
    done = missu("segment", *scans, *arguments, "--device", "cpu", "--json-progress", "--profile")
    assert done.returncode == 0, done.stderr
    assert {"read", "predict", "restore", "total"} <= set(done.stderr.split())
    events = [parse_line(line) for line in done.stdout.splitlines()]
    assert events and all(events), "every line of the output is an event"
    fractions = [event.fraction for event in events if isinstance(event, ProgressEvent)]
    assert fractions == sorted(fractions) and fractions[-1] == 1
    labels = sitk.ReadImage(str(output))
    assert labels.GetSize() == (18, 16, 14)
    assert set(np.unique(sitk.GetArrayFromImage(labels))) <= {0, 1, 2, 4}
    assert json.loads(report.read_text())["model"]["name"] == "tiny"
    assert sorted(path.name for path in output.parent.iterdir()) == ["report.json", "seg.nii.gz"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--output-folder", "results"], "--output-folder is for --cases"),
        (["--device", "quantum"], "quantum"),
        (["--model", "no-such-model"], "no-such-model"),
        (["--image", "pet"], "--image pet"),
        (["--image", "t1=again.nii.gz"], "t1 is given twice"),
        (["--image", "pet=missing.nii.gz"], "pet"),
        (["--t1", "missing.nii.gz"], "missing.nii.gz"),
        (["--output", "seg.txt"], "seg.txt"),
        (["--map", "ADC"], "--map ADC: write NAME=FILE"),
        (["--map", "ADC=missing.nii.gz"], "missing.nii.gz"),
        (["--radiomics"], "--radiomics: give a folder"),
    ],
)
def test_what_cannot_be_used_ends_with_2_and_one_line(
    tmp_path: Path,
    model: str,
    scans: list[str],
    change: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    code = main(["segment", *scans, "--output", "seg.nii.gz", "--model", model, *change])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("missu:")]
    assert code == 2
    assert len(lines) == 1 and message in lines[0]
    assert sorted(tmp_path.rglob("*")) == before, "nothing was written"


@pytest.mark.parametrize("empty", [["--model", ""], ["--model="], ["--case", ""], ["--case", " "]])
def test_an_empty_value_is_not_taken_for_the_default(
    empty: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["segment", "--t1", "t1.nii.gz", *empty])
    assert ended.value.code == 2
    assert f"argument {empty[0].rstrip('=')}: is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong", [["segment", "--minimum-island", "nan"], ["measure"], ["segment", "--case", ""]]
)
def test_a_program_is_told_what_is_wrong_with_its_command_line(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*wrong, "--json-progress"])
    assert ended.value.code == 2
    told = capsys.readouterr()
    event = parse_line(told.out)
    assert isinstance(event, ErrorEvent) and event.code == "input"
    assert event.message in told.err
    with pytest.raises(SystemExit):
        main(wrong)
    assert not capsys.readouterr().out


def test_no_scan_at_all_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", "--output", "seg.nii.gz"]) == 2
    assert "--t1ce" in capsys.readouterr().err


def test_an_existing_result_is_kept_unless_told(
    tmp_path: Path, model: str, scans: list[str]
) -> None:
    output = tmp_path / "seg.nii.gz"
    output.write_text("precious")
    arguments = ["segment", *scans, "--output", str(output), "--model", model]
    assert main(arguments) == 2
    assert output.read_text() == "precious"
    assert main([*arguments, "--overwrite"]) == 0
    assert sitk.ReadImage(str(output)).GetSize() == (18, 16, 14)


def test_explain_writes_a_map_for_each_region(
    tmp_path: Path, model: str, scans: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "maps"
    arguments = ["explain", *scans, "--output", str(folder), "--model", model, "--device", "cpu"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out.splitlines()
    for line, region in zip(printed, ("WT", "TC", "ET")):
        path = folder / f"gradcam_{region}.nii.gz"
        assert line.split() == [region, str(path)]
        assert sitk.ReadImage(str(path)).GetSize() == (18, 16, 14)
    assert main(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0
    assert main(["explain", "--output", str(folder)]) == 2


def test_ctrl_c_ends_with_130_and_leaves_nothing(
    tmp_path: Path, model: str, scans: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sitk, "WriteImage", interrupted)
    output = tmp_path / "out" / "seg.nii.gz"
    assert main(["segment", *scans, "--output", str(output), "--model", model]) == 130
    assert not list(output.parent.iterdir())


def test_ctrl_c_while_the_command_is_loaded_is_no_traceback() -> None:
    code = (
        "import runpy, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'MISSUCore.cli.main':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "runpy.run_module('MISSUCore', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "missu: cancelled\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes otherwise")
def test_a_signal_after_the_end_is_no_traceback() -> None:
    code = (
        "import atexit, os, runpy, signal, sys\n"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGTERM))\n"
        "sys.argv = ['missu', 'cost']\n"
        "runpy.run_module('MISSUCore', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")
    assert "parameters" in done.stdout


def test_evaluate_prints_a_table_and_writes_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = np.zeros((6, 6, 6), np.uint8)
    reference[1:3, 1:3, 1:3] = 4
    prediction = reference.copy()
    prediction[1] = 0  # half of it: Dice = 2 * 4 / (4 + 8)
    for name, voxels in (("p.nii.gz", prediction), ("r.nii.gz", reference)):
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / name))
    table, facts = tmp_path / "scores.csv", tmp_path / "scores.json"
    arguments = [str(tmp_path / "p.nii.gz"), str(tmp_path / "r.nii.gz")]
    assert main(["evaluate", *arguments, "--csv", str(table), "--json", str(facts)]) == 0
    assert "ET" in capsys.readouterr().out
    rows = {row["region"]: row for row in json.loads(facts.read_text())["rows"]}
    assert rows["ET"]["dice"] == pytest.approx(2 / 3)
    assert len(table.read_text().splitlines()) == 4


def test_evaluate_writes_both_files_or_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(comparison: Comparison, path: Path) -> None:
        raise ResourceError("the disk is full")

    monkeypatch.setattr(Comparison, "write_json", full)
    labels, table = tmp_path / "a.nii.gz", tmp_path / "scores.csv"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((6, 6, 6), np.uint8)), str(labels))
    files = ["--csv", str(table), "--json", str(tmp_path / "scores.json")]
    assert main(["evaluate", str(labels), str(labels), *files]) == 3
    assert "the disk is full" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [labels]


def test_evaluate_replaces_nothing_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(tmp_path / name) for name in ("p.nii.gz", "r.nii.gz")]
    for path in paths:
        sitk.WriteImage(sitk.GetImageFromArray(np.full((4, 4, 4), 4, np.uint8)), path)
    mine = tmp_path / "mine.csv"
    mine.write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for options, message in (
        (["--csv", paths[1], "--overwrite"], "is an input too"),
        (["--json", paths[0], "--overwrite"], "is an input too"),
        (["--csv", str(mine)], "exists already; add --overwrite"),
        (["--csv", str(tmp_path / "a"), "--json", str(tmp_path / "a")], "written twice"),
    ):
        assert main(["evaluate", *paths, *options]) == 2
        assert message in capsys.readouterr().err
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert main(["evaluate", *paths, "--json", os.devnull]) == 0
    assert not Path(os.devnull).is_file()
    assert main(["evaluate", *paths, "--csv", str(mine), "--overwrite"]) == 0
    assert mine.read_text().startswith("case,")


def test_cost_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report) == {"inference", "explicit_msf"}
    for cost in report.values():
        assert set(cost) == {"parameters", "multiply_adds", "multiply_adds_without_attention"}
    # Paper, Table III: 10.50 M and 132.11 G.
    assert report["inference"]["parameters"] == pytest.approx(10.50e6, rel=0.02)
    assert report["inference"]["multiply_adds_without_attention"] == pytest.approx(
        132.11e9, rel=0.02
    )


def test_models_lists_the_users_own(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MISSU_MODELS", str(Path(model).parent))
    assert main(["models"]) == 0
    assert "tiny" in capsys.readouterr().out
    assert main(["models", "--json"]) == 0
    assert "tiny" in [card["name"] for card in json.loads(capsys.readouterr().out)]


def test_models_tells_of_a_damaged_one_and_lists_the_others(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MISSU_MODELS", str(Path(model).parent))
    card = Path(model).with_suffix(".json")
    card.write_text(card.read_text()[:100])
    for arguments in (["models"], ["models", "--json"]):
        assert main(arguments) == 0
        captured = capsys.readouterr()
        assert f"{card}: is not a model card" in captured.err
        assert "take its files out of the folder" in captured.err
        assert "missu-brats-fast" in captured.out and "tiny" not in captured.out


def test_train_refuses_a_bad_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "--brats", str(tmp_path), "--output", str(tmp_path / "run")]
    assert main(arguments) == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert main([*arguments, "--set", "epochs"]) == 2
    assert "NAME=VALUE" in capsys.readouterr().err


def test_train_starts_from_a_model(
    tmp_path: Path, model: str, scans: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    labels = sitk.GetImageFromArray(np.full((14, 16, 18), 2, np.uint8))
    sitk.WriteImage(labels, str(tmp_path / "labels.nii.gz"))
    images = {name: f"case_{name}.nii.gz" for name in MODALITIES}
    case = {"name": "one", "images": images, "labels": "labels.nii.gz"}
    (tmp_path / "cases.json").write_text(json.dumps([case]))
    settings = {
        "targets": "regions",
        "network.channels": "[4, 8]",
        "network.convolutions": "[1, 1]",
        "network.skips": "1",
        "network.transformer": "false",
        "patch_size": "[8, 8, 8]",
        "epochs": "1",
        "batch_size": "1",
        "learning_rate": "1e-12",  # where it starts is where it ends
        "mixed_precision": "false",
    }
    changes = [part for item in settings.items() for part in ("--set", "=".join(item))]
    arguments = ["train", "--cases", str(tmp_path / "cases.json"), "--device", "cpu", *changes]
    folder = tmp_path / "run"
    assert main([*arguments, "--output", str(folder), "--start", "nowhere"]) == 2
    assert "no model 'nowhere'" in capsys.readouterr().err
    assert not folder.exists()
    assert main([*arguments, "--output", str(folder), "--start", model]) == 0
    trained = torch.load(folder / "model" / "my-model.pt", weights_only=True)
    for name, value in torch.load(model, weights_only=True).items():
        if "running" not in name and "tracked" not in name:
            torch.testing.assert_close(trained[name], value, rtol=2e-3, atol=1e-4)
