"""Tuned models: accepted as versions, chosen, removed; nothing is ever overwritten."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from MISSUCore.cli.main import main
from MISSUCore.contract.model_card import ModelCard, Tuning
from MISSUCore.contract.model_identity import ModelIdentity
from MISSUCore.contract.tuning.finetuning_run import FineTuningRun
from MISSUCore.contract.tuning.verdict import AcceptanceTest, Verdict
from MISSUCore.core.errors import InputError
from MISSUCore.core.files import sha256
from MISSUCore.core.serialization import settings_to_dict
from MISSUCore.models import versions as model_versions
from MISSUCore.models.store import (
    BUNDLED_FOLDER,
    DEFAULT_MODEL,
    default_model,
    list_models,
    load_model,
    read_card,
    save_model,
)
from MISSUCore.network.transunet import TransUNet

TUNING = Tuning("2026-01-01", ModelIdentity("tiny", "abc"), ("case-1",), verdict="better")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MISSU_MODELS", str(tmp_path / "mine"))
    return tmp_path / "mine"


@pytest.fixture
def finished_run(tmp_path: Path, tiny_card: ModelCard):
    """Makes the folder of a run that has ended with a verdict."""

    def make(verdict: str = "better", name: str = "tuned", seed: int = 0) -> Path:
        run = tmp_path / "run"
        torch.manual_seed(seed)
        weights = TransUNet(tiny_card.network).state_dict()
        save_model(run / "model", replace(tiny_card, name=name, history=(TUNING,)), weights)
        test = AcceptanceTest(name=name, verdict=Verdict(verdict), reason="because")
        FineTuningRun(run).end(test)
        (run / "run.json").write_text("{}")
        return run

    return make


def test_every_accepted_model_is_a_version_of_its_own(folder: Path, finished_run) -> None:
    first = model_versions.accept(finished_run(seed=1))
    checksum = sha256(folder / "tuned-1.pt")
    second = model_versions.accept(finished_run(seed=2))
    assert (first.name, second.name) == ("tuned-1", "tuned-2")
    assert sha256(folder / "tuned-1.pt") == checksum == load_model("tuned-1").card.sha256
    assert load_model("tuned-2").card.history == (TUNING,)
    model_versions.remove("tuned-1")
    assert model_versions.accept(finished_run(seed=3)).name == "tuned-3"


def test_a_name_in_other_letters_takes_the_next_number(folder: Path, finished_run) -> None:
    assert model_versions.accept(finished_run(seed=1)).name == "tuned-1"
    shutil.rmtree(folder.parent / "run")
    assert model_versions.accept(finished_run(name="Tuned", seed=2)).name == "Tuned-2"


def test_a_candidate_is_installed_once(folder: Path, finished_run) -> None:
    run = finished_run()
    model_versions.accept(run)
    with pytest.raises(InputError, match="is installed already, as tuned-1"):
        model_versions.accept(run)
    model_versions.remove("tuned-1")
    assert model_versions.accept(run).name == "tuned-1"


@pytest.mark.parametrize("verdict", ["not better", "forgets"])
def test_a_model_that_is_not_better_is_refused(folder: Path, finished_run, verdict: str) -> None:
    run = finished_run(verdict)
    with pytest.raises(InputError, match=rf"refused \({verdict}: because\); --force"):
        model_versions.accept(run)
    assert not folder.exists()
    assert model_versions.accept(run, force=True).name == "tuned-1"


def test_the_default_is_chosen_and_survives_what_happens_to_it(folder: Path, finished_run) -> None:
    assert default_model() == DEFAULT_MODEL
    model_versions.accept(finished_run())
    model_versions.use("tuned-1")
    assert default_model() == "tuned-1"
    model_versions.use(DEFAULT_MODEL)
    assert default_model() == DEFAULT_MODEL
    model_versions.use("tuned-1")
    model_versions.remove("tuned-1")
    assert default_model() == DEFAULT_MODEL
    (folder / "default.txt").write_text("gone-7\n")
    assert default_model() == DEFAULT_MODEL
    with pytest.raises(InputError, match="no model 'gone-7'"):
        model_versions.use("gone-7")


def test_only_the_users_own_models_go(folder: Path, tiny_model: Path) -> None:
    for name in (DEFAULT_MODEL, str(tiny_model)):
        with pytest.raises(InputError, match="is not one of your own models"):
            model_versions.remove(name)
    assert (BUNDLED_FOLDER / f"{DEFAULT_MODEL}.pt").exists() and tiny_model.exists()


def test_a_discarded_run_keeps_its_table(folder: Path, finished_run, tmp_path: Path) -> None:
    run = finished_run()
    (run / "part-1").mkdir()
    (run / "part-1" / "checkpoint.pt").write_text("large")
    (run / "part-1" / ".1a2b3c4d-checkpoint.pt").write_text("half written")
    (run / "part-1" / "training.csv").write_text("step")
    model_versions.discard(run)
    left = sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())
    kept = [".lock", ".written.sha256", "gate.json", str(Path("part-1/training.csv")), "run.json"]
    assert left == kept
    with pytest.raises(InputError, match="the candidate was discarded"):
        model_versions.accept(run)
    with pytest.raises(InputError, match="is not a folder of a fine-tuning"):
        model_versions.discard(tmp_path)


def test_what_is_no_finished_run_is_refused(folder: Path, finished_run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a finished fine-tuning"):
        model_versions.accept(tmp_path)
    run = finished_run()
    whole = json.loads((run / "gate.json").read_text())
    table = {"regions": ["WT"], "mean": {"tuned": {"TC": 0.5}}}
    for damage in ({"name": 3}, {"verdict": "Better"}, {"cases": [1]}, table):
        (run / "gate.json").write_text(json.dumps({**whole, **damage}))
        with pytest.raises(InputError, match=r"gate.json: is damaged"):
            model_versions.accept(run, force=True)
    (run / "gate.json").write_text('{"name": "tuned", "verdict": "better", "reason": ""}')
    with pytest.raises(InputError, match="is damaged: it has no regions, cases, mean"):
        model_versions.accept(run)


def test_a_history_holds_entries(finished_run) -> None:
    path = finished_run() / "model" / "tuned.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps({**card, "history": ["tuned on Monday"]}))
    with pytest.raises(InputError, match="'history' cannot be 'tuned on Monday'"):
        read_card(path)


def test_the_command(folder: Path, finished_run, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(finished_run("not better"))
    bundled = [card.name for card in list_models()]
    assert DEFAULT_MODEL in bundled
    assert main(["models", "--accept", run]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["models", "--accept", run, "--force", "--json"]) == 0
    entry = json.loads(capsys.readouterr().out)
    assert (entry["name"], entry["default"], entry["bundled"]) == ("tuned-1", False, False)
    assert entry["file"] == str(folder / "tuned-1.pt") and entry["history"] == [
        settings_to_dict(TUNING)
    ]
    assert main(["models", "--use", "tuned-1", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    defaults = {entry["name"]: entry["default"] for entry in entries}
    assert defaults == {**dict.fromkeys(bundled, False), "tuned-1": True}
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    assert "tuned-1  (default)" in text and "tuned 2026-01-01 from tiny on 1 cases" in text
    assert main(["models", "--discard", run]) == 0
    assert main(["models", "--remove", "tuned-1"]) == 0
    assert [card.name for card in list_models()] == bundled
    assert main(["models", "--force"]) == 2
