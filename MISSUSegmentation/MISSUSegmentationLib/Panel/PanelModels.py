"""The choice of a model in the Advanced section of the panel, and the folder of own models."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from MISSUCore.contract.modalities import BRATS_MODALITIES
from MISSUCore.contract.model_card import ModelCard, Tuning

from ..Core.CoreInstallation import defaultModel, modelCards, modelFolder, unusableModels
from .PanelStatus import openFile


class PanelModels:
    """Lists the installed models, and shows the chosen one's card.

    Args:
        ui: widgets of the panel by name.
        onChosen: called with the name of the model that the user chooses.

    Attributes:
        cards: cards of the installed models, by name.
        default: name of the model used if none is chosen.
    """

    def __init__(self, ui: Any, onChosen: Callable[[str], None]) -> None:
        self.cards: dict[str, ModelCard] = {}
        self.default = ""
        self._unusable = ""
        self._ui = ui
        self._onChosen = onChosen
        self.readCards()
        ui.modelComboBox.connect("activated(int)", self.onActivated)
        ui.modelFolderButton.clicked.connect(self.onFolderButton)
        ui.clearModelsButton.clicked.connect(self.onClearButton)

    def readCards(self) -> None:
        """Read the cards of the installed models again."""
        self.cards = usableCards()
        self._unusable = "".join(
            "<br>" + _("<b>Cannot be used:</b> {text}").format(text=escape(problem))
            for problem in unusableModels()
        )
        self.default = defaultModel()
        if self.default not in self.cards:
            self.default = next(iter(self.cards), "")
        self._ui.modelComboBox.clear()
        for name in self.cards:
            isOwnDefault = name == self.default != next(iter(self.cards))
            title = _("{model} (default)").format(model=name) if isOwnDefault else name
            self._ui.modelComboBox.addItem(title)

    def show(self, model: str) -> ModelCard | None:
        """Show this model, or the default for an empty name; returns its card if installed."""
        model = model or self.default
        card = self.cards.get(model)
        self._ui.modelComboBox.setCurrentIndex(list(self.cards).index(model) if card else -1)
        missing = _("Model {model} is not installed here; choose another.").format(model=model)
        text = describe(card) if card else escape(missing)
        self._ui.modelCardLabel.text = text + self._unusable
        self._ui.defaultModelButton.visible = card is not None and model != self.default
        return card

    def chosen(self) -> str:
        """Name of the model that is shown; empty if it is not installed."""
        index = self._ui.modelComboBox.currentIndex
        return list(self.cards)[index] if index >= 0 else ""

    def onActivated(self, index: int) -> None:
        self._onChosen(list(self.cards)[index])

    def onFolderButton(self) -> None:
        modelFolder().mkdir(parents=True, exist_ok=True)
        openFile(modelFolder())

    def onClearButton(self) -> None:
        files = userModelFiles()
        if not files:
            slicer.util.infoDisplay(_("There are no models of your own."))
            return
        question = _("Delete these files for good?") + "\n\n" + "\n".join(map(str, files))
        if slicer.util.confirmOkCancelDisplay(question):
            with slicer.util.tryWithErrorDisplay(_("Not all models could be deleted.")):
                for file in files:
                    file.unlink()
            self.readCards()
            self._onChosen("")


def usableCards() -> dict[str, ModelCard]:
    """Cards, by name, of the models that need no other inputs than T1, T1ce, T2 and FLAIR."""
    cards = modelCards()
    return {name: card for name, card in cards.items() if {*card.modalities} <= {*BRATS_MODALITIES}}


def describe(card: ModelCard) -> str:
    """The card in a few lines of rich text: what it is for, how good it is, its limits."""
    scores = card.dice_by_region()
    dice = ", ".join(f"{region} {score:.2f}" for region, score in scores.items())
    spacing = " x ".join(f"{length:g}" for length in card.spacing_mm)
    lines = [
        ("{text}", card.task),
        (_("<b>Mean Dice:</b> {text}"), dice),
        (_("<b>Works at:</b> {text} mm"), spacing),
        (_("<b>Limits:</b> {text}"), card.limits),
        *((_("<b>Tuned:</b> {text}"), _tuning(tuning)) for tuning in card.history),
    ]
    return "<br>".join(line.format(text=escape(text)) for line, text in lines if text)


def _tuning(tuning: Tuning) -> str:
    """One fine-tuning in a model's history: date, cases, base model, and whether it improved."""
    text = _("{date}, on {count} cases, from {base}: {verdict}").format(
        date=tuning.date,
        count=len(tuning.cases),
        base=tuning.base.name,
        verdict=tuning.verdict,
    )
    gain = tuning.gate.mean.gain
    return text if gain is None else text + _(", Dice {gain:+.3f}").format(gain=gain)


def userModelFiles() -> list[Path]:
    """The card and weight files of all models in the user's model folder; no other files."""
    cards = [path for path in modelFolder().glob("*.json") if path.with_suffix(".pt").is_file()]
    return [file for card in sorted(cards) for file in (card, card.with_suffix(".pt"))]
