"""A PyTorch that is installed, but cannot be loaded: the panel tells of it, and repairs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs the package slicer-core")
pytest.importorskip("PySide6", reason="needs the package PySide6-Essentials")

from Testing.Module.gui.user import MODALITIES, Panel


@pytest.fixture
def broken(
    panel: Panel,
    missu: SimpleNamespace,
    addVolume: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> SimpleNamespace:
    """A case was segmented in vain; the user says yes, until told otherwise."""
    import slicer

    from MISSUSegmentationLib.Panel import PanelInstall

    told = SimpleNamespace(questions=[], answer=True, repaired=0)
    missu.behave(torch="broken")

    def repairTorch() -> None:
        told.repaired += 1
        missu.behave()

    def confirm(question: str) -> bool:
        told.questions.append(question)
        return told.answer

    monkeypatch.setattr(PanelInstall, "repairTorch", repairTorch)
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", confirm)
    for modality in MODALITIES:
        addVolume(f"Case_{modality}", np.arange(120.0).reshape(4, 5, 6) % 2)
    panel.settle()
    panel.segment()
    return told


def test_it_is_told_with_the_log_and_nothing_is_done_unasked(
    panel: Panel, broken: SimpleNamespace
) -> None:
    import qt

    text = panel.ui.statusLabel.text
    assert "PyTorch is installed, but cannot be loaded" in text
    assert ">Repair</a>" in text and ">Open log</a>" in text
    panel.ui.statusLabel.linkActivated.emit("log")
    assert "WinError 126" in Path(qt.QDesktopServices.opened[-1]).read_text()
    assert broken.questions == [] and broken.repaired == 0


def test_repair_asks_and_goes_on(
    panel: Panel, broken: SimpleNamespace, slicerApplication: Any
) -> None:
    panel.ui.statusLabel.linkActivated.emit("offer")
    panel.wait(lambda: panel.ui.statusLabel.text.startswith("Done in"))
    assert broken.repaired == 1
    assert len(broken.questions) == 1 and "torch>=2.2" in broken.questions[0]


def test_who_does_not_want_it_keeps_what_is_there(panel: Panel, broken: SimpleNamespace) -> None:
    broken.answer = False
    panel.ui.statusLabel.linkActivated.emit("offer")
    panel.settle()
    assert broken.repaired == 0
    assert ">Repair</a>" in panel.ui.statusLabel.text


def test_a_repair_that_fails_is_told(
    panel: Panel, broken: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from MISSUSegmentationLib.Core.CoreInstallation import InstallationError
    from MISSUSegmentationLib.Panel import PanelInstall

    def fail() -> None:
        raise InstallationError("PyTorch could not be removed; restart Slicer.")

    monkeypatch.setattr(PanelInstall, "repairTorch", fail)
    panel.ui.statusLabel.linkActivated.emit("offer")
    panel.settle()
    assert "restart Slicer" in panel.ui.statusLabel.text
    assert not panel.widget.logic.isRunning()


def test_another_failure_is_none_of_pytorch(
    panel: Panel, broken: SimpleNamespace, missu: SimpleNamespace
) -> None:
    missu.behave(error="the model is damaged; install it again")
    panel.widget.logic.coolDown()
    panel.segment()
    assert "The model is damaged" in panel.ui.statusLabel.text
    assert "Repair" not in panel.ui.statusLabel.text


@pytest.fixture
def pip(
    panel: Panel,
    missu: SimpleNamespace,
    addVolume: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> SimpleNamespace:
    """PyTorch is missing, and ``meanwhile`` is what the user does while pip installs it."""
    import MISSUSegmentation

    told = SimpleNamespace(started=0, ended=0, meanwhile=lambda: None)

    def installTorch() -> None:
        told.started += 1
        if told.started == 1:
            told.meanwhile()  # pip_install lets Qt go on
        told.ended += 1

    monkeypatch.setattr(MISSUSegmentation, "installTorch", installTorch)
    monkeypatch.setattr(MISSUSegmentation, "torchIsInstalled", lambda: told.ended > 0)
    for modality in MODALITIES:
        addVolume(f"Case_{modality}", np.arange(120.0).reshape(4, 5, 6) % 2)
    panel.settle()
    return told


def test_no_click_counts_while_pytorch_is_being_installed(
    panel: Panel, pip: SimpleNamespace
) -> None:
    pip.meanwhile = lambda: panel.click("segmentButton")
    panel.click("segmentButton")
    assert panel.ui.segmentButton.text == "Cancel", "it goes on by itself, once"
    panel.wait(lambda: panel.ui.statusLabel.text.startswith("Done in"))
    assert pip.started == 1 and panel.ui.segmentButton.enabled


def test_who_leaves_while_pytorch_is_being_installed_starts_nothing(
    panel: Panel, pip: SimpleNamespace
) -> None:
    pip.meanwhile = panel.widget.exit
    panel.click("segmentButton")
    assert panel.ui.statusLabel.text == "PyTorch is installed."
    assert not panel.widget.logic.isRunning()
    panel.widget.enter()
    panel.segment()
    assert panel.ui.statusLabel.text.startswith("Done in")


def test_no_click_counts_while_hd_bet_works(
    panel: Panel, pip: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    from MISSUSegmentationLib.Logic import SegmentationLogic as logicModule

    worked = []

    def checkedMask(volumes: dict[str, Any], byHdBet: bool) -> None:
        worked.append(byHdBet)
        assert "HD-BET looks for the brain" in panel.ui.statusLabel.text
        panel.click("segmentButton")  # HD-BET installs what it needs, and lets Qt go on

    monkeypatch.setattr(logicModule, "checkedMask", checkedMask)
    panel.expand("advancedCollapsibleButton")
    panel.choose("brainExtractionComboBox", "HD-BET extension")
    panel.click("segmentButton")
    panel.wait(lambda: panel.ui.statusLabel.text.startswith("Done in"))
    assert worked == [True]
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 1
