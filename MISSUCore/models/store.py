"""Models on disk: a weight file, and next to it a model card that describes it.

``NAME.pt`` holds the weights of a :class:`TransUNet` in half precision, or its matrices and
convolutions in 8-bit integers; ``NAME.json`` holds the card with the weight file's SHA-256. Models
are bundled with the package, in the user's folder (``~/.missu/models`` or the environment variable
``MISSU_MODELS``), or at an explicit path. ``default.txt`` in the user's folder names the model
that is used by default.
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
        network: the network, in evaluation mode.
        card: its model card.
        finder: the model of the first look, which finds the parts of a case that this model
            segments; None if this model segments whole cases.
    """

    network: TransUNet
    card: ModelCard
    finder: Model | None = None

    @property
    def checksum(self) -> str:
        """SHA-256 of the weight file; of both files, joined by +, if it looks twice."""
        return f"{self.card.sha256}+{self.finder.card.sha256}" if self.finder else self.card.sha256


def user_folder() -> Path:
    """Folder of the user's own models.

    Raises:
        InputError: if the user has no home folder, as in containers that run under any user ID.
    """
    try:
        return Path(os.environ.get("MISSU_MODELS") or "~/.missu/models").expanduser()
    except RuntimeError as error:
        raise InputError(
            "this user has no home folder, so there is no place for models; set the environment "
            "variable MISSU_MODELS to a folder"
        ) from error


def _folders() -> list[Path]:
    """Folders with models; only the bundled one if the user has no home folder.

    The same holds if it may not be entered, as in containers that run under another user's ID.

    Raises:
        InputError: if the folder that ``MISSU_MODELS`` names cannot be read.
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
    """Cards of the bundled and the user's own models; see also :func:`unusable_models`.

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
    """Descriptions of what is wrong with each installed model that has no usable card."""
    return [problem for folder in _folders() for problem in read_cards(folder)[1]]


def default_model() -> str:
    """Name of the model that is used by default: the user's choice, or the bundled one."""
    try:
        name = (user_folder() / DEFAULT_FILE).read_text(encoding="utf-8").strip()
        find_model(name)
    except (OSError, ValueError, InputError):
        return DEFAULT_MODEL
    return name


def find_model(name_or_path: str) -> Path:
    """Path of the card of a model, given by its name or by a path to its weights or card.

    Raises:
        InputError: if there is no such model; for a name the message lists the installed ones.
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
    """Load the model of this name, or in this file, and verify it.

    Raises:
        InputError: if there is no such model, its weights are damaged, or they do not match its
            card; the same for its finder.

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
    """Load the finder of a model, from the model's folder or from the installed models.

    Raises:
        InputError: if there is none, or it does not match the model.
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
        with torch.device("meta"):  # needs no memory or time; every weight is replaced
            network = TransUNet(card.network)
        network.load_state_dict(unpack(weights), assign=True)
    except Exception as error:  # of any type, if the file holds something else
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
        folder: for ``NAME.pt`` and ``NAME.json``.
        card: of the model; its name is the name of the files.
        weights: state of a :class:`TransUNet` of the card's configuration.
        eight_bit: store matrices and convolutions as 8-bit integers, in half the space.

    Raises:
        InputError: if the card is invalid, or the folder cannot be written.
        ResourceError: if the disk is full.
        ValueError: if the weights do not match the network, or overflow half precision.
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
    buffer = io.BytesIO()  # torch.save does not report a full disk
    torch.save(pack(halves) if eight_bit else halves, buffer)
    with atomic_write(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())
    card = replace(card, sha256=sha256(path))
    write_card(path.with_suffix(".json"), card)
    return card
