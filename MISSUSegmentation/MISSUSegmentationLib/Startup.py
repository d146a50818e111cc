"""What the module adds when Slicer starts: terminology, sample data, edit recording."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path

import slicer

from .Panel.Provenance.PanelProvenance import watchEdits
from .Scene.SampleData import registerSampleData

# One timer per scene; Slicer itself has only one scene.
_editTimers: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def prepareSlicer(resourcePath: Callable[[str], str]) -> None:
    """Add terminology and sample data, and start recording edits; only once per scene.

    A module that is loaded by hand or reloaded missed Slicer's startup: the panel calls this, too.
    """
    if slicer.mrmlScene in _editTimers:
        return
    slicer.modules.terminologies.logic().LoadTerminologyFromFile(
        resourcePath("Terminologies/SegmentationCategoryTypeModifier-MISSU.term.json")
    )
    registerSampleData(Path(resourcePath("Icons")))
    _editTimers[slicer.mrmlScene] = watchEdits(slicer.mrmlScene)


def stopWatchingEdits() -> None:
    """Stop recording edits in this scene, before the reloaded module starts to."""
    _editTimers.pop(slicer.mrmlScene).stop()
