"""What MISSU adds to Slicer's Sample Data module."""

from __future__ import annotations

from pathlib import Path

import slicer

CATEGORY = "MISSU"
# A glioma case of BraTS 2023, published by SlicerMONAIAuto3DSeg, with its SHA-256 checksums.
BRATS_NAME = "BraTS-GLI-00001-000"
BRATS_URL = "https://github.com/lassoan/SlicerMONAIAuto3DSeg/releases/download/TestingData/"
BRATS_CHECKSUMS = {
    "t1n": "e860924b936e301ddeba20409fbb59dde322475cb49328f1b46a9235c792e73e",
    "t1c": "4399faadcc45c8a4541313cdf88aced7d835ed59ac3078d950e0eac293d603f5",
    "t2w": "4cd389cc57d12134a30a898c66532228126b9a7d0600ee578e82a32144528b51",
    "t2f": "82aed8546af5e6d8d94fd91c56227abdcf6120130390d1556c4342a208980604",
}


def registerSampleData(iconFolder: Path) -> None:
    """Register a real case, which is downloaded, and the synthetic one, which is computed.

    Args:
        iconFolder: folder with the thumbnails.
    """
    import SampleData  # available only after Slicer has loaded its modules

    register = SampleData.SampleDataLogic.registerCustomSampleDataSource
    names = [f"{BRATS_NAME}-{sequence}" for sequence in BRATS_CHECKSUMS]
    register(
        category=CATEGORY,
        sampleName=BRATS_NAME,
        uris=[f"{BRATS_URL}{name}.nii.gz" for name in names],
        fileNames=[f"{name}.nii.gz" for name in names],
        nodeNames=names,
        checksums=[f"SHA256:{checksum}" for checksum in BRATS_CHECKSUMS.values()],
        thumbnailFileName=str(iconFolder / "MISSUSegmentation.png"),
    )
    register(
        category=CATEGORY,
        sampleName="SimulatedTumor",
        uris="",
        fileNames="",
        customDownloader=_addSampleCase,
        thumbnailFileName=str(iconFolder / "SimulatedTumor.png"),
    )


def _addSampleCase(source: object) -> None:
    from .SampleCase import addSampleCase  # imports SimpleITK, which is slow to load

    volumes, _ = addSampleCase()
    slicer.util.setSliceViewerLayers(background=volumes["flair"], fit=True)
