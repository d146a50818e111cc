"""The table of a result: volumes, expected accuracy, and accuracy against a reference.

Volumes are computed from the segmentation itself, so they are also correct after edits and for
segmentations loaded with a scene.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from MISSUCore.contract.labels import BRATS

from ..Scene.SceneExchange import arrayFromImage, segmentImage
from .PanelHeight import fitHeight

SWATCH_PIXELS = 12


@dataclass(frozen=True)
class Row:
    """A segment, or a region of several segments; volume NaN if undefined, RGB from 0 to 1."""

    name: str
    title: str
    volumeMl: float
    color: tuple[float, float, float] | None


def rows(segmentationNode: slicer.vtkMRMLSegmentationNode) -> list[Row]:
    """A row for every segment, and for the regions that exclusive segments add up to."""
    segmentation = segmentationNode.GetSegmentation()
    found = []
    for segmentId in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segmentId)
        volumeMl = _volumeMl(segmentationNode, segmentId)
        name = segment.GetName() or segmentId
        found.append(Row(segmentId, name, volumeMl, segment.GetColor()))
    labels = {label.name: label.value for label in BRATS.labels}
    volumesMl = {row.name: row.volumeMl for row in found}
    if set(labels) <= set(volumesMl):
        for region in BRATS.regions:
            if region.name not in volumesMl:
                inside = [name for name, value in labels.items() if value in region.labels]
                total = sum(volumesMl[name] for name in inside)
                found.append(Row(region.name, region.title, total, None))
    return found


def _volumeMl(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> float:
    image = segmentImage(segmentationNode, segmentId)
    if image is None:
        return math.nan
    voxels = 0 if image.IsEmpty() else np.count_nonzero(arrayFromImage(image))
    return float(voxels * math.prod(image.GetSpacing()) / 1000)


class ResultTable:
    """Fills a QTableWidget, which fits the height of its rows and is hidden without rows."""

    def __init__(self, table: qt.QTableWidget) -> None:
        self.table = table
        table.verticalHeader().hide()

    def show(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
        confidence: dict[str, float],
        comparison: dict[str, tuple[float, float]],
    ) -> None:
        """Show a segmentation.

        Args:
            segmentationNode: None empties the table.
            confidence: expected Dice by region name; its column is left out if empty.
            comparison: Dice and 95 % Hausdorff distance in mm by region name; left out if empty.
        """
        # Titles in two lines, so that five columns fit next to the segment names.
        columns = [_("Segment"), _("Volume\n(ml)")]
        columns += [_("Expected\nDice")] if confidence else []
        columns += [_("Dice"), _("HD95\n(mm)")] if comparison else []
        content = rows(segmentationNode) if segmentationNode else []
        self.table.setColumnCount(len(columns))
        self.table.setHorizontalHeaderLabels(columns)
        self.table.setRowCount(len(content))
        for index, row in enumerate(content):
            numbers = [_number(row.volumeMl, 1)]
            numbers += [_number(confidence.get(row.name), 2)] if confidence else []
            if comparison:
                dice, distanceMm = comparison.get(row.name, (None, None))
                numbers += [_number(dice, 3), _number(distanceMm, 1)]
            self.table.setItem(index, 0, _titleItem(row))
            for column, text in enumerate(numbers, start=1):
                item = qt.QTableWidgetItem(text)
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                self.table.setItem(index, column, item)
        fitHeight(self.table)


def _titleItem(row: Row) -> qt.QTableWidgetItem:
    item = qt.QTableWidgetItem(row.title)
    item.setToolTip(row.title)
    swatch = qt.QPixmap(SWATCH_PIXELS, SWATCH_PIXELS)
    swatch.fill(qt.QColor.fromRgbF(*row.color) if row.color else qt.QColor(0, 0, 0, 0))
    item.setIcon(qt.QIcon(swatch))
    return item


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.{decimals}f}"
