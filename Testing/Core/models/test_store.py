"""Models survive the disk, and a file that is damaged, foreign or hostile is refused."""

from __future__ import annotations

import errno
import hashlib
import json
import pickle
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from MISSUCore.contract.labels import BRATS
from MISSUCore.contract.model_card import ModelCard
from MISSUCore.core.errors import InputError, ResourceError
from MISSUCore.models import store as model_store
from MISSUCore.models.store import (
    find_model,
    list_models,
    load_model,
    read_card,
    save_model,
    unusable_models,
)
from MISSUCore.network.transunet import SelfDistillingTransUNet, TransUNet


@pytest.fixture(autouse=True)
def _no_other_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_store, "BUNDLED_FOLDER", tmp_path / "bundled")
    monkeypatch.setenv("MISSU_MODELS", str(tmp_path / "user"))


def weights_of(card: ModelCard) -> dict[str, Tensor]:
    torch.manual_seed(1)
    network = TransUNet(card.network)
    network(torch.rand(1, 4, 8, 8, 8))  # moves the normalization's statistics
    return network.state_dict()


def edit_card(weights: Path, **changes: Any) -> None:
    """Change the card as a user would; the checksum follows the weight file."""
    path = weights.with_suffix(".json")
    values = json.loads(path.read_text())
    values["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    values.update(changes)
    path.write_text(json.dumps(values))


def test_round_trip_in_half_precision(tmp_path: Path, tiny_card: ModelCard) -> None:
    weights = weights_of(tiny_card)
    saved = save_model(tmp_path, tiny_card, weights)
    content = (tmp_path / "tiny.pt").read_bytes()
    assert saved == replace(tiny_card, sha256=hashlib.sha256(content).hexdigest())

    stored = torch.load(tmp_path / "tiny.pt", weights_only=True)
    floating = [value for value in stored.values() if value.is_floating_point()]
    assert floating and all(value.dtype == torch.float16 for value in floating)

    model = load_model(str(tmp_path / "tiny.pt"))
    assert model.card == saved
    assert not model.network.training
    loaded = model.network.state_dict()
    assert loaded.keys() == weights.keys()
    for name, value in loaded.items():
        assert value.dtype == weights[name].dtype
        assert torch.equal(value, weights[name].to(stored[name].dtype).to(value.dtype))


def test_a_loaded_model_computes_what_the_saved_one_did(
    tmp_path: Path, tiny_card: ModelCard
) -> None:
    weights = weights_of(tiny_card)
    save_model(tmp_path, tiny_card, weights)
    network = TransUNet(tiny_card.network).eval()
    network.load_state_dict(weights)
    scan = torch.rand(1, 4, 8, 8, 8)
    with torch.inference_mode():
        expected, found = network(scan), load_model(str(tmp_path / "tiny.pt")).network(scan)
    assert expected.std() > 0
    torch.testing.assert_close(found, expected, rtol=0.01, atol=0.01 * expected.std().item())


def test_saving_leaves_the_caller_its_weights(tmp_path: Path, tiny_card: ModelCard) -> None:
    weights = weights_of(tiny_card)
    before = {name: value.clone() for name, value in weights.items()}
    save_model(tmp_path, tiny_card, weights)
    assert all(torch.equal(weights[name], before[name]) for name in before)
    assert weights["head.weight"].dtype == torch.float32


def test_nothing_of_the_teacher_is_shipped(tmp_path: Path, tiny_card: ModelCard) -> None:
    trained = SelfDistillingTransUNet(tiny_card.network)
    assert any("teacher" in name for name in trained.state_dict())
    with pytest.raises(ValueError, match="not the weights of the card's network"):
        save_model(tmp_path, tiny_card, trained.state_dict())
    assert list(tmp_path.iterdir()) == []
    save_model(tmp_path, tiny_card, trained.network.state_dict())
    stored = torch.load(tmp_path / "tiny.pt", weights_only=True)
    assert not [name for name in stored if "teacher" in name or "fusion" in name]


@pytest.mark.parametrize("value", [1e5, float("nan")])
def test_weights_beyond_half_precision_are_not_saved(
    tmp_path: Path, tiny_card: ModelCard, value: float
) -> None:
    weights = weights_of(tiny_card)
    weights["head.bias"][0] = value
    with pytest.raises(ValueError, match="not finite in half precision"):
        save_model(tmp_path, tiny_card, weights)
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_found_by_name_in_the_folders(
    tmp_path: Path, tiny_card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list_models() == []
    weights = weights_of(tiny_card)
    save_model(tmp_path / "user", tiny_card, weights)
    save_model(tmp_path / "user", replace(tiny_card, name="other.v2"), weights)
    save_model(tmp_path / "bundled", replace(tiny_card, task="bundled"), weights)
    assert [card.name for card in list_models()] == ["tiny", "other.v2"]
    assert load_model("tiny").card.task == "bundled"  # what comes with the package goes first
    assert load_model("other.v2").card.name == "other.v2"
    assert find_model("other.v2") == tmp_path / "user" / "other.v2.json"
    monkeypatch.delenv("MISSU_MODELS")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    save_model(tmp_path / "home" / ".missu" / "models", replace(tiny_card, name="mine"), weights)
    assert [card.name for card in list_models()] == ["tiny", "mine"]


def test_what_belongs_to_no_model_is_not_listed(tmp_path: Path, tiny_card: ModelCard) -> None:
    """Notes, half a file that a crash left, and what macOS puts beside files on other disks."""
    save_model(tmp_path / "user", tiny_card, weights_of(tiny_card))
    for name in ("notes.json", ".0123abcd-other.json", "._tiny.json", "._tiny.pt"):
        (tmp_path / "user" / name).write_text("{")
    assert [card.name for card in list_models()] == ["tiny"]
    assert unusable_models() == []


def test_a_model_whose_card_is_damaged_is_told_of(tmp_path: Path, tiny_card: ModelCard) -> None:
    folder = tmp_path / "user"
    for name in ("broken", "renamed", "tiny"):
        save_model(folder, replace(tiny_card, name=name), weights_of(tiny_card))
    (folder / "broken.json").write_text("{")
    (folder / "renamed.json").write_bytes((folder / "tiny.json").read_bytes())
    assert [card.name for card in list_models()] == ["tiny"]
    broken, renamed = unusable_models()
    assert broken.startswith(f"{folder / 'broken.json'}: is not a model card: ")
    assert renamed.startswith(f"{folder / 'renamed.json'}: is the card of a model named 'tiny'; ")
    assert broken.endswith("; install this model again, or take its files out of the folder")


def test_an_unknown_name_lists_the_installed_ones(tmp_path: Path, tiny_card: ModelCard) -> None:
    with pytest.raises(InputError, match=r"no model 'tinny'; installed are: none"):
        load_model("tinny")
    save_model(tmp_path / "user", tiny_card, weights_of(tiny_card))
    save_model(tmp_path / "user", replace(tiny_card, name="big"), weights_of(tiny_card))
    with pytest.raises(InputError, match=r"no model 'tinny'; installed are: big, tiny; or give a"):
        load_model("tinny")


@pytest.mark.parametrize("name", ["", ".", "..", "/", "../user/tiny", "folder/tiny", "tiny.v1"])
def test_odd_names_are_unknown(tmp_path: Path, tiny_card: ModelCard, name: str) -> None:
    save_model(tmp_path / "user", tiny_card, weights_of(tiny_card))
    with pytest.raises(InputError, match="no model"):
        load_model(name)


def test_a_path_is_of_the_weights_or_the_card(tiny_model: Path) -> None:
    assert load_model(str(tiny_model)).card == load_model(str(tiny_model.with_suffix(".json"))).card


@pytest.mark.parametrize("missing", ["tiny.pt", "tiny.json"])
@pytest.mark.parametrize("given", ["tiny.pt", "tiny.json"])
def test_a_model_is_two_files(tiny_model: Path, missing: str, given: str) -> None:
    tiny_model.with_name(missing).unlink()
    with pytest.raises(InputError, match=f"{missing}: no such file"):
        load_model(str(tiny_model.with_name(given)))


def test_an_installed_card_without_weights(tmp_path: Path, tiny_card: ModelCard) -> None:
    save_model(tmp_path / "user", tiny_card, weights_of(tiny_card))
    (tmp_path / "user" / "tiny.pt").unlink()
    with pytest.raises(InputError, match=r"tiny\.pt: the weight file of model tiny is missing"):
        load_model("tiny")


def test_damaged_weights(tiny_model: Path) -> None:
    content = bytearray(tiny_model.read_bytes())
    content[len(content) // 2] ^= 1
    tiny_model.write_bytes(content)
    with pytest.raises(InputError, match=r"tiny\.pt: .*SHA-256 differs"):
        load_model(str(tiny_model))
    tiny_model.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"tiny\.pt: .*SHA-256 differs"):
        load_model(str(tiny_model))


class Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.trace,))


@pytest.mark.parametrize("as_pickle", [True, False])
def test_code_in_a_weight_file_does_not_run(
    tmp_path: Path, tiny_model: Path, as_pickle: bool
) -> None:
    trace = tmp_path / "code ran"
    if as_pickle:
        tiny_model.write_bytes(pickle.dumps(Hostile(trace), protocol=2))
    else:
        torch.save({"head.weight": Hostile(trace)}, tiny_model)
    edit_card(tiny_model)
    with pytest.raises(InputError, match=r"tiny\.pt: holds no weights"):
        load_model(str(tiny_model))
    assert not trace.exists()
    if as_pickle:
        pickle.loads(tiny_model.read_bytes())  # noqa: S301
    else:
        torch.load(tiny_model, weights_only=False)
    assert trace.exists()  # it was armed


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {},
        {"head.weight": 3},
        {"head.weight": {"nested": torch.ones(3)}},
        {1: torch.ones(3)},
        torch.ones(3),
        None,
        "weights",
    ],
)
def test_foreign_torch_files(tiny_model: Path, content: Any) -> None:
    torch.save(content, tiny_model)
    edit_card(tiny_model)
    with pytest.raises(InputError, match=r"tiny\.pt: holds no weights of the network in its card"):
        load_model(str(tiny_model))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_files_that_are_something_else(tiny_model: Path) -> None:
    content = tiny_model.read_bytes()
    chance = random.Random(0)  # noqa: S311
    contents = [
        b"",
        b"text",
        b"PK\x03\x04",
        b"\x80\x02.",
        content[:-200],
        content[: len(content) // 2],
    ]
    contents += [bytes(chance.randrange(256) for _ in range(n)) for n in range(1, 60)]
    for changed in contents:
        tiny_model.write_bytes(changed)
        edit_card(tiny_model)
        with pytest.raises(InputError, match=r"tiny\.pt: holds no weights"):
            load_model(str(tiny_model))


@pytest.mark.parametrize("fault", ["missing", "foreign", "other shape"])
def test_weights_of_another_network(tiny_model: Path, fault: str) -> None:
    weights = torch.load(tiny_model, weights_only=True)
    if fault == "missing":
        del weights["head.weight"]
    elif fault == "foreign":
        weights["teacher.0"] = torch.ones(1)
    else:
        weights["head.weight"] = torch.ones(7, 4, 1, 1, 1)
    torch.save(weights, tiny_model)
    edit_card(tiny_model)
    with pytest.raises(InputError, match=r"tiny\.pt: holds no weights of the network in its card"):
        load_model(str(tiny_model))


NETWORK = {"outputs": 3, "channels": [4, 8], "convolutions": [1, 1], "layers": 1, "skips": 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "other"}, "is the card of a model named 'other'"),
        ({"name": "../tiny"}, "cannot be named '../tiny'"),
        ({"name": ""}, "cannot be named ''"),
        ({"name": 3}, "setting 'name' cannot be 3"),
        ({"color": "red"}, "unknown setting 'color'"),
        ({"network": {"channels": [4]}}, "channels and convolutions must name"),
        ({"network": {"depth": 4}}, "unknown setting 'depth'"),
        ({"network": {**NETWORK, "outputs": 4}}, "network does not fit its modalities and regions"),
        ({"targets": "labels"}, "network does not fit its modalities and regions"),
        ({"modalities": ["t1"], "may_miss": 0}, "network does not fit its modalities and regions"),
        ({"targets": "tumors"}, "targets must be 'labels' or 'regions', not 'tumors'"),
        ({"modalities": ["t1", "t1", "t2", "flair"]}, "modalities"),
        ({"modalities": [1, 2, 3, 4]}, "modalities have names"),
        ({"modalities": [], "may_miss": 0}, "modalities"),
        ({"may_miss": 4}, "4 of the modalities .* cannot be missing"),
        ({"may_miss": -1}, "-1 of the modalities .* cannot be missing"),
        ({"few_scans": [{"scans": ["ct"]}]}, "few_scans names scans .*'ct'"),
        ({"few_scans": [{"scans": []}]}, "few_scans names scans"),
        ({"few_scans": [{"scans": ["t1"], "dice": {"liver": 0.9}}]}, "few_scans names regions"),
        ({"few_scans": [{"scans": ["t1"], "guesses": ["liver"]}]}, "few_scans names regions"),
        ({"estimates": [{"modality": "t1", "scans": ["ct"]}]}, "estimates are of one of"),
        ({"estimates": [{"modality": "t1", "scans": ["t1", "t2"]}]}, "estimates are of one of"),
        ({"spacing_mm": [1.0, 1.0]}, "spacing_mm must be three positive numbers"),
        ({"spacing_mm": [1.0, 1.0, 0.0]}, "spacing_mm must be three positive numbers"),
        ({"spacing_mm": [1.0, 1.0, float("nan")]}, "spacing_mm must be three positive numbers"),
        ({"temperatures": [1.0, 2.0]}, "temperatures must be a positive number for each region"),
        ({"temperatures": [1.0, 2.0, 0.0]}, "temperatures must be a positive number"),
        ({"doubtful_below": [0.5, 0.5, float("inf")]}, "doubtful_below must be a positive number"),
        ({"unreliable_without": {"t1": ["liver"]}}, r"unreliable_without names .*'liver'"),
        ({"unreliable_without": {"ct": ["WT"]}}, r"unreliable_without names .*'ct'"),
        ({"unreliable_without": {"t1": "WT"}}, r"unreliable_without names .*'WT'"),
        ({"unreliable_without": {"t1": [["WT"]]}}, "unreliable_without names .*WT"),
        ({"metrics": {"mean_by_region": {"WT": "good"}}}, "metrics hold no mean Dice by region"),
        ({"metrics": {"mean_dice": {"WT": None}}}, "metrics hold no mean Dice by region"),
        ({"history": [{"base": "missu"}]}, "'base' cannot be 'missu'"),
        ({"scheme": {}}, "not a label scheme"),
        ({"scheme": []}, "setting 'scheme' cannot be"),
    ],
)
def test_a_card_that_makes_no_sense(tiny_model: Path, changes: dict, message: str) -> None:
    edit_card(tiny_model, **changes)
    with pytest.raises(InputError, match=message) as caught:
        load_model(str(tiny_model))
    assert str(caught.value).startswith(str(tiny_model.with_suffix(".json")))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"card"', "\x00\xff", "{}"])
def test_a_card_that_is_none(tiny_model: Path, text: str) -> None:
    tiny_model.with_suffix(".json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"tiny\.json: is not a model card"):
        load_model(str(tiny_model))


@pytest.mark.parametrize("name", ["", "../up", "two words", "a/b"])
def test_a_model_needs_a_plain_name(tmp_path: Path, tiny_card: ModelCard, name: str) -> None:
    with pytest.raises(InputError, match="cannot be named"):
        save_model(tmp_path / "models", replace(tiny_card, name=name), weights_of(tiny_card))
    assert not (tmp_path / "models").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path, tiny_card: ModelCard) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"tiny\.pt: cannot be written"):
        save_model(tmp_path / "file", tiny_card, weights_of(tiny_card))


def test_a_full_disk_keeps_the_old_model(
    tiny_model: Path,
    tiny_card: ModelCard,
    file_size_limit: Callable[[int], AbstractContextManager[None]],
) -> None:
    full = pytest.raises((InputError, ResourceError), match=r"tiny\.pt: ")
    with full, file_size_limit(1000):
        save_model(tiny_model.parent, tiny_card, weights_of(tiny_card))
    assert sorted(path.name for path in tiny_model.parent.iterdir()) == ["tiny.json", "tiny.pt"]
    assert load_model(str(tiny_model)).card.name == "tiny"


def test_the_card_knows_its_scheme(tiny_card: ModelCard) -> None:
    assert tiny_card.label_scheme() == BRATS


def test_a_home_that_belongs_to_another_is_none(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "root" / ".missu" / "models"
    really = Path.is_dir

    def is_dir(path: Path) -> bool:
        if path == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return really(path)

    monkeypatch.setattr(Path, "is_dir", is_dir)
    monkeypatch.setattr(Path, "expanduser", lambda path: closed)
    monkeypatch.setattr(model_store, "BUNDLED_FOLDER", tiny_model.parent)
    monkeypatch.delenv("MISSU_MODELS", raising=False)
    assert [card.name for card in list_models()] == ["tiny"]
    with pytest.raises(InputError, match="no model 'x'; installed are: tiny"):
        find_model("x")
    monkeypatch.setenv("MISSU_MODELS", str(closed))
    with pytest.raises(InputError, match="models: named by MISSU_MODELS, cannot be read: Perm"):
        list_models()


def test_a_user_without_a_home_has_the_bundled_models(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MISSU_MODELS", raising=False)
    monkeypatch.setattr(Path, "expanduser", unknown)
    monkeypatch.setattr(model_store, "BUNDLED_FOLDER", tiny_model.parent)
    assert model_store.default_model() == model_store.DEFAULT_MODEL
    assert [card.name for card in list_models()] == ["tiny"]
    assert find_model("tiny") == tiny_model.with_suffix(".json")
    with pytest.raises(InputError, match=r"no home folder.*MISSU_MODELS"):
        model_store.user_folder()


@pytest.mark.parametrize(
    "network",
    [
        {"channels": [4096, 8]},
        {"layers": 10**8, "transformer": True},
        {"channels": [2048, 2048], "convolutions": [9, 9]},
        {"embedding": 8192, "layers": 200, "transformer": True},
        {"channels": [1] * 9, "convolutions": [1] * 9},
    ],
)
def test_absurd_sizes_are_refused_before_anything_is_allocated(
    tiny_model: Path, network: dict
) -> None:
    card = json.loads(tiny_model.with_suffix(".json").read_text())
    edit_card(tiny_model, network={**card["network"], **network})
    with pytest.raises(InputError, match=r"at most|too large to be meant"):
        read_card(tiny_model.with_suffix(".json"))


@pytest.mark.parametrize("name", ["a/b", "../../up", "a\0b", "x" * 300, "", " ", "a\\b", "a\nb"])
def test_names_of_regions_become_file_names(tiny_model: Path, name: str) -> None:
    scheme = json.loads(json.dumps(BRATS.as_dict()))
    scheme["regions"][0]["name"] = name
    edit_card(tiny_model, scheme=scheme)
    with pytest.raises(InputError, match="cannot be a name of a region"):
        read_card(tiny_model.with_suffix(".json"))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"name":' * 100_000])
def test_a_card_that_is_nested_too_deep(tiny_model: Path, text: str) -> None:
    tiny_model.with_suffix(".json").write_text(text)
    with pytest.raises(InputError, match="is not a model card"):
        read_card(tiny_model.with_suffix(".json"))


def test_temperatures_are_numbers(tiny_model: Path) -> None:
    edit_card(tiny_model, temperatures=["a", "b", "c"])
    with pytest.raises(InputError, match="temperatures must be a positive number"):
        read_card(tiny_model.with_suffix(".json"))
