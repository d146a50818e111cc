"""What the module adds to Slicer at its start: terminology, sample data, a watch for edits."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path

import slicer

from .Panel.Provenance.PanelProvenance import watchEdits
from .Scene.SampleData import registerSampleData

# By scene; Slicer has one.
_editTimers: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def prepareSlicer(resourcePath: Callable[[str], str]) -> None:
    """Add terminology and sample data, and watch for edits; once for a scene.

    A module that was loaded by hand, or again, missed Slicer's start: its panel asks for it.
    """
    if slicer.mrmlScene in _editTimers:
        return
    slicer.modules.terminologies.logic().LoadTerminologyFromFile(
        resourcePath("Terminologies/SegmentationCategoryTypeModifier-MISSU.term.json")
    )
    registerSampleData(Path(resourcePath("Icons")))
    _editTimers[slicer.mrmlScene] = watchEdits(slicer.mrmlScene)


def stopWatchingEdits() -> None:
    """Stop the watch of this scene, before the module is reloaded and starts its own."""
    _editTimers.pop(slicer.mrmlScene).stop()
