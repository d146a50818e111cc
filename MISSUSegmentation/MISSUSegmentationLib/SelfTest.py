"""The self test that a developer runs from Slicer's Reload and Test."""

from __future__ import annotations

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from .Core.CoreInstallation import torchIsInstalled
from .Logic.Segmentation import SegmentationSettings
from .Logic.SegmentationLogic import SegmentationLogic


class MISSUSegmentationTest(ScriptedLoadableModuleTest):
    """Self test: segments the synthetic sample case with the bundled model, as a script would."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Run all tests."""
        self.setUp()
        self.test_segmentSampleCase()

    def test_segmentSampleCase(self) -> None:
        """The tumor of the sample case is found; exclusive segments add up to the same volumes."""
        from .Panel.ResultTable import rows
        from .Scene.SampleCase import addSampleCase

        if not torchIsInstalled():
            self.skipTest("PyTorch is not installed")
        self.delayDisplay("Segmenting the sample case")
        volumes, truth = addSampleCase()
        logic = SegmentationLogic()
        segmentation = logic.segment(**volumes)
        self.assertEqual(list(segmentation.GetSegmentation().GetSegmentIDs()), ["WT", "TC", "ET"])
        scores = logic.compare(segmentation, truth)
        for region, least in {"WT": 0.9, "TC": 0.7, "ET": 0.7}.items():
            self.assertGreater(scores[region][0], least, region)

        self.delayDisplay("Segmenting again, with exclusive segments")
        regionsMl = {row.name: row.volumeMl for row in rows(segmentation)}
        again = logic.segment(**volumes, settings=SegmentationSettings(exclusive=True))
        self.assertEqual(again, segmentation)
        labelsMl = {row.name: row.volumeMl for row in rows(again)}
        for region, volumeMl in regionsMl.items():
            self.assertAlmostEqual(labelsMl[region], volumeMl, 6, region)
        self.delayDisplay("Test passed")
