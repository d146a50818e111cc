"""The panel's parameters, kept in a parameter node and so saved and loaded with the scene."""

import enum
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any

import vtk
from slicer import (
    vtkMRMLScalarVolumeNode,
    vtkMRMLScriptedModuleNode,
    vtkMRMLSegmentationNode,
)
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Default, WithinRange, parameterNodeWrapper

from .Segmentation import SegmentationSettings

# Settings without a widget of the same name in the panel.
OTHERS = ("minimumEnhancingMm3", "exclusive", "qualityPage", "differentAnatomy")
LARGEST_ISLAND_MM3 = 100000


class Segments(enum.Enum):
    """Whether the segments of a result are regions or labels."""

    REGIONS = "regions"
    LABELS = "labels"

    def label(self) -> str:
        """What the user reads."""
        if self is Segments.REGIONS:
            return _("Whole tumor, core, enhancing (nested)")
        return _("Edema, enhancing, necrosis (exclusive)")


class Device(enum.Enum):
    """Where the network runs; the values are those of ``missu segment --device``."""

    AUTO = "auto"
    CUDA = "cuda"
    MPS = "mps"
    CPU = "cpu"

    def label(self) -> str:
        """What the user reads."""
        return {
            Device.AUTO: _("Automatic"),
            Device.CUDA: _("Graphics card (NVIDIA CUDA or AMD ROCm)"),
            Device.MPS: _("Graphics processor of a Mac"),
            Device.CPU: _("Processor"),
        }[self]


class BrainExtraction(enum.Enum):
    """Methods of skull stripping; the values are those of SegmentationSettings.brainExtraction."""

    AUTO = "auto"
    HDBET = "hdbet"
    NEVER = "never"

    def label(self) -> str:
        """What the user reads."""
        return {
            BrainExtraction.AUTO: _("Automatic"),
            BrainExtraction.HDBET: _("HD-BET extension"),
            BrainExtraction.NEVER: _("Scans are stripped already"),
        }[self]


@parameterNodeWrapper
class MISSUSegmentationParameterNode:
    """The panel's parameters.

    Attributes:
        t1, t1ce, t2, flair: volumes to segment; None where there is none.
        result: segmentation shown in the Result section.
        reference: segmentation to compare it with.
        segments: regions or labels as the segments of the next result.
        model: name of the model; empty for the default.
        device: device on which the network runs.
        brainExtraction: method of skull stripping.
        registration: register scans that are not aligned.
        moveScans: also align these scans with the result in the scene.
        biasField: correct the bias field (N4).
        mirror: average over mirrored images (test-time augmentation).
        minimumIslandMm3: smaller parts of the tumor are removed.
        probabilities: also make a probability volume of every region.
        keepTemporaryFiles: keep the exchanged files on disk.
    """

    t1: vtkMRMLScalarVolumeNode
    t1ce: vtkMRMLScalarVolumeNode
    t2: vtkMRMLScalarVolumeNode
    flair: vtkMRMLScalarVolumeNode
    result: vtkMRMLSegmentationNode
    reference: vtkMRMLSegmentationNode
    segments: Segments = Segments.REGIONS
    model: str
    device: Device = Device.AUTO
    brainExtraction: BrainExtraction = BrainExtraction.AUTO
    registration: bool = True
    moveScans: bool = True
    biasField: bool
    mirror: bool
    minimumIslandMm3: Annotated[float, WithinRange(0, LARGEST_ISLAND_MM3), Default(100.0)]
    probabilities: bool
    keepTemporaryFiles: bool


def forgetUnknown(node: vtkMRMLScriptedModuleNode) -> None:
    """Remove invalid parameters from a parameter node, e.g. those of a newer version's scene.

    Defaults take their place; Slicer's parameter node wrapper would fail on invalid values.
    """
    for name, choices in (
        ("segments", Segments),
        ("device", Device),
        ("brainExtraction", BrainExtraction),
    ):
        if node.HasParameter(name) and node.GetParameter(name) not in choices.__members__:
            node.UnsetParameter(name)
    try:
        isIsland = 0 <= float(node.GetParameter("minimumIslandMm3") or 0) <= LARGEST_ISLAND_MM3
    except ValueError:
        isIsland = False
    if not isIsland:
        node.UnsetParameter("minimumIslandMm3")


class PanelParameterNode(MISSUSegmentationParameterNode):
    """The parameters, connected to the panel while the user is in the module.

    One object is used each time the user enters the module. Its observers are removed when the user
    leaves: before 5.12, Slicer's disconnectGui leaves one behind, which keeps this object alive and
    would make every change slower each time.
    """

    _visit: "list[int] | None" = None  # tags of the observers
    _guiTag = -1

    def settings(self) -> SegmentationSettings:
        """The parameters as segmentation settings, which have the same names."""
        names = [field.name for field in fields(SegmentationSettings) if field.name not in OTHERS]
        chosen = {name: getattr(self, name) for name in names}
        plain = {n: v.value if isinstance(v, enum.Enum) else v for n, v in chosen.items()}
        return SegmentationSettings(**plain, exclusive=self.segments is Segments.LABELS)

    def connect(self, widgets: "dict[str, object]", onModified: Callable) -> None:
        """Synchronize widgets, by parameter name, with the parameters; report every change."""
        self._visit = []
        # Not connectGui: it returns no tag to disconnect by (Slicer issue 7547).
        self._guiTag = self.connectParametersToGui(widgets)
        self.AddObserver(vtk.vtkCommand.ModifiedEvent, onModified)

    def disconnect(self) -> None:
        """Disconnect from the widgets and remove the observers."""
        self.disconnectGui(self._guiTag)
        for tag in self._visit or ():
            self.RemoveObserver(tag)
        self._visit = None

    def AddObserver(self, event: Any, callback: Callable, priority: float = 0.0) -> int:
        """Observe the node; while connected, only until :meth:`disconnect`."""
        tag = super().AddObserver(event, callback, priority)
        if self._visit is not None:
            self._visit.append(tag)
        return tag
