"""The Inputs section of the panel: which volume is which sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from MISSUCore.contract.modalities import BRATS_MODALITIES, TITLES
from MISSUCore.contract.model_card import ModelCard
from MISSUCore.contract.naming.rules import assign

from ..Core.CoreRun import SegmentationError
from ..Core.Errors import ExchangeError
from ..Logic.InputGuess import guessesOf, guessModalities, withImages
from ..Logic.ParameterNode import MISSUSegmentationParameterNode
from ..Scene.SceneExchange import checkVolumes

Volumes = dict[str, slicer.vtkMRMLScalarVolumeNode]


class PanelInputs:
    """Fills the four volume selectors, and checks the selected volumes.

    Args:
        ui: widgets of the panel by name.
        showMessage: shows a sentence to the user.

    Attributes:
        parameters: the panel's parameters; None while the user is in another module.
    """

    def __init__(self, ui: Any, showMessage: Callable[[str], None]) -> None:
        self.parameters: MISSUSegmentationParameterNode | None = None
        self._showMessage = showMessage
        self._guess: Volumes = {}
        ui.guessButton.clicked.connect(self.onGuessButton)
        ui.sampleButton.clicked.connect(self.onSampleButton)

    def volumes(self) -> Volumes:
        """The selected volumes by modality."""
        chosen = {m: self.parameters.getValue(m) for m in BRATS_MODALITIES}
        return {modality: node for modality, node in chosen.items() if node}

    def select(self, volumes: Volumes) -> None:
        """Select these volumes, by modality, and clear the other selectors."""
        with slicer.util.NodeModify(self.parameters):
            for modality in BRATS_MODALITIES:
                self.parameters.setValue(modality, volumes.get(modality))

    def forget(self) -> None:
        """Forget which selections were guesses, after the scene has changed."""
        self._guess = {}

    def guess(self) -> None:
        """Select volumes by their names, unless the user has selected others."""
        known = {modality: node for modality, node in self._guess.items() if node.GetScene()}
        if self.parameters is None or self.volumes() != known:
            return
        guess = guessModalities(_scans())
        # Once a second patient is loaded, names are ambiguous: the selection stays.
        if known.items() <= guess.items():
            self._guess = guess
            self.select(guess)

    def onGuessButton(self) -> None:
        try:
            with slicer.util.WaitCursor():
                guesses = withImages(guessesOf(_scans()))
        except SegmentationError as error:
            self._showMessage(str(error))
            return
        self._guess = assign(guesses)
        self.select(self._guess)
        sentence = _("{modality}: {reason} ({percent} % sure)")
        lines = [
            sentence.format(
                modality=TITLES[modality],
                reason=guesses[node].reason,
                percent=round(100 * guesses[node].confidence),
            )
            for modality, node in self._guess.items()
        ]
        missing = [TITLES[modality] for modality in BRATS_MODALITIES if modality not in self._guess]
        if missing:
            sentence = _("No volume, or more than one, seems to be {names}; select it yourself.")
            lines.append(sentence.format(names=", ".join(missing)))
        self._showMessage("\n".join(lines))

    def onSampleButton(self) -> None:
        from ..Scene.SampleCase import addSampleCase  # imports SimpleITK, which is slow to load

        with slicer.util.tryWithErrorDisplay(_("The sample cannot be made."), waitCursor=True):
            volumes, truth = addSampleCase()
            self.select(volumes)
            self.parameters.reference = truth
            slicer.util.setSliceViewerLayers(background=volumes["flair"], fit=True)

    def problems(self, card: ModelCard | None) -> list[str]:
        """Reasons why the model with this card cannot segment the selection, one sentence each."""
        if card is None:
            return [_("Choose an installed model under Advanced.")]
        volumes = self.volumes()
        missing = [TITLES[m] for m in card.modalities if m not in volumes]
        if not card.accepts(volumes):
            sentence = _("Select {names}.")
            if card.may_miss:
                sentence = _("Select {names}; {count} may be missing.")
            return [sentence.format(names=", ".join(missing), count=card.may_miss)]
        try:
            checkVolumes(volumes)
        except ExchangeError as error:
            return [str(error)]
        return []


def _scans() -> list[slicer.vtkMRMLScalarVolumeNode]:
    return slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
