"""The History section of the panel: who computed, edited and signed the segmentation."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MISSUCore.contract.provenance.masks import Contents
from MISSUCore.contract.provenance.record import Provenance
from MISSUCore.contract.provenance.sentences import history, summary

from ...Core.Errors import ExchangeError
from ...Logic.Provenance.SignOff import contentsNow, provenanceOf, signOff, withdrawSignOff
from ...Scene.Provenance.EditRecorder import recorderOf
from ...Scene.Provenance.ProvenanceRecord import recordOf
from ...Scene.SegmentAlgorithm import watchScene

QUIET_MILLISECONDS = 1000


def watchEdits(scene: slicer.vtkMRMLScene) -> qt.QTimer:
    """Record edits of segments in a scene, each time nothing has been edited for a second.

    Returns:
        The timer; the caller must keep a reference to it.
    """
    watchScene(scene)
    recorder = recorderOf(scene)
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.setInterval(QUIET_MILLISECONDS)
    timer.timeout.connect(recorder.notePending)
    recorder.onPending = timer.start  # restarts at each edit
    return timer


class PanelProvenance:
    """Shows the history of a segmentation, and signs it off.

    Args:
        ui: widgets of the panel by name.
    """

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._node: Any = None
        self._record = Provenance()
        self._problem = ""
        self._title = ui.provenanceCollapsibleButton.text
        self._recorder = recorderOf(slicer.mrmlScene)
        self._recorder.onNoted = self._onNoted
        ui.readerLineEdit.textChanged.connect(self.onReaderChanged)
        ui.signOffButton.clicked.connect(self.onSignOffButton)
        ui.withdrawSignOffButton.clicked.connect(self.onWithdrawButton)

    def cleanup(self) -> None:
        """Clean up before the panel is deleted; edits are still recorded, without a name."""
        self._recorder.onNoted = lambda node: None
        self._recorder.reader = ""

    def forgetReader(self) -> None:
        """Forget the reader's name when the scene is closed: the next reader enters it again."""
        self._ui.readerLineEdit.clear()
        self._ui.signOffCommentLineEdit.clear()

    def show(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Record pending edits of a segmentation, and show its history."""
        if node is not self._node:
            self._ui.signOffCommentLineEdit.clear()
        self._node, self._record, self._problem = node, Provenance(), ""
        if node:
            try:
                self._record = provenanceOf(node)
            except ExchangeError as error:
                self._problem = str(error)
        self._fill()

    def onReaderChanged(self, name: str) -> None:
        self._recorder.reader = name.strip()
        self._updateButtons()

    def onSignOffButton(self) -> None:
        node, reader = self._node, self._ui.readerLineEdit.text.strip()
        comment = self._ui.signOffCommentLineEdit.text
        try:
            contents = contentsNow(node)
            if slicer.util.confirmOkCancelDisplay(self._question(reader, contents)):
                signOff(node, reader, comment, contents)  # checks that contents are unchanged
                self._ui.signOffCommentLineEdit.clear()
        except ExchangeError as error:
            slicer.util.errorDisplay(str(error))
        self.show(self._node)  # may be another node if a run ended in the meantime

    def onWithdrawButton(self) -> None:
        node = self._node
        *_others, last = (one for one in self._record.sign_offs if not one.withdrawn)
        question = _(
            "Withdraw the sign-off by {reader}? It stays in the history as withdrawn."
        ).format(reader=last.reader)
        if slicer.util.confirmOkCancelDisplay(question):
            try:
                withdrawSignOff(node)
            except ExchangeError as error:
                slicer.util.errorDisplay(str(error))
            self.show(self._node)

    def _onNoted(self, node: slicer.vtkMRMLSegmentationNode) -> None:
        """Update the history if the record of the shown segmentation has changed."""
        if node is self._node:
            self._record = recordOf(node) or Provenance()
            self._fill()

    def _question(self, reader: str, contents: Contents) -> str:
        volumes = [
            f"{title}: {contents.masks[name].volume_ml:.2f} ml"
            for name, title in self._titles().items()
        ]
        asked = _("Sign off {name} as {reader}?").format(name=self._node.GetName(), reader=reader)
        meaning = _(
            "Your name, the time and checksums of all segments are kept with the segmentation and "
            "saved with it. As soon as a voxel is changed, the history says that the sign-off no "
            "longer holds. Nobody's identity is checked: this is not a legally binding signature."
        )
        return "\n".join([asked, "", *volumes, "", meaning])

    def _titles(self) -> dict[str, str]:
        """Names of the segments by segment ID."""
        segmentation = self._node.GetSegmentation()
        return {
            segmentId: segmentation.GetSegment(segmentId).GetName() or segmentId
            for segmentId in segmentation.GetSegmentIDs()
        }

    def _fill(self) -> None:
        lines = []
        if self._problem:
            lines = [self._problem]
        elif self._node:
            mark = "⚠ " if _isOutdated(self._record) else ""
            events = history(self._record, self._titles())
            lines = [mark + summary(self._record), *(f"• {event}" for event in events)]
        self._ui.provenanceLabel.text = "\n".join(lines)
        self._ui.provenanceLabel.visible = bool(lines)
        section = self._ui.provenanceCollapsibleButton
        section.text = f"{self._title} {_state(self._record)}".rstrip()
        self._updateButtons()

    def _updateButtons(self) -> None:
        problem = self._problem
        if not self._node:
            problem = _("Select a segmentation under Result.")
        elif not problem and not self._ui.readerLineEdit.text.strip():
            problem = _("Type in your name.")
        self._ui.signOffButton.enabled = not problem
        self._ui.signOffButton.toolTip = problem or _(
            "Record that you vouch for the segments as they are now. You are asked before."
        )
        signed = any(not one.withdrawn for one in self._record.sign_offs)
        self._ui.withdrawSignOffButton.enabled = signed
        self._ui.withdrawSignOffButton.toolTip = (
            _("Take the last sign-off back. The history keeps it as withdrawn.")
            if signed
            else _("Nobody has signed it off.")
        )


def _isOutdated(record: Provenance) -> bool:
    return bool(record.outdated_sign_offs) and not record.valid_sign_offs


def _state(record: Provenance) -> str:
    """The state shown in the section's title, visible even while it is collapsed."""
    if record.valid_sign_offs:
        return _("(signed off)")
    return _("(⚠ changed since it was signed off)") if _isOutdated(record) else ""
