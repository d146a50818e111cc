"""Models on disk: a weight file, and beside it a model card that says what it is.

``NAME.pt`` holds the weights of a :class:`TransUNet` in half precision, or its matrices and
convolutions in 8-bit integers, ``NAME.json`` the card with the weight file's SHA-256. Models come
with the package, from the user's folder (``~/.missu/models`` or the environment variable
``MISSU_MODELS``), or from an explicit path. ``default.txt`` in the user's folder names the model
that is used where none is named.
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..contract.model_card import ModelCard, check_card, read_card, read_cards, write_card
from ..core.errors import InputError
from ..core.files import NAME, atomic_write, sha256
from ..core.messages import Text, a_file
from ..network.transunet import TransUNet
from .eight_bit import pack, unpack

BUNDLED_FOLDER = Path(__file__).parents[1] / "weights"
DEFAULT_MODEL = "missu-brats-precise"
DEFAULT_FILE = "default.txt"


@dataclass(frozen=True)
class Model:
    """A network in evaluation mode, and its card.

    Attributes:
        network: that segments.
        card: of it.
        finder: the model that looks at the whole case first and finds what this one looks at
            closely; None if this one looks at whole cases.
    """

    network: TransUNet
    card: ModelCard
    finder: Model | None = None

    @property
    def checksum(self) -> str:
        """SHA-256 of the weight file; of both files, joined by +, if it looks twice."""
        return f"{self.card.sha256}+{self.finder.card.sha256}" if self.finder else self.card.sha256


def user_folder() -> Path:
    """Where the user's own models are kept.

    Raises:
        InputError: if the user has no home, as in containers that run under any user id.
    """
    try:
        return Path(os.environ.get("MISSU_MODELS") or "~/.missu/models").expanduser()
    except RuntimeError as error:
        raise InputError(
            "this user has no home folder, so there is no place for models; set the environment "
            "variable MISSU_MODELS to a folder"
        ) from error


def _folders() -> list[Path]:
    """Where models are looked for: the bundled ones alone where the user has no home.

    Nor has one who may not enter it, as in containers that run under another user's id.

    Raises:
        InputError: if the folder that the environment names cannot be entered.
    """
    try:
        own = user_folder()
        own.is_dir()
    except InputError:
        return [BUNDLED_FOLDER]
    except OSError as error:
        if os.environ.get("MISSU_MODELS"):
            raise InputError(
                a_file(own),
                f": named by MISSU_MODELS, cannot be read: {error.strerror or error}; name another "
                "folder",
            ) from error
        return [BUNDLED_FOLDER]
    return [BUNDLED_FOLDER, own]


def list_models() -> list[ModelCard]:
    """Cards of the bundled models and of the user's; see also :func:`unusable_models`.

    Examples:
        >>> from MISSUCore import list_models
        >>> "missu-brats-fast" in [card.name for card in list_models()]
        True
    """
    cards: dict[str, ModelCard] = {}
    for folder in _folders():
        for card in read_cards(folder)[0]:
            cards.setdefault(card.name, card)
    return list(cards.values())


def unusable_models() -> list[Text]:
    """What is wrong with each model that is there but has no card that can be used."""
    return [problem for folder in _folders() for problem in read_cards(folder)[1]]


def default_model() -> str:
    """Name of the model that is used where none is named: the user's choice, or the bundled one."""
    try:
        name = (user_folder() / DEFAULT_FILE).read_text(encoding="utf-8").strip()
        find_model(name)
    except (OSError, ValueError, InputError):
        return DEFAULT_MODEL
    return name


def find_model(name_or_path: str) -> Path:
    """Path of the model card of this name, or beside this weight file.

    Raises:
        InputError: if there is no such model; the message lists those there are.
    """
    weights = Path(name_or_path)
    if weights.suffix not in (".pt", ".json"):
        for folder in _folders():
            card = folder / f"{name_or_path}.json"
            if re.fullmatch(NAME, name_or_path) and card.exists():
                return card
        names = ", ".join(card.name for card in list_models()) or "none"
        raise InputError(f"no model {name_or_path!r}; installed are: {names}; or give a .pt file")
    for path in (weights.with_suffix(".pt"), weights.with_suffix(".json")):
        if not path.is_file():
            raise InputError(f"{path}: no such file; a model is a .pt file and its .json card")
    return weights.with_suffix(".json")


def load_model(name_or_path: str) -> Model:
    """The model of this name, or in this file, verified.

    Raises:
        InputError: if there is no such model, its weights are damaged, or they do not fit its card;
            also for the model that finds where this one looks.

    Examples:
        >>> from MISSUCore import load_model
        >>> load_model("missu-brats-fast").card.modalities
        ('t1', 't1ce', 't2', 'flair')
    """
    card_path = find_model(name_or_path)
    model = _load(card_path)
    if not model.card.first_look.model:
        return model
    return replace(model, finder=_load_finder(card_path, model.card))


def _load_finder(card_path: Path, card: ModelCard) -> Model:
    """The model that finds where a model looks: beside it, or installed.

    Raises:
        InputError: if there is none, or it does not fit.
    """
    name = card.first_look.model
    beside = card_path.with_name(f"{name}.json")
    try:
        finder = _load(beside if beside.is_file() else find_model(name))
    except InputError as error:
        reason = f"model {card.name} looks where {name} finds something: "
        raise InputError(reason, error.text) from error
    other = finder.card
    if other.first_look.model:
        raise InputError(f"model {card.name} looks where {name} looks, which looks twice itself")
    if other.label_scheme().regions != card.label_scheme().regions:
        raise InputError(f"model {card.name} looks where {name} looks, which has other regions")
    fewer = other.may_miss < card.may_miss or not all(
        other.accepts(few.scans) for few in card.few_scans
    )
    if set(other.modalities) != set(card.modalities) or fewer:
        raise InputError(
            f"model {card.name} looks where {name} looks, which takes other scans, or of which "
            "fewer may be missing"
        )
    return finder


def _load(card_path: Path) -> Model:
    card = read_card(card_path)
    path = card_path.with_suffix(".pt")
    if not path.is_file():
        raise InputError(f"{path}: the weight file of model {card.name} is missing")
    if sha256(path) != card.sha256:
        raise InputError(
            f"{path}: is not the file its model card describes (SHA-256 differs); it is damaged or "
            "was replaced: install the model again"
        )
    try:
        weights = torch.load(str(path), map_location="cpu", weights_only=True, mmap=True)
        with torch.device("meta"):  # no memory, no time: every weight is replaced
            network = TransUNet(card.network)
        network.load_state_dict(unpack(weights), assign=True)
    except Exception as error:  # of any kind, in a file that is something else
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise InputError(
            f"{path}: holds no weights of the network in its card: {reason}"
        ) from error
    return Model(network.eval(), card)


def save_model(
    folder: Path, card: ModelCard, weights: dict[str, Tensor], eight_bit: bool = False
) -> ModelCard:
    """Write a model's weights in half precision and its card; returns the card with the checksum.

    Args:
        folder: where ``NAME.pt`` and ``NAME.json`` go.
        card: its name is the files' name.
        weights: state of a :class:`TransUNet` of the card's configuration.
        eight_bit: matrices and convolutions in 8-bit integers, which takes half the space.

    Raises:
        InputError: if the card makes no sense, or the folder cannot be written.
        ResourceError: if the disk is full.
        ValueError: if the weights are not those of such a network, or too large.
    """
    check_card(card)
    network = TransUNet(card.network)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"not the weights of the card's network: {error}") from error
    halves = network.half().state_dict()
    if not all(value.isfinite().all() for value in halves.values()):
        raise ValueError("the weights are not finite in half precision")
    path = folder / f"{card.name}.pt"
    buffer = io.BytesIO()  # torch.save does not say that a disk is full
    torch.save(pack(halves) if eight_bit else halves, buffer)
    with atomic_write(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())
    card = replace(card, sha256=sha256(path))
    write_card(path.with_suffix(".json"), card)
    return card
